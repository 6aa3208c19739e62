"""Loops that let members act and learn: environments inside the compiled program (`device`) or on the host (`host`).

The files that begin with `off_policy` are for agents with replay memories, the others for agents that learn from rollouts.
"""
