"""A pure JAX pair as a population: all members vmapped into one compiled program."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from poptrain._jax import jax
from poptrain.core import Carry, Metrics
from poptrain.core.errors import UsageError
from poptrain.space import nested
from poptrain.trainable import JaxTrainable


def population_of(trainable: Any, lanes: int = 1) -> Any:
    """Returns a population trainable: `trainable` itself, or a vmapped `JaxTrainable`."""
    return Vmapped(trainable, lanes) if isinstance(trainable, JaxTrainable) else trainable


@dataclass(frozen=True, eq=False)
class Vmapped:
    """All members of a `JaxTrainable` in one program, padded to `lanes`, or to a half, a quarter … of them.

    A carry of dicts, lists and tuples stays as it is. One with other nodes (an optimiser's named tuples, say) is carried as the
    list of its leaves, because a checkpoint never names a class; `restored` gives it back its shape.
    """

    trainable: JaxTrainable
    lanes: int = 1
    _programs: dict[Hashable, Any] = field(default_factory=dict)
    population = True

    def init(self, hparams: dict[str, Any], seeds: np.ndarray) -> Carry:
        traced, static = _split(hparams)
        structure = self._structure(traced, static, seeds)

        def one(h: dict[str, Any], seed: Any) -> Carry:
            return _packed(self.trainable.init(nested({**h, **static}), _key(seed)), structure)

        program = self._program("init", static, lambda: jax.jit(jax.vmap(one)))
        width, pad = _padding(len(seeds), self.lanes)
        return _cut(program(_pad(traced, pad), _pad(seeds, pad)), len(seeds), width)

    def train(self, carry: Carry, hparams: dict[str, Any], steps: int, seeds: np.ndarray) -> tuple[Carry, Metrics]:
        traced, static = _split(hparams)
        structure = self._structure(traced, static, seeds)

        def one(carry: Carry, h: dict[str, Any], seed: Any) -> tuple[Carry, Metrics]:
            carry = _unpacked(carry, structure)
            carry, metrics = self.trainable.train(carry, nested({**h, **static}), steps, _key(seed))
            return _packed(carry, structure), metrics

        program = self._program(("train", steps), static, lambda: jax.jit(jax.vmap(one)))
        width, pad = _padding(len(seeds), self.lanes)
        carry, metrics = program(_pad(carry, pad), _pad(traced, pad), _pad(seeds, pad))
        carry, metrics = _cut(carry, len(seeds), width), jax.device_get(_cut(metrics, len(seeds), width))
        return carry, dict(metrics)

    def gather(self, lanes: Sequence[tuple[Carry, int]]) -> Carry:
        carries = list({id(carry): carry for carry, _ in lanes}.values())
        offsets, total = {}, 0
        for carry in carries:
            offsets[id(carry)] = total
            total += jax.tree.leaves(carry)[0].shape[0]
        return _take(carries, np.array([offsets[id(carry)] + lane for carry, lane in lanes]))

    def restored(self, lane: Carry, hparams: dict[str, Any]) -> Carry:
        """Returns the stored carry of one member in the shape that the user's functions gave it."""
        traced, static = _split(hparams)
        return _unpacked(lane, self._structure(traced, static, np.zeros(1, np.uint32)))

    def _structure(self, traced: dict[str, Any], static: dict[str, Any], seeds: np.ndarray) -> Any:
        """Returns the tree structure of a carry that must be packed, or None; found by tracing `init` once."""

        def make() -> Any:
            first = {name: column[0] for name, column in traced.items()}
            carry = jax.eval_shape(lambda h, s: self.trainable.init(nested({**h, **static}), _key(s)), first, seeds[0])
            return None if _is_plain(carry) else jax.tree.structure(carry)

        return self._program("structure", static, make)

    def _program(self, kind: Hashable, static: dict[str, Any], make: Any) -> Any:
        key = (kind, tuple(sorted(static.items())))
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]


def _is_plain(tree: Any) -> bool:
    if type(tree) is dict:
        return all(_is_plain(value) for value in tree.values())
    if type(tree) in (list, tuple):
        return all(_is_plain(value) for value in tree)
    return isinstance(tree, jax.ShapeDtypeStruct)


def _packed(carry: Carry, structure: Any) -> Carry:
    return carry if structure is None else jax.tree.leaves(carry)


def _unpacked(carry: Carry, structure: Any) -> Carry:
    return carry if structure is None else jax.tree.unflatten(structure, carry)


@jax.jit
def _rows(carry: Carry, index: Any) -> Carry:
    return jax.tree.map(lambda leaf: leaf[index], carry)


def _take(carries: list[Carry], index: np.ndarray) -> Carry:
    """Returns the given rows of the carries laid end to end; the usual case, one carry, stays on the device."""
    if len(carries) == 1:
        return _rows(carries[0], index)
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[index], *carries)


def _split(hparams: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the hyperparameters as traced arrays and as Python values; strings cannot be traced, so they must be static."""
    traced, static = {}, {}
    for name, value in hparams.items():
        if not isinstance(value, np.ndarray):
            static[name] = value
        elif value.dtype.kind in "biuf":
            traced[name] = value.astype({"f": np.float32, "i": np.int32, "u": np.int32, "b": bool}[value.dtype.kind])
        else:
            raise UsageError(
                f"hyperparameter {name!r} holds {value[0]!r}, which JAX cannot trace: declare it static=True, or use numbers."
            )
    return traced, static


def _key(seed: Any) -> Any:
    return jax.random.PRNGKey(seed)


def _padding(count: int, lanes: int) -> tuple[int, np.ndarray | None]:
    """Returns the width of the batch (the smallest of lanes, lanes/2, lanes/4 … that holds it) and the rows that fill it."""
    width = max(lanes, count)
    while (half := -(-width // 2)) >= count and half < width:
        width = half
    if width == count:
        return count, None
    return width, np.concatenate([np.arange(count), np.zeros(width - count, int)])


def _pad(tree: Any, rows: np.ndarray | None) -> Any:
    return tree if rows is None else jax.tree.map(lambda leaf: np.asarray(leaf)[rows], tree)


def _cut(tree: Any, count: int, width: int) -> Any:
    return tree if count == width else jax.tree.map(lambda leaf: leaf[:count], tree)


def _width(carry: Carry) -> int:
    return jax.tree.leaves(carry)[0].shape[0]
