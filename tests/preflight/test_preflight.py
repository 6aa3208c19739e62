"""The preflight catches each planted bug by the check that it belongs to, and finds nothing wrong with what is right."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from experiment_file import FILE

import poptrain as pt
from poptrain.cli import main
from poptrain.core import Result, clock
from poptrain.core.errors import Suspended
from poptrain.engine.experiment import load
from poptrain.engine.reads import checkpoint_faults, ignores_checkpoint
from poptrain.preflight import metric
from poptrain.preflight.effects import other
from poptrain.preflight.estimate import Times, estimated
from poptrain.preflight.lab import equal
from poptrain.preflight.sight import blurred
from poptrain.testing import Faulty, check_trainable, quadratic
from poptrain.testing.algorithms import every_kind
from poptrain.testing.trainables import Quadratic
from poptrain.trainable.episodes import EpisodeLimit

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.preflight import examples  # noqa: E402
from benchmarks.preflight_bugs import CLASSES, FORMS, SPACE, Function, Member, case  # noqa: E402

LIGHT = [(form, bug) for form in ("class", "function", "population") for bug in FORMS[form]]
LONG = {"halfcheetah_cem_rl", "pbt_over_td3"}  # one interval takes minutes; tests/rl train these agents for less
HEAVY = [(form, bug) for form in ("pure JAX", "PyTorch") for bug in FORMS[form]]


def states(found):
    return {verdict.name: verdict.state for verdict in found.checks}


def failed(found):
    return [verdict.name for verdict in found.checks if verdict.state == "failed"]


@pytest.mark.parametrize(("form", "bug"), LIGHT)
def test_a_planted_bug_is_caught_and_what_is_right_passes(form, bug):
    planted = case(form, bug)
    found = pt.check(planted.experiment)
    assert failed(found) == ([] if planted.check is None else [planted.check])
    assert found.ok == (planted.check is None)
    if not bug:
        assert set(states(found).values()) == {"ok"}


RATE = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))


class Episodic(pt.testing.Quadratic):
    """A member of 4 environments whose episodes may have 50 steps."""

    whole_episodes = "set this"

    def train(self, hp, steps):
        return super().train(hp, steps) | {"episodes": steps // 40}

    def episode_limit(self):
        return EpisodeLimit(50, 4, 8)


@pytest.mark.parametrize(("interval", "state"), [(100, "unclear"), (192, "unclear"), (193, None), (400, None)])
def test_an_interval_in_which_no_episode_may_end_is_unclear(interval, state):
    found = pt.check(pt.Experiment(pt.pbt(RATE, population=4, interval=interval), Episodic, stop=pt.steps(4 * interval)))
    assert states(found).get("episodes") == state and found.ok
    text = next((verdict.text for verdict in found.checks if verdict.name == "episodes"), "")
    if interval == 100:
        assert "an interval of 100 steps gives each of 4 environments 26 steps, and an episode may have 50" in text
        assert "Use an interval of 200 steps or more, fewer environments, or set this" in text


def test_so_is_one_in_which_none_has_ended():
    def train(carry, hp, steps, seed):
        carry, metrics = quadratic(carry, hp, steps, seed)
        return carry, metrics | {"episodes": 0}

    found = pt.check(pt.Experiment(pt.pbt(RATE, population=4, interval=5), train, stop=pt.steps(20)))
    assert states(found)["episodes"] == "unclear" and found.ok


class Coarse(Member):
    """A member whose score shows only large changes: a whole number of percents."""

    loss = True

    def train(self, hp, steps):
        loss = -super().train(hp, steps)["score"]
        return {"score": round(100 * np.exp(-5 * loss)) / 100, **({"loss": loss} if self.loss else {})}


class OnlyCoarse(Coarse):
    loss = False


class CoarseOfTheCheckpoint(OnlyCoarse):
    apply = CLASSES["lr not applied"].apply


class ReadBack(CoarseOfTheCheckpoint):
    """Its live object says that a copy has the new values; what acts is not known to the score."""

    def places(self, hp):
        return [SimpleNamespace(hparam="lr", name="optimizer.lr", held=hp["lr"])]


def coarsely(trainable, low=1e-3):
    space = pt.Space(lr=pt.LogUniform(low, 1e-1), momentum=pt.Uniform(0.0, 0.9))
    found = pt.check(pt.Experiment(pt.pbt(space, population=4, interval=5), trainable, stop=pt.steps(20)))
    return next(verdict for verdict in found.checks if verdict.name == "hparams.lr")


def test_an_effect_is_judged_by_all_metrics_and_a_coarse_score_is_no_alarm():
    assert coarsely(Coarse).state == "ok"
    assert coarsely(OnlyCoarse).state in ("ok", "unclear")
    found = coarsely(CoarseOfTheCheckpoint)
    assert found.state == "unclear" and "no result is fine enough to show one" in found.text
    found = coarsely(ReadBack)
    assert found.state == "ok" and "the loaded member has the new value in force" in found.text


def test_accuracies_and_counts_are_coarse_and_losses_are_not():
    def pairs(*scores, returns=()):
        results = [Result(0, score, at, (), returns and (*returns, score)) for at, score in enumerate(scores)]
        return list(pairwise(results))

    for values in ((259 / 400, 0.65, 261 / 400), (np.float32(0.2), np.float32(1 / 3)), (127.0, 98.0), (0.5, 0.5), (0.0, 1.0)):
        assert blurred(pairs(*map(float, values)))
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1.0, 1e6):
        assert not blurred(pairs(*(scale * rng.random(4)))), scale
        assert not blurred(pairs(*np.float64(np.float32(scale * rng.random(4))))), scale
    assert not blurred(pairs(127.0, 98.0, returns=[50.0] * 8))


@pytest.mark.heavy
@pytest.mark.parametrize(("form", "bug"), HEAVY)
def test_so_is_one_in_pytorch_and_in_jax(form, bug):
    planted = case(form, bug)
    found = pt.check(planted.experiment)
    assert (not failed(found)) if planted.check is None else planted.check in failed(found)


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in examples() if Path(examples()[name]).stem not in LONG])
def test_no_example_raises_an_alarm(name):
    assert not failed(pt.check(load(examples()[name]), seconds=20))


def test_what_never_repeats_itself_is_told_apart_from_a_broken_checkpoint():
    noisy, broken = (pt.check(case("class", bug).experiment) for bug in ("unseeded", "optimizer missing, unseeded"))
    assert states(noisy)["deterministic"] == states(noisy)["save and load"] == "unclear"
    assert states(broken)["deterministic"] == "unclear" and states(broken)["save and load"] == "failed"


def test_the_hint_tells_a_missing_generator_from_a_missing_optimiser():
    bugs = ("RNG missing", "optimizer missing")
    generator, optimiser = (
        next(v.text for v in pt.check(case("class", bug).experiment).checks if v.name == "save and load") for bug in bugs
    )
    assert "save and load its random generator" in generator and "not the random generator" in optimiser


# -- what must not be an alarm --------------------------------------------------------------------------------------------


def experiment(trainable, space=SPACE, **options):
    return pt.Experiment(pt.pbt(space, population=4, interval=10), trainable, **{"stop": pt.steps(200), **options})


def test_a_metric_that_measures_time_is_no_alarm():
    class Timed(Member):
        def train(self, hp, steps):
            return {**super().train(hp, steps), "speed": time.perf_counter()}

    assert set(states(pt.check(experiment(Timed))).values()) == {"ok"}


def test_a_checkpoint_with_a_date_in_it_is_no_alarm():
    class Dated(Member):
        def state(self):
            return {**super().state(), "saved": time.perf_counter()}

    assert set(states(pt.check(experiment(Dated))).values()) == {"ok"}


def test_a_hyperparameter_that_acts_only_beside_another_is_no_alarm():
    def train(carry, hp, steps, seed):
        x = 1.0 if carry is None else carry
        for _ in range(steps):
            x -= 0.01 * x * (hp["beta"] if hp["kind"] == "b" else 1.0)
        return x, {"score": -x * x}

    space = pt.Space(kind=pt.Choice("a", "b", init=("a",)), beta=pt.Uniform(0.5, 2.0))
    assert states(pt.check(experiment(train, space)))["hparams.kind"] == "ok"
    mixed = pt.Space(kind=pt.Choice("a", "b"), beta=pt.Uniform(0.5, 2.0))
    assert states(pt.check(experiment(train, mixed)))["hparams.beta"] == "ok"


def test_a_hyperparameter_that_acts_once_in_an_interval_is_no_alarm_when_there_is_no_time_for_one():
    def train(carry, hp, steps, seed):  # an update every 900 steps, as of an agent that collects a batch first
        t, x, noise = (0, 1.0, 0.0) if carry is None else carry
        clock.sleep(0.01 * steps)
        for t in range(t + 1, t + steps + 1):  # noqa: B020
            x, noise = x * (1 - hp["lr"] * (t % 900 == 0)), noise + 1e-3
        return (t, x, noise), {"score": noise - x}

    with clock.use(clock.FakeClock()):
        about = pt.Experiment(pt.pbt(pt.Space(lr=SPACE["lr"]), population=4, interval=1000), train, stop=pt.steps(10**4))
        short, long = pt.check(about, seconds=30), pt.check(about, seconds=3000)
    assert short.ok and states(short)["hparams.lr"] == "unclear"
    assert set(states(long).values()) == {"ok"}


def test_every_kind_of_hyperparameter_is_heard_static_ones_at_the_start():
    def train(carry, hp, steps, seed):
        width, total = (hp["width"], 0.0) if carry is None else carry
        per = hp["lr"] + hp["momentum"] + hp["batch"] / 64 + {"crop": 1, "flip": 2, "none": 3}[hp["augment"]] + width / 128
        return (width, total + steps * per), {"score": total + steps * per}

    assert set(states(pt.check(experiment(train, every_kind()))).values()) == {"ok"}

    def without_width(carry, hp, steps, seed):
        return train((64, 0.0) if carry is None else carry, hp, steps, seed)

    assert failed(pt.check(experiment(without_width, every_kind()))) == ["hparams.width"]


def test_members_that_diverge_or_raise_are_told_and_only_all_of_them_fail():
    assert failed(pt.check(experiment(Faulty("raise"), pt.Space(lr=SPACE["lr"])))) == ["trains"]
    assert failed(pt.check(experiment(Faulty("nan"), pt.Space(lr=SPACE["lr"])))) == ["metric finite"]
    some = pt.check(experiment(Faulty("nan", above=0.02), pt.Space(lr=pt.LogUniform(1e-4, 1e-1))))
    assert some.ok and "configurations" in some.checks[0].text

    def at_first(carry, hp, steps, seed):
        return 1, {"mse": math.inf if carry is None else hp["lr"]}

    text = next(each.text for each in pt.check(experiment(at_first, SPACE, metric="mse")).checks if each.name == "metric finite")
    assert text.startswith("mse was inf in all of ")


@pytest.mark.parametrize("from_step", [0, 5])
def test_scores_that_are_not_finite_prove_nothing_about_anything_else(from_step):
    def diverging(carry, hp, steps, seed):
        step = (carry or 0) + steps
        return step, {"score": hp["lr"] if step <= from_step else float("nan")}

    found = pt.check(pt.Experiment(pt.pbt(pt.Space(lr=pt.Uniform(0, 1)), population=3, interval=5), diverging, stop=pt.steps(20)))
    state = states(found)
    assert state["metric finite"] == "failed"
    assert {state[name] for name in ("metric moves", "direction", "save and load", "hparams.lr")} == {"unclear"}
    assert state["deterministic"] == ("ok" if from_step else "unclear"), "the first scores are numbers, or not"


def test_a_wrong_mode_is_told_from_the_name_and_from_the_numbers():
    def loss(carry, hp, steps, seed):
        carry, found = Function()(carry, hp, steps, seed)
        return carry, {"loss": -found["score"], "accuracy": found["score"]}

    assert pt.check(experiment(loss, metric="loss", mode="min")).ok
    assert failed(pt.check(experiment(loss, metric="loss"))) == ["direction"]
    assert failed(pt.check(experiment(loss, metric="accuracy", mode="min"))) == ["direction"]


def curves_of(*rows):
    """Returns configurations whose segments have these scores."""
    return [[SimpleNamespace(ok=True, result=Result(0, y, 1, ((1, y),))) for y in row] for row in rows]


@pytest.mark.parametrize("rows", [[(0.5, 0.5), (0.25, 0.25)], [(0.5, 0.5), (0.5, 0.5)], [(0.5,), (0.5,)]])
def test_a_score_that_stays_constant_fails_only_over_whole_intervals(rows):
    long_enough = len(rows[0]) > 1
    assert metric.moving(curves_of(*rows), whole=False).state == "unclear"
    assert metric.moving(curves_of(*rows), whole=True).state == ("failed" if long_enough else "unclear")


@pytest.mark.parametrize("name", ["score", "loss", "accuracy"])
@pytest.mark.parametrize("better", [0, 1, 2, 3])
def test_the_direction_is_ok_only_where_training_made_the_score_better(name, better):
    mode, gain = ("min", -1) if name == "loss" else ("max", 1)
    for rest in (0, -gain):  # the others stay where they were, or get worse
        rows = [(0.5, 0.5 + 0.1 * (gain if index < better else rest)) for index in range(3)]
        state = metric.direction(curves_of(*rows), name, mode).state
        assert state == ("ok" if better > 1 or (better and name != "score") else "unclear")


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("name", ["score", "loss", "accuracy"])
def test_the_direction_of_noise_is_no_alarm(name, mode):
    def noise(carry, hp, steps, seed):
        return (carry or 0) + steps, {name: float(pt.rng(seed, "noise", hp["lr"], hp["momentum"]).normal())}

    verdicts = [states(pt.check(experiment(noise, metric=name, mode=mode, seed=seed)))["direction"] for seed in range(3)]
    agrees = metric.hinted(name) in (0, 1 if mode == "max" else -1)
    assert verdicts.count("failed") <= (0 if agrees else 2)


def test_an_algorithm_that_evaluates_first_and_one_with_seconds_are_checked():
    space = pt.Space(lr=SPACE["lr"])
    for algorithm in (pt.pb2(space, population=3, interval=10), pt.pbt(space, population=3, interval=pt.seconds(0.01))):
        found = pt.check(pt.Experiment(algorithm, quadratic, stop=pt.any_of(pt.seconds(1), pt.steps(100))))
        assert found.ok and found.steps >= 1


# -- time and disk ------------------------------------------------------------------------------------------------------------


def slow(carry, hp, steps, seed):
    clock.sleep(0.01 * steps)
    return quadratic(carry, hp, steps, seed)


@pytest.mark.parametrize(("interval", "limit"), [(10, 60), (1000, 60), (10**6, 60), (1000, 5), (10, 0.01)])
def test_it_keeps_to_its_time_and_says_what_it_left_out(interval, limit):
    space = pt.Space(lr=SPACE["lr"])
    with clock.use(clock.FakeClock()):
        about = pt.Experiment(pt.pbt(space, population=4, interval=interval), slow, stop=pt.steps(10**7))
        found = pt.check(about, seconds=limit)
    longest = 0.01 * found.steps * 3  # a batch of three members that was begun in time
    assert found.ok and found.seconds <= limit + longest + 1e-6
    assert ("unclear" in states(found).values()) == (limit < 1)
    assert (found.steps == interval) == (interval == 10 and limit > 1)


def test_the_time_of_the_run_is_that_of_its_steps_and_the_disk_holds_its_checkpoints(tmp_path):
    space = pt.Space(lr=SPACE["lr"])
    about = pt.Experiment(pt.pbt(space, population=4, interval=10), slow, stop=pt.steps(40))
    with clock.use(clock.FakeClock()):
        found = pt.check(about, directory=tmp_path).estimate
        run = pt.run(about.algorithm, slow, stop=about.stop, directory=tmp_path / "run")
    assert found.seconds == pytest.approx(run.record.elapsed) == pytest.approx(0.01 * 40 * 4)
    held = sum(path.stat().st_size for path in (tmp_path / "run" / "checkpoints").rglob("*") if path.is_file())
    assert held <= found.disk and found.checkpoint * 4 == pytest.approx(held, rel=0.2)


def test_a_checkpoint_that_does_not_fit_the_disk_fails(monkeypatch):
    from poptrain.preflight import estimate

    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000})())
    assert failed(pt.check(experiment(quadratic, pt.Space(lr=SPACE["lr"])))) == ["disk"]


# -- parts ----------------------------------------------------------------------------------------------------------------------


def test_another_value_is_another_value_inside_the_range():
    space = every_kind()
    for number in range(3):
        for seed in range(50):
            hparams = space.sample(pt.rng(seed))
            for name, parameter in space.items():
                value = other(space, name, hparams[name], number)
                assert value != hparams[name] and parameter.contains(value)


FORGETFUL = """
import json, pathlib, sys
lr, steps, checkpoint = sys.argv[1:]
memory = pathlib.Path(checkpoint, "x.json")
x = json.loads(memory.read_text()) if READS and memory.exists() else 1.0
for _ in range(int(steps)):
    x -= 2 * float(lr) * x
