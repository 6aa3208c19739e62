"""Runs for programs: a server of the Model Context Protocol, over the official SDK (extra `mcp`).

    poptrain mcp runs                       # a program starts this and talks to it over standard input and output

It answers what a person would ask: which runs there are, how they stand, why a member was replaced, which schedule won. It reads
run directories below the paths that it was started with, and executes nothing that is in one. Only with ``--allow-changes`` can
it suspend, resume and extend runs.
"""
