"""A pure JAX pair as a population: all members are vmapped into one compiled program."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np

from poptrain._jax import jax
from poptrain.core import Carry, Hparams, Metrics, Value
from poptrain.core.errors import UsageError
from poptrain.executors.hparam_columns import HparamColumns
from poptrain.executors.packing import Packing, checked, strong
from poptrain.space import nested
from poptrain.trainable import JaxTrainable, PopulationTrainable

Traced = dict[str, np.ndarray]  # hyperparameters that may differ between members; each of shape (P,)
Static = dict[str, Value]  # hyperparameters that all members of one program share, as Python values
Structure = Packing | None  # None: the carry stays as it is
MadeT = TypeVar("MadeT")

_DTYPES = {"f": np.float32, "i": np.int32, "u": np.int32, "b": bool}  # by numpy's kind: what JAX computes with


def population_of(trainable: JaxTrainable | PopulationTrainable, lanes: int = 1) -> PopulationTrainable:
    """Returns a population trainable: `trainable` itself, or a vmapped `JaxTrainable`."""
    return Vmapped(trainable, lanes) if isinstance(trainable, JaxTrainable) else trainable


@dataclass(frozen=True, eq=False)
class Vmapped:
    """All members of a `JaxTrainable` in one program, padded to `lanes`, or to a half, a quarter … of them.

    A carry of dicts, lists and tuples stays as it is. A carry with other nodes (an optimiser's named tuples, a dataclass) or
    with typed random keys is passed around as a list of arrays, because a checkpoint never names a class; `restored` returns
    it in its own shape. Arrays have no weak types there: a checkpoint could not restore them, and they change arithmetic.
    """

    trainable: JaxTrainable
    lanes: int = 1
    _programs: dict[Hashable, Callable[..., Carry]] = field(default_factory=dict)
    _structures: dict[Hashable, Structure] = field(default_factory=dict)
    population = True

    def init(self, hparams: Mapping[str, Value | np.ndarray], seeds: np.ndarray) -> Carry:
        traced, static = _split(hparams)
        structure = self._structure(traced, static, seeds)

        def one(h: Traced, seed: jax.Array) -> Carry:
            return _packed(self.trainable.init(_nested(h, static), _prng_key(seed)), structure, "init")

        program = _made(self._programs, "init", static, lambda: jax.jit(jax.vmap(one)))
        width, pad = _padding(len(seeds), self.lanes)
        return _cut(program(_pad(traced, pad), _pad(seeds, pad)), len(seeds), width)

    def train(
        self, carry: Carry, hparams: Mapping[str, Value | np.ndarray], steps: int, seeds: np.ndarray
    ) -> tuple[Carry, Metrics]:
        traced, static = _split(hparams)
        structure = self._structure(traced, static, seeds)

        def one(carry: Carry, h: Traced, seed: jax.Array) -> tuple[Carry, Metrics]:
            carry = _unpacked(carry, structure)
            carry, metrics = self.trainable.train(carry, _nested(h, static), steps, _prng_key(seed))
            return _packed(carry, structure, "train"), metrics

        program = _made(self._programs, ("train", steps), static, lambda: jax.jit(jax.vmap(one)))
        width, pad = _padding(len(seeds), self.lanes)
        carry, metrics = program(_pad(carry, pad), _pad(traced, pad), _pad(seeds, pad))
        carry, metrics = _cut(carry, len(seeds), width), jax.device_get(_cut(metrics, len(seeds), width))
        return carry, dict(metrics)

    def distill(
        self,
        carry: Carry,
        teacher: Carry,
        hparams: Mapping[str, Value | np.ndarray],
        steps: int,
        seeds: np.ndarray,
        progress: tuple[float, float] | None,
    ) -> tuple[Carry, Metrics]:
        """Returns what `train` does, for members that also learn from the states of teachers."""
        distill = self.trainable.distill
        if distill is None:
            raise UsageError("this task distils from a teacher: pass distill as the third function of pt.jax_trainable.")
        traced, static = _split(hparams)
        structure = self._structure(traced, static, seeds)

        def one(carry: Carry, teacher: Carry, h: Traced, seed: jax.Array, span: jax.Array) -> tuple[Carry, Metrics]:
            own, other = _unpacked(carry, structure), _unpacked(teacher, structure)
            own, metrics = distill(own, other, _nested(h, static), steps, _prng_key(seed), (span[0], span[1]))
            return _packed(own, structure, "distill"), metrics

        program = _made(self._programs, ("distill", steps), static, lambda: jax.jit(jax.vmap(one, in_axes=(0, 0, 0, 0, None))))
        width, pad = _padding(len(seeds), self.lanes)
        part = np.asarray(progress or (0.0, 1.0), np.float32)
        carry, metrics = program(_pad(carry, pad), _pad(teacher, pad), _pad(traced, pad), _pad(seeds, pad), part)
        carry, metrics = _cut(carry, len(seeds), width), jax.device_get(_cut(metrics, len(seeds), width))
        return carry, dict(metrics)

    def gather(self, lanes: Sequence[tuple[Carry, int]]) -> Carry:
        carries = list({id(carry): carry for carry, _ in lanes}.values())
        offsets, total = {}, 0
        for carry in carries:
            offsets[id(carry)] = total
            total += _width(carry)
        return _take(carries, np.array([offsets[id(carry)] + lane for carry, lane in lanes]))

    def restored(self, lane: Carry, hparams: HparamColumns) -> Carry:
        """Returns the stored carry of one member in the shape that the user's functions gave it."""
        traced, static = _split(hparams)
        return _unpacked(lane, self._structure(traced, static, np.zeros(1, np.uint32)))

    def _structure(self, traced: Traced, static: Static, seeds: np.ndarray) -> Structure:
        """Returns the tree structure of a carry that must be packed, or None; found by tracing `init` once."""

        def make() -> Structure:
            first = {name: column[0] for name, column in traced.items()}
            return Packing.of(lambda h, s: self.trainable.init(_nested(h, static), _prng_key(s)), first, seeds[0])

        return _made(self._structures, "structure", static, make)


def _nested(traced: Traced, static: Static) -> Hparams:
    """Returns the hyperparameters of one member as the user's functions take them: traced numbers in the place of values."""
    return nested(cast(Hparams, {**traced, **static}))


def _made(cache: dict[Hashable, MadeT], kind: Hashable, static: Static, make: Callable[[], MadeT]) -> MadeT:
    """Returns what `make` returned for these static hyperparameters; it is called once for each of them."""
    key = (kind, tuple(sorted(static.items())))
    if key not in cache:
        cache[key] = make()
    return cache[key]


def _packed(carry: Carry, structure: Structure, function: str) -> Carry:
    carry = checked(carry, function)
    return strong(carry) if structure is None else structure.packed(carry, function)


def _unpacked(carry: Carry, structure: Structure) -> Carry:
    return carry if structure is None else structure.unpacked(carry)


def _width(carry: Carry) -> int:
    """Returns the number of members of a population's carry; 1 if it holds no array."""
    return next((leaf.shape[0] for leaf in jax.tree.leaves(carry)), 1)


@jax.jit
def _lanes_of(carry: Carry, index: np.ndarray) -> Carry:
    return jax.tree.map(lambda leaf: leaf[index], carry)


def _take(carries: list[Carry], index: np.ndarray) -> Carry:
    """Returns the given lanes of the carries, laid end to end; in the usual case, one carry, they stay on the device."""
    if len(carries) == 1:
        return _lanes_of(carries[0], index)
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves])[index], *carries)


