"""What several algorithms share, and what an algorithm of your own is made of; public as ``pt.parts``.

`turns`: rounds, and plans that become tasks. `snapshot`: the population now. `exploit` and `explore`: who is replaced by
whom, and with which hyperparameters.
"""

from poptrain.algorithms.parts import exploit, explore, snapshot, turns

__all__ = ["exploit", "explore", "snapshot", "turns"]
