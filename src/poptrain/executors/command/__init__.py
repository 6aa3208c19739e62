"""Members that are command lines: a process for each interval, and a directory for each member.

=================  ====================================================================================================
`form`             what executors of single members call: fills in the command, runs it, stores its directory
`program`          one call of a program: output, time limit, end
`leftover`         what a program leaves running, which ends with the call
`reported`         the metrics among the lines that a program prints
`words`            the line with which a program that failed named the cause
`lines`            JSON among the lines of an output, as programs of many languages print it
`near`             the line that came nearest to metrics, for the message when there are none
`file`             the file of metrics that a program writes: what is new in it, one program at a time
`state`            what a program left in its directory: whether the next call can continue from it
=================  ====================================================================================================
"""