def _split(hparams: Mapping[str, Value | np.ndarray]) -> tuple[Traced, Static]:
    """Returns the hyperparameters as traced arrays and as Python values; strings cannot be traced, so they must be static."""
    traced: Traced = {}
    static: Static = {}
    for name, value in hparams.items():
        if not isinstance(value, np.ndarray):
            static[name] = value
        elif value.dtype.kind in _DTYPES:
            traced[name] = value.astype(_DTYPES[value.dtype.kind])
        else:
            raise UsageError(
                f"hyperparameter {name!r} is {value[0]!r}, which JAX cannot trace: declare it static=True, or use numbers."
            )
    return traced, static


def _prng_key(seed: jax.Array) -> jax.Array:
    return jax.random.PRNGKey(seed)


def _padding(count: int, lanes: int) -> tuple[int, np.ndarray | None]:
    """Returns the width of the batch (the smallest of lanes, lanes/2, lanes/4 … that holds it) and the lanes that fill it."""
    width = max(lanes, count)
    while (half := -(-width // 2)) >= count and half < width:
        width = half
    if width == count:
        return count, None
    return width, np.concatenate([np.arange(count), np.zeros(width - count, int)])


def _pad(tree: Carry, index: np.ndarray | None) -> Carry:
    return tree if index is None else jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


def _cut(tree: Carry, count: int, width: int) -> Carry:
    return tree if count == width else jax.tree.map(lambda leaf: leaf[:count], tree)
