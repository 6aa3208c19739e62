"""Members that are command lines: a process for each interval, and a directory for each member.

=================  ====================================================================================================
`form`             what executors of single members call: fills in the command, runs it, stores its directory
`program`          one call of a program, with everything that it starts: output, time limit, end
`reported`         the metrics that a program prints or writes, and the last words of one that failed
=================  ====================================================================================================
"""
