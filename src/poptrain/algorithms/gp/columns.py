"""Which columns of a space a model uses, and for what."""

from __future__ import annotations

from dataclasses import dataclass

from poptrain.space import Choice, Space


@dataclass(frozen=True)
class ModelColumns:
    """The columns of a space that a model uses, by their purpose.

    numeric      all with more than one value: inputs of the process
    free         those of them that may be changed
    categorical  every `Choice` with more than one option
    """

    numeric: tuple[int, ...]
    free: tuple[int, ...]
    categorical: tuple[int, ...]

    @classmethod
    def of(cls, space: Space) -> ModelColumns:
        """Returns the columns of `space`; constants and ranges of zero width are left out."""
        parameters = list(enumerate(space.values()))
        numeric = tuple(i for i, p in parameters if not isinstance(p, Choice) and p.levels != 1)
        free = tuple(i for i in numeric if not parameters[i][1].static)
        return cls(numeric, free, tuple(i for i, p in parameters if isinstance(p, Choice) and len(p.options) > 1))
