"""Settings that work and cannot be meant are warned about before training; what may be meant is not."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest

import poptrain as pt
from poptrain.core.errors import RunWarning
from poptrain.engine.sanity import doubts
from poptrain.testing import Quadratic, play, quadratic
from poptrain.testing.simulate import noisy

LR = pt.LogUniform(1e-4, 1e-1)
SPACE = pt.Space(lr=LR)
PBT = pt.pbt(SPACE, population=4, interval=5)


def about(trainable=quadratic, algorithm=PBT, steps=50, **options):
    return doubts(pt.Experiment(algorithm, trainable, stop=pt.steps(steps), **options))


def reads_all(carry, hp, steps, seed):
    return 0, {"score": hp["lr"] + hp.get("momentum", 0.0)}


def reads_lr(carry, hp, steps, seed):
    return 0, {"score": hp["lr"]}


def unpacks(carry, hp, steps, seed):
    return 0, {"score": sum(dict(**hp).values())}


class Adam:
    def __init__(self, lr):
        self.lr = lr


class Forgets(Quadratic):
    def __init__(self, hp, seed):
        super().__init__({"lr": hp["lr"]}, seed)
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        np.save(directory / "theta.npy", self.theta)


class Remembers(Forgets):
    def __init__(self, hp, seed):
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        np.save(directory / "optimizer.npy", self.optimizer.lr)


class SavesItself(Forgets):
    def __init__(self, hp, seed):
        self.optimizer = Adam(hp["lr"])

    def save(self, directory):
        self.write(directory)


class LoadsNothing(Quadratic):
    def save(self, directory):
        np.save(directory / "theta.npy", self.theta)

    def load(self, directory):
        pass


class LoadsHalf:
    def __init__(self, hp, seed):
        self.theta, self.steps = 0.0, 0

    def train(self, hp, steps):
        self.theta += hp["lr"]
        self.steps += steps
        return {"score": self.theta}

    def save(self, directory):
        np.save(directory / "state.npy", [self.theta, self.steps])

    def load(self, directory):
        self.theta = np.load(directory / "state.npy")[0]


class SavesNothing(LoadsHalf):
    def train(self, hp, steps):
        self.theta += hp["lr"] * steps
        return {"score": self.theta}

    def save(self, directory):
        pass

    def load(self, directory):
        pass


class LoadsByName(LoadsHalf):
    def load(self, directory):
        vars(self).update(zip(("theta", "steps"), np.load(directory / "state.npy"), strict=True))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: about(algorithm=pt.pbt(SPACE, population=1, interval=5)), "the population is 1, and a copy needs two members"),
        (lambda: about(steps=5), "the interval is 5 steps and the budget 5"),
        (lambda: about(algorithm=pt.pbt(SPACE, population=4, interval=5, warmup=90)), "the warmup is 90 steps"),
        (lambda: about(metric="val_loss"), "'val_loss' suggests that less is better, but mode is 'max'"),
        (lambda: about(metric="accuracy", mode="min"), "is mode='max' meant?"),
        (lambda: about(algorithm=pt.pbt(pt.Space(lr=LR, width=pt.Uniform(1, 1)), interval=5)), "'width' has only one value"),
        (lambda: about(algorithm=pt.pbt(pt.Space(lr=LR, kind=pt.Choice("a")), interval=5)), "'kind' has only one value"),
        (lambda: about(reads_lr, pt.pbt(pt.Space(lr=LR, momentum=LR), interval=5)), "never reads the hyperparameter 'momentum'"),
        (lambda: about(Forgets), "Forgets.save() does not mention self.optimizer"),
        (lambda: about(SavesNothing), "SavesNothing.save() never uses the directory"),
        (lambda: about(LoadsNothing), "LoadsNothing.load() never uses the directory"),
        (lambda: about(LoadsHalf), "load() does not mention it"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_meant_is_named(found, words):
    assert any(words in text for text in found()), found()


@pytest.mark.parametrize("trainable", [quadratic, Quadratic, reads_all, unpacks, Remembers, SavesItself, LoadsByName])
def test_what_may_be_meant_is_not(trainable):
    two = pt.Space(lr=LR, momentum=LR)
    algorithm = pt.pbt(two, interval=5) if trainable in (reads_all, unpacks) else PBT
    assert about(trainable, algorithm) == []
    assert about(algorithm=pt.random_search(SPACE, interval=50)) == [], "random search is not expected to copy"


def warned(*arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pt.run(*arguments, progress=False, **options)
    return [str(each.message) for each in caught if each.category is RunWarning]


def test_a_run_warns_before_it_trains():
    seen = []

    def train(carry, hp, steps, seed):
        seen.append(1)
        return quadratic(carry, hp, steps, seed)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)
        pt.run(pt.pbt(SPACE, population=1, interval=5), train, stop=pt.steps(20), progress=False)
    assert "no member will ever copy" in warned(pt.pbt(SPACE, population=1, interval=5), train, stop=pt.steps(20))[0]


def test_a_run_whose_scores_only_get_worse_asks_about_the_mode():
    def train(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, {"value": 1.2 - metrics["score"]}

    assert "is mode='min' meant?" in warned(PBT, train, metric="value", stop=pt.steps(50))[-1]
    assert warned(PBT, train, metric="value", mode="min", stop=pt.steps(50)) == []


class Base:
    def train(self, hp, steps):
        return {"score": sum(hp[name] for name in hp)}


class Derived(Base):
    def __init__(self, hp, seed):
        self.lr = hp["lr"]

    def save(self, directory):
        pass

    def load(self, directory):
        pass


def test_what_a_base_class_reads_is_not_known():
    assert about(Derived, pt.pbt(pt.Space(lr=LR, momentum=LR), interval=5)) == []


def test_a_run_in_which_no_episode_ends_says_so_once():
    def train(carry, hp, steps, seed):
        return 0, {"score": hp["lr"], "episodes": 0 if ended is None else ended}

    ended = None
    said = warned(pt.pbt(SPACE, population=3, interval=5), train, stop=pt.steps(40))
    assert [text for text in said if "no episode ended in the first 2 rounds of intervals of 5 steps" in text] == said
    ended = 1
    assert warned(pt.pbt(SPACE, population=3, interval=5), train, stop=pt.steps(40)) == []


@pytest.mark.parametrize("counted", [True, False], ids=["episodes", "returns"])
def test_episodes_that_stop_ending_later_are_announced_once_and_shown_by_status(tmp_path, counted):
    def train(carry, hp, steps, seed):
        step = (carry or 0) + steps
        returns = [float(step)] if step < 30 else []
        return step, {"score": min(step, 25), "returns": returns, **({"episodes": len(returns)} if counted else {})}

    given = {"directory": tmp_path / "r"}
    said = warned(pt.pbt(SPACE, population=3, interval=5), train, stop=pt.steps(40), **given)
    told = [text for text in said if "no episode ended" in text]
    assert told[0].startswith("member 0: no episode ended in the interval of 5 steps up to step 30, so its score, 25, is not of")
    assert "number of environments times the steps of an episode" in told[0] and "evaluation" in told[0]
    assert told[1:] == ["no episode ended in 9 of 24 intervals, so their scores are not their own."]
    assert told[0].rstrip(".") in pt.views.status(pt.open_run(tmp_path / "r").record).warnings
    again = warned(pt.pbt(SPACE, population=3, interval=5), train, stop=pt.steps(60), **given)
    assert not [text for text in again if "member 0" in text], "a continued run has it in its log"


def test_a_trainable_that_always_reports_returns_says_so_when_it_has_none():
    class Agents(pt.testing.Quadratic):
        whole_episodes = "do this"

    said = warned(pt.pbt(SPACE, population=3, interval=5), Agents, stop=pt.steps(40))
    assert len(said) == 1 and said[0].startswith("no episode ended in the first 2 rounds") and said[0].endswith("or do this.")


def test_a_finished_run_says_that_its_code_has_changed(tmp_path):
    def train(carry, hp, steps, seed):
        return 0, {"score": hp["lr"]}

    first = train
    given = pt.pbt(SPACE, population=3, interval=5), {"stop": pt.steps(10), "directory": tmp_path}
    assert warned(given[0], first, **given[1]) == warned(given[0], first, **given[1]) == []

    def train(carry, hp, steps, seed):
        return 0, {"score": 2 * hp["lr"]}

    (said,) = warned(given[0], train, **given[1])
    assert "nothing was trained now" in said and "overwrite=True" in said


def test_scores_that_are_all_equal_are_doubted_at_the_end():
    def train(carry, hp, steps, seed):
        return 0, {"score": 0.25 if hp["lr"] < best else 0.5}

    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=5)
    best = 1.0
    with pytest.warns(RunWarning, match="all 16 results have the same 'score', 0.25, so nothing could be selected"):
        pt.run(algorithm, train, stop=pt.steps(20), progress=False)
    best = 0.02
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pt.run(algorithm, train, stop=pt.steps(20), progress=False)


def test_a_finished_run_says_that_nothing_was_trained(tmp_path, capfd):
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5)
    for _ in range(2):
        pt.run(algorithm, quadratic, stop=pt.steps(10), directory=tmp_path / "r")
    first, again = capfd.readouterr().err.strip().splitlines()[-2:]
    assert first.startswith("finished: 4 results")
    assert (
        again == f"finished before: {tmp_path / 'r'} has the whole run, and nothing was trained now (overwrite=True begins anew)"
    )
    pt.run(algorithm, quadratic, stop=pt.steps(10), directory=tmp_path / "r", progress=False)
    assert capfd.readouterr().err == ""


def test_a_continued_run_says_so(tmp_path, capfd):
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5)
    for steps in (10, 20):
        pt.run(algorithm, quadratic, stop=pt.steps(steps), directory=tmp_path / "r")
    err = capfd.readouterr().err
    assert err.count("continuing") == 1 and f"continuing {tmp_path / 'r'}, which holds 4 results\n" in err


def distilled(carry, teacher, hp, steps, seed, progress):
    return reads_all(carry, hp, steps, seed)


@pytest.mark.parametrize("steps", [63, 64])
@pytest.mark.parametrize("patience", [20, 4])
def test_a_second_generation_is_doubted_exactly_if_none_begins(steps, patience):
    space = pt.Space(lr=LR, width=pt.Int(1, 3, static=True))
    generations = pt.Generations(distill=10, every=40, patience=patience)
    algorithm = pt.bg_pbt(space, population=4, interval=5, generations=generations)
    trainable = pt.Trainable(lambda hp, seed: 0, reads_all, distilled)
    run = pt.run(algorithm, trainable, stop=pt.steps(steps))
    begins = any(task.role == "candidate" for task in map(run.history.task, range(run.history.n)))
    assert any("generation" in doubt for doubt in about(trainable, algorithm, steps)) is not begins
    assert begins is (steps == 64 or patience == 4)


@pytest.mark.parametrize("release", [True, False])
def test_fire_is_doubted_exactly_where_it_would_evaluate_no_parent(release):
    for interval, max_eval, warmup, budget in product((4, 5), (1, 7, 12), (0, 9), (9, 13, 16, 17, 25)):
        options = {"interval": interval, "max_eval": max_eval, "warmup": warmup, "evals": 2, "release": release}
        fire = pt.fire_pbt(SPACE, (4, 4), 4, exploit=pt.truncation(0.5), **options)
        history = play(fire, noisy, budget=budget)
        never = not any(history.task(id).role == "evaluator" for id in range(history.n))
        found = [doubt for doubt in about(algorithm=fire, steps=budget) if "no parent will be evaluated" in doubt]
        assert len(found) == never, (options, budget)
    assert not about(algorithm=pt.fire_pbt(SPACE, interval=5), steps=100)
