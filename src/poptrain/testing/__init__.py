"""Contracts that every algorithm and every executor fulfils, shipped so that a new one can be held against them.

    class TestMine(pt.testing.AlgorithmContract):
        def make(self, space, **options):
            return my_algorithm(space, population=4, interval=5)

Run it with pytest: each law of the house is one test.
"""

from poptrain.testing.algorithms import AlgorithmContract
from poptrain.testing.executors import ExecutorContract
from poptrain.testing.simulate import play, replay, simulated
from poptrain.testing.trainables import Faulty, Quadratic, check_trainable, quadratic

__all__ = [
    "AlgorithmContract",
    "ExecutorContract",
    "Faulty",
    "Quadratic",
    "check_trainable",
    "play",
    "quadratic",
    "replay",
    "simulated",
]
