"""What a recorded tick of an environment is.

==========  =========================================================================================================
GOES_ON     the next tick continues the episode
TRUNCATED   a time limit, or the end of the recording: the value of the state reached replaces the rest
TERMINATED  the episode is over, and nothing follows
RESET       not a transition: the environment resets in this tick and ignores its action. Its observation is the state
            that the transition before it reached, so the state to bootstrap from is always one tick later.
==========  =========================================================================================================
"""

from __future__ import annotations

GOES_ON, TRUNCATED, TERMINATED, RESET = range(4)
