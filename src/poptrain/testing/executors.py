"""to be written"""
class ExecutorContract: pass
