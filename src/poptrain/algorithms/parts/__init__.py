"""The parts that an algorithm is made of, public as ``pt.parts``. The algorithms of this package share them.

=============  =====================================================================================================
`turns`        `first_round` (the first task of every member), `turns` (the seats that may get a task now), `Plan` and
               `segments` (from decisions to tasks), `needed` (the checkpoints to keep), and checks of arguments
`snapshot`     `Population`: the scores of all members at one moment, ranked, and the members that may be copied
`exploit`      which member copies which: `truncation`, `welch`, `tournament`, or a class of your own
`explore`      the hyperparameters of the copies: `perturb`, `additive`, `resample`, or a class of your own
=============  =====================================================================================================

A whole algorithm needs `turns` alone, as docs/extending.md shows. If only the selection or only the new hyperparameters
differ from PBT, write an exploit or an explore and pass it to `pt.pbt`.
"""

from poptrain.algorithms.parts import exploit, explore, snapshot, turns

__all__ = ["exploit", "explore", "snapshot", "turns"]
