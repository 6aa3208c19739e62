"""The hyperparameters that are tuned: parameters with exact codecs, and the space that consists of them."""

from poptrain.space.floats import Complement, LogUniform, Uniform
from poptrain.space.integers import Int, LogInt
from poptrain.space.options import Choice, Ordinal
from poptrain.space.parameter import Parameter
from poptrain.space.space import Space, nested

__all__ = [
    "Choice",
    "Complement",
    "Int",
    "LogInt",
    "LogUniform",
    "Ordinal",
    "Parameter",
    "Space",
    "Uniform",
    "nested",
]
