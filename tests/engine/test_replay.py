"""A schedule that is replayed does what it did: exactly under the same seeds, and by its own rule under another length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from experiment_file import FILE

import poptrain as pt
from poptrain.algorithms.parts.options import PbtOptions
from poptrain.algorithms.pbt import make_pbt
from poptrain.algorithms.schedule_replay import schedule_replay
from poptrain.cli import main
from poptrain.core import Result
from poptrain.engine.experiment import file_record, load
from poptrain.engine.loop import execute
from poptrain.space.from_json import described
from poptrain.testing import Quadratic, quadratic
from poptrain.testing.algorithms import every_kind

SPACE = pt.Space(lr=pt.LogUniform(1e-3, 3e-1), momentum=pt.Uniform(0.0, 0.9))
LAMBDA = np.array([1.0, 0.1, 0.01])


def noisy_sgd(carry, hp, steps, seed):
    """A quadratic with momentum and with noise from the seed of the task: every draw of it matters."""
    x, v = (np.ones(3), np.zeros(3)) if carry is None else (carry["x"], carry["v"])
    noise = pt.rng(seed, "noise").normal(size=(steps, 3)) * 0.1
    for step in range(steps):
        v = hp["momentum"] * v - hp["lr"] * (LAMBDA * x + noise[step])
        x = x + v
    return {"x": x, "v": v}, {"loss": float(LAMBDA @ x**2)}


def deterministic(carry, hp, steps, seed):
    """The mean of SGD on a quadratic in closed form: it draws nothing, so its seeds do not matter."""
    a = (1 - hp["lr"] * LAMBDA) ** 2
    m = np.ones(3) if carry is None else carry
    m = a**steps * m + hp["lr"] ** 2 * 0.1 * LAMBDA * (1 - a**steps) / (1 - a)
    return m, {"score": -float(np.log10(LAMBDA @ m))}


ALGORITHMS = {
    "pbt": lambda: pt.pbt(SPACE, population=8, interval=5, exploit=pt.truncation(0.4)),
    "pbt async": lambda: pt.pbt(SPACE, population=8, interval=5, sync=False, exploit=pt.tournament()),
    "pbt that copies hyperparameters": lambda: pt.pbt(SPACE, population=6, interval=5, copy="hparams", exploit=pt.tournament()),
    "fire_pbt": lambda: pt.fire_pbt(SPACE, (6, 6), interval=5, evals=5, exploit=pt.truncation(0.4)),
    "evaluated first": lambda: make_pbt(
        "pbt", SPACE, 4, pt.resample(), PbtOptions(5, True, pt.truncation(0.5), evaluate_first=True)
    ),
}


def scores(run):
    return [(r.step, r.score) for r in (run.history.result(id) for id in range(run.history.n))]


def ancestral(run, task=None):
    chain = run.history.ancestry(run.best.task.id if task is None else task)
    return [(r.step, r.score) for r in (run.history.result(id) for id in chain)]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_seeds_repeat_the_scores_of_the_winner_bit_for_bit(name):
    run = pt.run(ALGORITHMS[name](), noisy_sgd, metric="loss", mode="min", stop=pt.steps(60), seed=3)
    again = pt.replay(run, same_seeds=True)
    assert scores(again) == ancestral(run)
    assert scores(again)[-1][1] == -run.best.score  # a history holds what is maximised
    other = pt.replay(run)
    assert [step for step, _ in scores(other)] == [step for step, _ in ancestral(run)]
    assert scores(other) != scores(again)  # its seeds are its own


def test_any_task_can_be_replayed_and_a_class_continues_warm():
    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    run = pt.run(pt.pbt(space, population=4, interval=5, exploit=pt.truncation(0.5)), Quadratic, stop=pt.steps(40), seed=1)
    for task in (0, 9, run.history.n - 1):
        assert scores(pt.replay(run, task=task, same_seeds=True)) == ancestral(run, task)


def test_fire_is_followed_through_its_evaluators():
    space = pt.Space(lr=pt.LogUniform(1e-4, 1.0, init=(1e-3, 1.0)))
    fire = pt.fire_pbt(space, (8, 8), interval=120, evals=12, max_eval=360, exploit=pt.truncation(0.25),
                       explore=pt.perturb((0.5, 0.8, 1.25, 2.0), resample=0))  # fmt: skip
    run = pt.run(fire, deterministic, stop=pt.steps(1200), seed=0)
    members = [run.history.task(id).member for id in run.history.ancestry(run.history.best())]
    assert max(members) >= fire.population, "this seed is chosen because its winner was handed over by an evaluator"
    assert scores(pt.replay(run)) == ancestral(run)  # deterministic: no seeds are needed
    assert abs(pt.replay(run.schedule(), deterministic).best.score - run.best.score) < 1e-9  # in longer pieces


def test_schedules_beside_each_other_are_the_same_as_alone():
    runs = [pt.run(ALGORITHMS["pbt"](), noisy_sgd, metric="loss", mode="min", stop=pt.steps(40), seed=s) for s in range(3)]
    together = pt.run(pt.schedule_replay([run.schedule() for run in runs]), deterministic, stop=pt.steps(40))
    for seat, run in enumerate(runs):
        alone = pt.replay(run.schedule(), deterministic, metric="score", mode="max", stop=pt.steps(40), fit="hold")
        assert together.member(seat).score == alone.member(0).score


@pytest.mark.parametrize("name", ["pbt", "pbt async", "fire_pbt"])
def test_the_schedule_of_a_replay_is_the_schedule(name):
    run = pt.run(ALGORITHMS[name](), noisy_sgd, metric="loss", mode="min", stop=pt.steps(60), seed=1)
    for again in (pt.replay(run), pt.replay(run.schedule(), noisy_sgd), pt.replay(run, interval=3)):
        found = again.schedule(again.history.n - 1).segments
        assert [(s.start, s.end, s.hparams) for s in found] == [(s.start, s.end, s.hparams) for s in run.schedule().segments]


def test_a_vectorized_run_is_replayed_to_rounding():
    from jax_toys import toy

    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    pbt = pt.pbt(space, population=4, interval=5, exploit=pt.truncation(0.5))
    run = pt.run(pbt, toy, stop=pt.steps(20), executor="vectorized")
    for executor in ("vectorized", "inline"):
        again = pt.replay(run, same_seeds=True, executor=executor)
        assert [score for _, score in scores(again)] == pytest.approx([score for _, score in ancestral(run)], rel=1e-5)


def test_a_replay_resumes_and_is_found_finished(tmp_path):
    run = pt.run(ALGORITHMS["pbt"](), noisy_sgd, metric="loss", mode="min", stop=pt.steps(40), directory=tmp_path / "run")
    whole = pt.replay(tmp_path / "run", noisy_sgd, seed=5)
    early = pt.any_of(pt.steps(run.best.step), pt.score(1.0))
    half = pt.replay(tmp_path / "run", noisy_sgd, seed=5, stop=early, directory=tmp_path / "r")
    assert half.history.n < whole.history.n
    done = pt.replay(tmp_path / "run", noisy_sgd, seed=5, directory=tmp_path / "r")
    assert scores(done) == scores(whole)
    assert scores(pt.replay(run, seed=5, directory=tmp_path / "r")) == scores(whole)
    with pytest.raises(pt.UsageError, match="another run"):
        pt.replay(run, seed=5, final=True, directory=tmp_path / "r")


def test_the_final_values_are_constant_from_the_start_on():
    run = pt.run(ALGORITHMS["pbt"](), noisy_sgd, metric="loss", mode="min", stop=pt.steps(60))
    last = run.schedule().segments[-1].hparams
    final = pt.replay(run, final=True)
    assert [final.history.task(id).hparams for id in range(final.history.n)] == [last] * final.history.n
    assert final.history.step(final.history.n - 1) == run.best.step
    assert pt.replay(run, final=True, stop=pt.steps(100)).history.step(final.history.n) == 100  # a constant fits any length


HAND = [(0, {"lr": 0.1}), (30, {"lr": 0.01}), (60, {"lr": 0.001})]


def rates(run):
    """Returns the learning rate that every step was trained with."""
    tasks = [run.history.task(id) for id in range(run.history.n)]
    return [task.hparams["lr"] for task in tasks for _ in range(task.steps)]


@pytest.mark.parametrize("interval", [None, 1, 7, 30])
def test_a_list_is_trained_as_it_says(interval):
    run = pt.replay(HAND, quadratic, stop=pt.steps(90), interval=interval)
    assert rates(run) == [0.1] * 30 + [0.01] * 30 + [0.001] * 30
    if interval:
        assert {step for step, _ in scores(run)} >= set(range(interval, 91, interval))


def test_another_length_is_refused_stretched_or_held():
    schedule = pt.replay(HAND, quadratic, stop=pt.steps(90)).schedule(task=2)
    with pytest.raises(pt.UsageError, match=r"90 steps long, not 45: pass fit"):
        pt.replay(schedule, quadratic, stop=pt.steps(45))
    assert rates(pt.replay(schedule, quadratic, stop=pt.steps(45), fit="stretch")) == [0.1] * 15 + [0.01] * 15 + [0.001] * 15
    assert rates(pt.replay(schedule, quadratic, stop=pt.steps(45), fit="hold")) == [0.1] * 30 + [0.01] * 15
    longer = pt.replay(schedule, quadratic, stop=pt.steps(180), fit="stretch")
    assert rates(longer) == [0.1] * 60 + [0.01] * 60 + [0.001] * 60
    assert rates(pt.replay(schedule, quadratic, stop=pt.steps(120), fit="hold"))[89:] == [0.001] * 31


def test_an_exported_schedule_says_the_same_as_the_run(tmp_path):
    run = pt.run(ALGORITHMS["pbt"](), deterministic, stop=pt.steps(60))
    file = tmp_path / "schedule.json"
    file.write_text(run.schedule().to_json())
    assert pt.views.schedule_from(file) == run.schedule()
    assert pt.replay(file, deterministic).best.score == pt.replay(run.schedule(), deterministic).best.score


def test_static_values_and_texts_are_replayed():
    def train(carry, hp, steps, seed):
        total = (0.0 if carry is None else carry) + steps * hp["lr"] * {"crop": 1, "flip": 2, "none": 3}[hp["augment"]]
        return total, {"score": total + hp["width"]}

    run = pt.run(pt.pbt(every_kind(), population=8, interval=5), train, stop=pt.steps(30))
    again = pt.replay(run, same_seeds=True)
    assert again.best.score == run.best.score
    assert again.history.task(0).hparams == run.history.task(run.history.ancestry(run.history.best())[0]).hparams
    assert pt.replay(run.schedule(), train).best.score == pytest.approx(run.best.score)


def test_a_described_space_is_the_space():
    for space in (SPACE, every_kind(), pt.Space({"a.b": pt.Complement(0.9, 0.999), "n": pt.LogInt(1, 100, init=(2, 8))})):
        assert described(space.describe()) == space
    with pytest.raises(pt.UsageError, match="kind 'Mine'"):
        described({"parameters": {"lr": {"type": "Mine"}}})


def test_a_seat_that_fails_stays_failed_and_the_others_go_on():
    algorithm = schedule_replay([HAND, HAND])
    history = pt.History(0, 90)
    tasks = algorithm.ask(history)
    history = history.add(tasks).add([Result(0, float("nan"), 0, error="boom"), Result(1, 1.0, 30, checkpoint="a:b")])
    assert [task.member for task in algorithm.ask(history)] == [1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pt.replay("nowhere", quadratic), "no log in nowhere"),
        (lambda: pt.replay(HAND, quadratic), "has no end: pass stop"),
        (lambda: pt.replay(HAND), "the trainable is missing"),
        (lambda: pt.replay(HAND, quadratic, stop=pt.steps(9), task=3), "needs a run, but a schedule was passed"),
        (lambda: pt.replay(HAND, quadratic, stop=pt.steps(9), same_seeds=True), "without its run has no seeds"),
        (lambda: pt.replay(HAND, quadratic, stop=pt.steps(9), fit="stretched"), "Did you mean 'stretch'"),
        (lambda: pt.replay([], quadratic, stop=pt.steps(9)), "is empty"),
        (lambda: pt.replay([(5, {"lr": 0.1})], quadratic, stop=pt.steps(9)), "starts at step 5, expected 0"),
        (lambda: pt.replay([(0, {"lr": 0.1})] * 2, quadratic, stop=pt.steps(9)), "expected a step above 0"),
        (lambda: pt.replay([(0, 0.1)], quadratic, stop=pt.steps(9)), "hyperparameters by name"),
        (lambda: pt.replay([0.1], quadratic, stop=pt.steps(9)), r"expected \(start, hparams\)"),
        (lambda: pt.schedule_replay(HAND), r"expected \(start, hparams\)"),
        (lambda: pt.schedule_replay([HAND, [(0, {"eps": 1.0})]]), "has the hyperparameters eps"),
        (lambda: pt.schedule_replay([HAND], interval=0), "whole number of steps from 1"),
        (lambda: pt.run(pt.schedule_replay([HAND]), quadratic, stop=pt.seconds(60)), "the last piece has no end"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_sentence(call, says):
    with pytest.raises(pt.UsageError, match=says):
        call()


# -- the command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def here(folder):
    """A working directory with a run, its experiment and its exported schedule."""
    Path("first_experiment.py").write_text(FILE)
    Path("other_experiment.py").write_text(FILE.replace("1e-4, 1e-1", "1e-7, 1e-5"))
    Path("renamed_experiment.py").write_text(FILE.replace("Space(lr", "Space(rate"))
    execute(load(Path("first_experiment.py")), "run", source=file_record(Path("first_experiment.py"), Path("run"), {}))
    Path("s.json").write_text(pt.open_run("run").schedule().to_json())
    return folder


def test_the_command_repeats_the_score_and_says_so(here, capsys):
    assert main(["replay", "run", "--same-seeds", "--dir", "again", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["difference"] == 0.0 and told["original"] == pt.open_run("run").best.score
    assert told["replay"]["state"] == "finished" and told["replay"]["algorithm"] == "schedule replay"
    assert main(["resume", "again", "--quiet"]) == 0  # its log says what it replays; the file alone would not


def test_the_command_says_which_was_better_and_by_how_much(here, capsys):
    original = pt.open_run("run").best.score
    for options, verdict in (["--same-seeds"], "equal to the"), (["--final", "--seed", "3"], " than the"):
        assert main(["replay", "run", *options, "--dir", f"out{len(options)}", "--json", "--quiet"]) == 0
        found = json.loads(capsys.readouterr().out)
        ahead = found["replayed"] - original
        assert found["better"] is (None if ahead == 0 else ahead > 0)
        assert main(["replay", "run", *options, "--dir", f"again{len(options)}", "--quiet"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        word = "equal to" if ahead == 0 else f"{abs(ahead):.3g} {'better' if ahead > 0 else 'worse'} than"
        assert verdict in last and f": {word} the {original:.6g} of task " in last


@pytest.mark.parametrize(
    "option", [["--final"], ["--same-seeds"], ["--seed", "1"], ["--steps", "7"], ["--fit", "hold"], ["--dir", "o"]]
)
def test_options_that_have_no_effect_on_the_worth_are_refused(here, capsys, option):
    assert main(["replay", "run", "--worth", "6", *option]) == 2
    said = capsys.readouterr().err
    assert option[0] in said and "has no effect" in said and not Path("o").exists()


def test_the_worth_of_a_schedule_is_two_sentences_and_leaves_no_files(here, capsys):
    before = sorted(Path().rglob("*"))
    assert main(["replay", "run", "--worth", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("The schedule ") for line in lines)
    assert main(["replay", "run", "--worth", "6", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["final"]["scores"]) == 6
    assert {path.parts[0] for path in Path().rglob("*")} - {path.parts[0] for path in before} <= {"__pycache__"}
    assert main(["replay", "run", "--worth", "2"]) == 2


def test_a_replay_that_was_cut_short_is_resumed_from_its_own_log(here, monkeypatch):
    assert main(["replay", "run", "--seed", "7", "--dir", "whole", "--quiet"]) == 0
    assert main(["replay", "run", "--seed", "7", "--dir", "cut", "--quiet"]) == 0
    log = Path("cut/log-000001.jsonl")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))  # the first task was decided
    shutil.rmtree("run")
    assert main(["resume", "cut", "--quiet"]) == 0
    assert scores(pt.open_run("cut")) == scores(pt.open_run("whole"))


def test_a_schedule_file_is_replayed_with_another_experiment(here, capsys):
    assert main(["replay", "--schedule", "s.json", "--experiment", "other_experiment.py", "--dir", "out", "--quiet"]) == 0
    assert rates(pt.open_run("out"))[-1] == pt.open_run("run").schedule().segments[-1].hparams["lr"]  # outside its ranges
    assert "s.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to replay"),
        (("nowhere",), "no log in nowhere"),
        (("run", "--task", "99"), "has tasks 0 to 15"),
        (("run", "--steps", "40"), "20 steps long, not 40: pass fit='stretch' or fit='hold' (--fit stretch or --fit hold)"),
        (("run", "--steps", "40", "--fit", "bend"), "expected 'stretch' or 'hold'"),
        (("run", "--interval", "0"), "whole number of steps from 1"),
        (("run", "--dir", "run"), "already contains a run"),
        (("run", "--same-seeds", "--interval", "5"), "tasks differ"),
        (("run", "--experiment", "renamed_experiment.py"), "has lr, which the experiment lacks"),
        (("--schedule", "s.json"), "pass --experiment FILE too"),
        (("--schedule", "none.json", "--experiment", "first_experiment.py"), "the schedule file 'none.json' does not exist"),
        (("--schedule", "first_experiment.py", "--experiment", "first_experiment.py"), "is not a schedule"),
        (("run", "--schedule", "s.json", "--task", "3"), "leave one out"),
    ],
)
def test_bad_arguments_are_answered_in_a_sentence(here, capsys, arguments, says):
    assert main(["replay", *arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("executing ")]
    assert len(told) == 1 and says in told[0]
    assert not Path("runs").exists()


def worsens(carry, hp, steps, seed):
    worse = steps if carry is None else carry + steps
    return worse, {"score": -float(worse)}


def test_a_best_result_from_before_the_training_has_no_schedule():
    run = pt.run(pt.pb2(SPACE, population=4, interval=5), worsens, stop=pt.steps(20))
    assert run.best.step == 0
    with pytest.raises(pt.UsageError, match="before it trained, so its schedule has no steps"):
        pt.replay(run)
    later = next(id for id in range(run.history.n) if run.history.task(id).steps)
    assert pt.replay(run, task=later).best is not None
