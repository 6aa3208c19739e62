"""The contracts catch what they are for: algorithms that break a law fail that law's test."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

import numpy as np
import pytest

import poptrain as pt
from poptrain.algorithms.pbt import Pbt
from poptrain.testing import AlgorithmContract
from poptrain.testing.purity import shared_state_untouched

LIBRARY = logging.getLogger("a library that an algorithm uses")


def quiet_for_a_while():
    level = LIBRARY.level
    LIBRARY.setLevel(logging.ERROR)
    LIBRARY.setLevel(level)


def another_handler():
    LIBRARY.handlers = [*LIBRARY.handlers, logging.NullHandler()]


def seeded_and_restored():
    state = np.random.get_state()
    np.random.seed(0)
    np.random.set_state(state)


IMPURE = {
    "a level that is changed back": (quiet_for_a_while, "setLevel of the logger 'a library"),
    "a level that stays": (lambda: setattr(LIBRARY, "level", LIBRARY.level + 1), "the logger 'a library"),
    "a handler that stays": (another_handler, "the logger 'a library"),
    "logging disabled": (lambda: logging.disable(logging.NOTSET), "disable"),
    "numpy's generator restored": (seeded_and_restored, "seed, set_state"),
    "numpy's generator used": (lambda: np.random.random(), "numpy's global generator"),
    "random used": (random.random, "the module random"),
}


@dataclass(frozen=True)
class Impure:
    """Random search that also changes state of the whole process."""

    inner: object
    change: str

    @property
    def space(self):
        return self.inner.space

    @property
    def seats(self):
        return self.inner.seats

    def needed(self, history):
        return self.inner.needed(history)

    def ask(self, history):
        IMPURE[self.change][0]()
        return self.inner.ask(history)


@pytest.mark.parametrize("change", IMPURE)
def test_an_algorithm_that_changes_shared_state_is_not_pure(change, monkeypatch):
    monkeypatch.setattr(LIBRARY, "handlers", [])
    monkeypatch.setattr(LIBRARY, "level", logging.NOTSET)

    class Laws(AlgorithmContract):
        sync, seeds, orders = False, (0,), ("together",)

        def make(self, space):
            return Impure(pt.random_search(space, population=2, interval=25), change)

    with pytest.raises(AssertionError, match=f"shared state was changed.*{IMPURE[change][1]}"):
        Laws().test_ask_is_pure_and_leaves_its_input_untouched()


def laws_of(algorithm):
    class Laws(AlgorithmContract):
        seeds, orders = (0,), ("together",)

        def make(self, space):
            return algorithm(space)

    return Laws()


@dataclass(frozen=True)
class WithoutTheLast:
    """Claims one more member than it gives tasks to."""

    inner: Pbt

    @property
    def space(self):
        return self.inner.space

    @property
    def population(self):
        return self.inner.population + 1

    seats = population

    def ask(self, history):
        return self.inner.ask(history)

    def needed(self, history):
        return self.inner.needed(history)


def test_a_member_that_never_gets_a_task_breaks_a_law():
    laws = laws_of(lambda space: WithoutTheLast(pt.pbt(space, population=3, interval=25)))
    with pytest.raises(AssertionError, match=r"members \[3\] never had a task"):
        laws.test_members_reach_the_budget_and_no_task_passes_it()


def test_controls_without_their_role_break_a_law(monkeypatch):
    laws = laws_of(lambda space: pt.pbt(space, population=4, interval=25, controls=1))
    laws.test_controls_keep_what_they_began_with_and_no_member_learns_from_them()
    monkeypatch.setattr(Pbt, "_marked", lambda self, tasks: tasks)
    with pytest.raises(AssertionError, match="task 3 of member 3: ''"):
        laws.test_controls_keep_what_they_began_with_and_no_member_learns_from_them()


def test_a_library_that_is_imported_may_set_up_its_own_logger_and_watching_leaves_no_trace():
    before = logging.Logger.setLevel, np.random.seed
    with shared_state_untouched():
        logging.getLogger("a library that is imported now").setLevel(logging.ERROR)
    assert (logging.Logger.setLevel, np.random.seed) == before
