"""The experiment file of the golden run `cli`, which records its place relative to itself, its hash and its options.

The hash is in the log: do not change this file.
"""

import golden_toys

import poptrain as pt

space = pt.Space(lr=pt.LogUniform(1e-3, 0.2))
experiment = pt.Experiment(
    pt.pbt(space, population=3, interval=4, exploit=pt.truncation(0.4)), golden_toys.climb, stop=pt.steps(8)
)
