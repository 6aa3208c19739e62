"""The hyperparameters that are tuned: parameters with exact codecs, and the space that they span."""

from poptrain.space.listed import Choice, Ordinal
from poptrain.space.parameter import Parameter
from poptrain.space.real import Complement, LogUniform, Uniform
from poptrain.space.space import Space, nested
from poptrain.space.whole import Int, LogInt

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