pathlib.Path(checkpoint, "x.json").write_text(json.dumps(x))
print(json.dumps({"score": 1 - x * x}))
"""


@pytest.mark.parametrize("reads", [True, False])
def test_a_command_that_never_reads_its_checkpoint_is_not_ok(tmp_path, reads):
    (tmp_path / "train.py").write_text(FORGETFUL.replace("READS", str(reads)))
    line = f"{sys.executable} -IS {tmp_path / 'train.py'} {{lr}} {{steps}} {{checkpoint}}"
    found = states(
        pt.check(pt.Experiment(pt.pbt(RATE, population=3, interval=2), pt.command(line), stop=pt.steps(8)), seconds=20)
    )
    assert found["save and load"] == ("ok" if reads else "unclear")


class Discards(Quadratic):
    def save(self, directory):
        (directory / "state.json").write_text(str(self.theta))

    def load(self, directory):
        (directory / "state.json").read_text()


class Empty(Discards):
    def save(self, directory):
        (directory / "state.json").write_text(str(self.theta))

    def load(self, directory):
        pass


def test_a_load_without_effect_fails_and_one_that_ignores_its_directory_is_reported_as_the_run_reports_it():
    for trainable in (Discards, Empty):
        found = pt.check(pt.Experiment(pt.pbt(RATE, population=3, interval=2), trainable, stop=pt.steps(8)))
        assert failed(found) == ["save and load"]
    assert all(text in repr(found) for text in checkpoint_faults(Empty, "Empty")) and ignores_checkpoint(Empty)


def test_equality_of_carries_is_exact():
    carry = {"a": [np.arange(3.0), float("nan")], "b": (1, "x", None, True)}
    assert equal(carry, {"a": [np.arange(3.0), float("nan")], "b": (1, "x", None, True)})
    for wrong in ({"a": 1}, {**carry, "a": [np.arange(3.0) + 1e-16, 0.0]}, {**carry, "b": (1, "x", None, 1)}, {**carry, "c": 1}):
        assert not equal(carry, wrong)


def test_check_trainable_is_the_round_trip_alone():
    check_trainable(Member, {"lr": 0.1, "momentum": 0.5})
    with pytest.raises(AssertionError, match="does not hold all of the state"):
        check_trainable(CLASSES["optimizer missing"], {"lr": 0.1, "momentum": 0.5})


# -- the command line -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(folder):
    Path("sound_experiment.py").write_text(FILE)
    Path("wrong_experiment.py").write_text(FILE.replace("stop=", 'mode="min", stop='))
    Path("unnamed_experiment.py").write_text(FILE.replace("stop=", 'metric="sore", stop='))
    return folder


def test_the_command_says_that_nothing_is_wrong(here, capsys):
    assert main(["check", "sound_experiment.py"]) == 0
    told = capsys.readouterr().out
    assert "nothing is wrong" in told and "the run: about" in told
    assert main(["check", "sound_experiment.py", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["estimate"]["disk"] > 0 and {check["state"] for check in found["checks"]} == {"ok"}
    assert sorted(path.name for path in Path().iterdir() if path.is_dir() and path.name != "__pycache__") == []


def test_the_command_exits_with_1_if_something_is_wrong(here, capsys):
    assert main(["check", "wrong_experiment.py"]) == 1
    assert "is mode='max' meant?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing.py",), "no experiment file 'nothing.py'"),
        (("unnamed_experiment.py",), "the metrics have no 'sore'; they hold 'score', 'theta'. Did you mean 'score'?"),
        (("sound_experiment.py", "--seconds", "0"), "seconds=0.0, expected a finite number of seconds above 0"),
        (("sound_experiment.py", "--executor", "vectorized"), "trains pure JAX functions or populations"),
        (("sound_experiment.py", "--executor", "nowhere"), "executor='nowhere': expected one of"),
    ],
)
def test_bad_arguments_are_answered_in_a_sentence(here, capsys, arguments, says):
    assert main(["check", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1


# -- estimates and first rounds -------------------------------------------------------------------------------------------


def rollouts(carry, hp, steps, seed):
    """A step is free until 64 of them fill a rollout, and every call ends in an evaluation."""
    done = 0 if carry is None else carry["done"]
    clock.sleep(1.0 * ((done + steps) // 64 - done // 64 + (steps < 64)) + 0.5)
    return {"done": done + steps}, {"score": float(done + steps) * hp["lr"]}


def test_the_estimate_measures_a_whole_interval_with_its_evaluation():
    with clock.use(clock.FakeClock()):
        algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=640)
        found = pt.check(pt.Experiment(algorithm, rollouts, stop=pt.steps(6400)), seconds=600.0)
    truth = 4 * 10 * (10 * 1.0 + 0.5)
    assert found.estimate.seconds == pytest.approx(truth, rel=0.3)


def test_a_population_that_can_never_copy_is_found():
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=50)
    found = pt.check(pt.Experiment(algorithm, pt.testing.quadratic, stop=pt.steps(50)))
    (verdict,) = [each for each in found.checks if each.name == "decisions"]
    assert not found.ok and "the interval is 50 steps and the budget 50" in verdict.text


class EvaluatedFirst:
    """Asks for an evaluation before anything is trained, as some models do."""

    def __init__(self, algorithm):
        self.algorithm, self.space, self.seats = algorithm, algorithm.space, algorithm.seats

    def ask(self, history):
        return tuple(replace(task, steps=0) for task in self.algorithm.ask(history)) if not history.n else ()

    def needed(self, history):
        return frozenset()


def test_a_member_that_cannot_be_evaluated_before_it_trains_is_found_by_the_first_round():
    def train(carry, hp, steps, seed):
        carry, metrics = pt.testing.quadratic(carry, hp, steps, seed)
        return carry, metrics if steps else {}

    algorithm = EvaluatedFirst(pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=5))
    for trainable, state in ((train, "failed"), (pt.testing.quadratic, "ok")):
        found = pt.check(pt.Experiment(algorithm, trainable, stop=pt.steps(50)))
        assert {each.state for each in found.checks if each.name == "first round"} == {state}


def starting(carry, hp, steps, seed):
    """The first call of all takes a minute; one that evaluates half a second; a step a tenth; a tenth-part value more."""
    if not starting.begun:
        clock.sleep(60.0)
    starting.begun = True
    clock.sleep(0.5 + 0.1 * steps)
    return (carry or 0) + steps, {"score": float((carry or 0) + steps) * hp["lr"]}


def test_what_happens_once_is_not_counted_for_every_task(tmp_path):
    starting.begun = False
    with clock.use(clock.FakeClock()):
        algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=4, interval=10)
        found = pt.check(pt.Experiment(algorithm, starting, stop=pt.steps(1000)), seconds=600.0, directory=tmp_path).estimate
    assert found.start == pytest.approx(60.0, rel=0.05)
    assert found.seconds_per_task == pytest.approx(1.5) and found.seconds_per_step == pytest.approx(0.15)
    assert found.seconds == pytest.approx(60.0 + 4 * 100 * 1.5, rel=0.02)
    assert not list(tmp_path.iterdir()), "nothing is kept"


def test_a_run_that_also_ends_after_seconds_takes_no_longer():
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=2, interval=10)
    both = pt.Experiment(algorithm, quadratic, stop=pt.any_of(pt.steps(10**7), pt.seconds(90)))
    only = replace(both, stop=pt.seconds(30))
    assert [estimated(each, Times(1.0, 0.5), 100, Path()).seconds for each in (both, only)] == [90, 30]


def test_members_that_do_not_fit_the_slots_take_turns(monkeypatch):
    from poptrain.preflight import estimate

    monkeypatch.setattr(estimate, "cpus", lambda: 4)
    algorithm = pt.pbt(pt.Space(lr=pt.LogUniform(1e-3, 1e-1)), population=6, interval=10)
    about = pt.Experiment(algorithm, quadratic, stop=pt.steps(100), executor=pt.executors.Processes(slots=4))
    assert estimated(about, Times(2.0, 0.1), 100, Path()).seconds == pytest.approx(2.0 + 2 * 10.0), (
        "two turns, not one and a half"
    )


def test_an_interrupted_check_ends(monkeypatch):
    """The first rounds are a run, which answers Ctrl-C itself: check must not go on as if they had only failed."""

    def interrupted(*_, **__):
        raise Suspended("interrupted by SIGINT", exit_code=130, asked=True)

    monkeypatch.setattr("poptrain.preflight.pilot.execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pt.check(experiment(quadratic, pt.Space(lr=SPACE["lr"])))


@pytest.mark.heavy
def test_processes_are_timed_with_their_start(tmp_path):
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    about = pt.Experiment(
        pt.pbt(space, population=3, interval=5), quadratic, stop=pt.steps(40), executor=pt.executors.Processes(slots=1)
    )
    found = pt.check(about, directory=tmp_path).estimate
    assert found.start > 0.1 and found.slots == 1 and found.seconds > found.start
