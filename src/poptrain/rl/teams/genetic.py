"""The genetic algorithm of ERL (arXiv 1805.07917, section 3.1) on policy networks, in numpy.

Individuals are vectors, `unpack` shows one as layers whose arrays are views of it. Elites are the best of the ranking, and each
lives on unchanged in a slot of its own. The others of a generation are parents that win a tournament, children of an elite and a
parent, and mutants of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from poptrain.rl.nets import Layers
from poptrain.rl.teams.flat import NAMES

TOURNAMENT = 3  # draws of which the best wins
MUTATED = 0.1  # the largest share of a weight matrix that one mutation changes
SUPER, RESET = 0.05, 0.05  # shares of changes that are a hundred times as strong, and that draw a new weight
SUPER_STRENGTH = 10.0
LARGEST_WEIGHT = 1e6


class Rules(NamedTuple):
    """What a generation keeps and changes."""

    elites: int
    mutation_rate: float  # probability that an individual which is not protected mutates
    mutation_strength: float  # standard deviation of a change, as a fraction of the weight
    crossover_rate: float  # probability that two parents cross over


def evolve(
    people: np.ndarray,
    fitness: np.ndarray,
    rules: Rules,
    unpack: Callable[[np.ndarray], Layers],
    generator: np.random.Generator,
    newcomer: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the next generation, (k, D); only the ranking by fitness counts.

    Args:
        people, fitness: (k, D) and (k,); a fitness that is not finite is the worst.
        newcomer: takes the slot of the worst, (D,), and stays as it is.
    """
    k = len(people)
    ranking = [int(i) for i in np.argsort(-np.where(np.isfinite(fitness), fitness, -np.inf), kind="stable")]
    elites, protected = ranking[: rules.elites], set() if newcomer is None else {ranking[-1]}
    winners = np.unique(generator.integers(0, k, (k - len(elites), TOURNAMENT)).min(1))
    parents = [ranking[place] for place in winners if ranking[place] not in protected]
    vacant = [int(i) for i in generator.permutation(k) if i not in {*elites, *parents, *protected}]
    after = people.copy()
    for elite in elites:
        slot = vacant.pop() if vacant else elite
        after[slot] = people[elite]
        protected.add(slot)
    for one, other in zip(vacant[::2], [*vacant[1::2], None], strict=False):
        after[one] = people[generator.choice(elites)]
        second = people[generator.choice(parents or elites)].copy()
        cross(unpack(after[one]), unpack(second), generator)
        if other is not None:
            after[other] = second
    for one, other in zip(parents[::2], parents[1::2], strict=False):
        if generator.uniform() < rules.crossover_rate and not {one, other} & protected:
            cross(unpack(after[one]), unpack(after[other]), generator)
    if newcomer is not None:
        after[ranking[-1]] = newcomer
    for slot in range(k):
        if slot not in protected and generator.uniform() < rules.mutation_rate:
            mutate(unpack(after[slot]), rules.mutation_strength, generator)
    return after


def cross(one: Layers, other: Layers, generator: np.random.Generator) -> None:
    """Changes two networks in place: some units of each layer, and some entries of the vectors, become those of the other one.

    A draw that comes again has nothing left to copy, so only the first counts.
    """
    for a, b in zip(one, other, strict=True):
        for name in (name for name in NAMES if name in a):
            size = a[name].shape[-1]
            drawn = np.unique(generator.integers(0, size, generator.integers(0, 2 * size if name == "w" else size)))
            there = generator.uniform(size=len(drawn)) < 0.5
            to_a, to_b = drawn[there], drawn[~there]
            a[name][..., to_a], b[name][..., to_b] = b[name][..., to_a], a[name][..., to_b]


def mutate(layers: Layers, strength: float, generator: np.random.Generator) -> None:
    """Changes a network in place: up to a tenth of the entries of about three in four weight matrices, nothing else."""
    for layer in layers:
        weights = layer["w"].reshape(-1)  # a view
        if generator.uniform() >= generator.uniform(0.0, 2.0):
            continue
        at = generator.integers(0, len(weights), generator.integers(0, int(np.ceil(MUTATED * len(weights)))))
        kind, noise = generator.uniform(size=len(at)), generator.standard_normal(len(at))
        while len(at):  # an entry that is drawn several times changes as often
            where, first = np.unique(at, return_index=True)
            old, draw, step = weights[where], kind[first], noise[first]
            moved = old + step * np.abs(old) * np.where(draw < SUPER, SUPER_STRENGTH, strength)
            new = np.where((draw >= SUPER) & (draw < SUPER + RESET), step, moved)
            weights[where] = np.clip(new, -LARGEST_WEIGHT, LARGEST_WEIGHT)
            at, kind, noise = (np.delete(each, first) for each in (at, kind, noise))
