"""`NNXMember`: the base of a trainable class around Flax NNX modules and optax optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from poptrain.core import Carry, Metrics
from poptrain.core.errors import UsageError
from poptrain.integrations import generators
from poptrain.integrations.adapter import Place, Reads, flattened, governed, plain
from poptrain.integrations.nnx import live
from poptrain.integrations.nnx.contents import Attributes, Fields, fields, put, put_fields, read
from poptrain.integrations.remade import Remade
from poptrain.integrations.stored import load_tree, save_tree


class NNXMember(Remade):
    """The base of a trainable class around NNX modules: write ``make(hp, seed)`` and ``fit(hp, steps)``, nothing else.

    ``make`` keeps modules, optimisers, random streams and `Batches` in attributes; ``fit`` is your loop. What ``make`` reads is
    used as ``make`` uses it. A name that it does not read, and that an optimiser has from `optax.inject_hyperparams` (``lr`` for
    ``learning_rate``, ``weight_decay``, ``beta1`` …), is set there, without compiling anything again.

    The state is everything in the attributes: variables of modules, optimisers and metrics, states of optax, `nnx.Rngs`,
    generators of numpy, arrays and plain values. Functions are made again. Attributes that begin with an underscore are not
    saved. Each member has its own stream of numpy's and Python's global generators.
    """

    _why = "Training or make() has set it: values that are tuned are changed by poptrain alone, or by a schedule of optax."

    def __init__(self, hp: Mapping[str, object], seed: int):
        super().__init__(hp)
        self._seed = seed
        self._random: generators.Generators | None = None
        self._is_made, self._trained = False, False
        self._read_by_make, self._read_by_fit = frozenset[str](), frozenset[str]()
        self._fields: Fields = {}  # plain attributes of modules as `make` made them
        self._budget: int | None = None
        self._budget_was_read = False

    def make(self, hp: Mapping[str, object], seed: int) -> None:
        """Sets the attributes of a new member: ``self.model = Net(hp["dropout"], rngs=nnx.Rngs(seed))`` …"""
        raise UsageError(f"{type(self).__name__} has no make(hp, seed): define it; it must set the model and the optimiser.")

    def fit(self, hp: Mapping[str, object], steps: int) -> Metrics:
        """Trains for `steps` of your own steps, and returns the metrics; 0 steps only evaluate."""
        raise UsageError(f"{type(self).__name__} has no fit(hp, steps): define it; it must train and return the metrics.")

    @property
    def budget(self) -> int | None:
        """The steps of the whole training, for schedules that `make` builds; None: unknown."""
        self._budget_was_read = True
        return self._budget

    def set_budget(self, steps: int | None) -> None:
        """Takes the steps of the whole training."""
        if steps != self._budget:
            self._budget = steps
            if self._is_made and self._budget_was_read:
                self._remake()

    def train(self, hp: Mapping[str, object], steps: int) -> Metrics:
        """Trains for `steps` steps with these values, and returns the metrics of `fit`.

        Raises:
            UsageError: a value is not in force, or a hyperparameter has no effect.
        """
        self._ensure()
        if (new := plain(hp)) != self._hp:
            self._retune(new)
        self._verify(hp)
        with generators.stream(self):
            reads = Reads(self._hp)
            metrics = self.fit(reads, steps)
        self._trained, self._read_by_fit = True, frozenset(reads.seen)
        self._reads.seen |= reads.seen
        self._verify(hp, trained=steps > 0)
        return metrics

    def save(self, directory: Path) -> None:
        """Writes all of the state into a directory."""
        self._ensure()
        state = {
            "seed": self._seed,
            "random": self._random,
            "state": read(self._attributes()),
            "fields": self._fields_of_modules(),
        }
        save_tree(state, Path(directory))

    def load(self, directory: Path) -> None:
        """Continues from what `save` wrote; this member keeps its own hyperparameters."""
        tree = load_tree(Path(directory))
        self._seed = tree["seed"]
        self._make()
        self._put(tree["state"], tree["random"], tree.get("fields"))

    def close(self) -> None:
        """Frees everything that `make` made."""
        for name in self._attributes():
            del vars(self)[name]
        self._is_made = False

    # -- the objects ------------------------------------------------------------------------------------------------------

    def _attributes(self) -> Attributes:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def _places(self, hp: Mapping[str, object]) -> Iterator[Place]:
        return live.places(self._attributes(), hp)

    def _used(self) -> frozenset[str]:
        return self._read_by_fit

    def _options(self, trained: NNXMember) -> object:
        self.set_budget(trained._budget)
        self._ensure()
        return live.first_updates(self._attributes())

    def _ensure(self) -> None:
        if not self._is_made:
            self._make()

    def _make(self) -> None:
        """Makes everything with the values of this member, as if it were new."""
        self.close()
        self._reads, self._budget_was_read, self._trained = Reads(self._hp), False, False
        with generators.stream(self, self._seed):
            self.make(self._reads, self._seed % 2**31)
        self._read_by_make = frozenset(self._reads.seen)
        live.apply(self._attributes(), self._hp, self._read_by_make)
        self._fields = fields(self._attributes())
        self._governed, self._is_made = governed(live.places(self._attributes(), self._hp), self._hp), True

    def _fields_of_modules(self) -> dict[str, Fields]:
        return {"built": self._fields, "now": fields(self._attributes())}

    def _put(self, state: Mapping[str, Carry], random: generators.Generators, of_modules: Mapping[str, Fields] | None) -> None:
        attributes = self._attributes()
        put(attributes, state)
        if of_modules is not None:  # earlier versions did not store them
            put_fields(attributes, of_modules["built"], of_modules["now"])
        for name in self._attributes():
            del vars(self)[name]
        vars(self).update(attributes)
        live.apply(attributes, self._hp, self._read_by_make)
        self._random = random

    def _retune(self, hp: dict[str, object]) -> None:
        """Takes new values: into the live objects if `make` read none of those that changed, else into new objects."""
        old, new = dict(flattened(self._hp)), dict(flattened(hp))
        self._hp = hp
        if self._read_by_make & {name for name in old | new if old.get(name) != new.get(name)}:
            self._remake()
        else:
            live.apply(self._attributes(), hp, self._read_by_make)

    def _remake(self) -> None:
        """Makes everything anew, and puts the state into it."""
        state, random, of_modules = read(self._attributes()), self._random, self._fields_of_modules()
        self._make()
        assert random is not None  # making has begun the stream
        self._put(state, random, of_modules)
