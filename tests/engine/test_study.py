"""A study runs methods × seeds, side by side, continues where it stopped, and ends in a comparison."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

import poptrain as pt
from poptrain.core.errors import RunWarning
from poptrain.executors.importable import _guarded
from poptrain.log.reader import read
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
METHODS = {
    "slow": pt.pbt(SPACE, population=4, interval=5),
    "quick": pt.pbt(SPACE, population=4, interval=2),
    "random": pt.random_search(SPACE, population=4, interval=5),
}


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def study(trainable=quadratic, **options):
    return pt.study(METHODS, trainable, stop=pt.steps(20), progress=False, **options)


def scores(found):
    return {name: [run.best.score for run in runs] for name, runs in found.runs.items()}


def test_a_study_compares_methods_under_the_names_that_they_were_given():
    found = study(seeds=4)
    assert {name: len(runs) for name, runs in found.runs.items()} == {"slow": 4, "quick": 4, "random": 4}
    assert [method.name for method in found.comparison.methods] == ["random", "slow", "quick"]
    assert {(pair.method, pair.against) for pair in found.comparison.pairs} == {
        *(("slow", "random"), ("quick", "random"), ("quick", "slow"))
    }
    assert "random (4)" in repr(found) and "quick" in found._repr_html_()
    assert [run.record.run["seed"] for run in found.runs["slow"]] == [0, 1, 2, 3]


@pytest.mark.heavy
def test_processes_and_one_after_another_give_the_same_study_which_continues(tmp_path):
    lr = 1.0

    def local(carry, hp, steps, seed):  # no worker can import it
        return quadratic(carry, {"lr": lr * hp["lr"]}, steps, seed)

    found = study(local, seeds=2, directory=tmp_path / "s", workers=2)
    assert scores(found) == scores(study(local, seeds=[0, 1]))
    assert sorted(path.name for path in (tmp_path / "s").iterdir())[:2] == ["quick-0", "quick-1"]
    more = study(local, seeds=3, directory=tmp_path / "s", workers=1)
    assert scores(more)["slow"][:2] == scores(found)["slow"] and read(tmp_path / "s" / "slow-0").epoch == 1


def test_a_run_that_fails_is_named_and_the_others_go_on():
    def train(carry, hp, steps, seed):
        if hp["lr"] > 0.01:
            raise ValueError("too large")
        return quadratic(carry, hp, steps, seed)

    high = pt.Space(lr=pt.LogUniform(0.02, 0.1))
    low = pt.Space(lr=pt.LogUniform(1e-4, 1e-3))
    methods = {name: pt.pbt(space, population=2, interval=5) for name, space in (("high", high), ("low", low))}
    with pytest.warns(pt.errors.RunWarning, match="the run high-0 of the study failed: all 2 members failed"):
        found = pt.study(methods, train, seeds=2, stop=pt.steps(20), progress=False)
    assert set(found.failures) == {"high-0", "high-1"} and len(found.runs["low"]) == 2
    assert "high-0 failed" in repr(found)


def test_wrong_arguments_are_refused():
    for methods, options in (({}, {}), (METHODS, {"seeds": 0}), (METHODS["slow"], {})):
        with pytest.raises(pt.UsageError, match="expected methods by name and at least one seed"):
            pt.study(methods, quadratic, stop=pt.steps(20), **options)
    with pytest.raises(pt.UsageError, match="Write population=n for the members, and stop"):
        pt.study(METHODS, quadratic, n_trials=20)


def test_a_study_is_a_table_and_says_which_runs_began_with_other_code(tmp_path):
    def train(carry, hp, steps, seed):
        return 0, {"score": hp["lr"]}

    space = pt.Space(lr=pt.LogUniform(1e-3, 0.1))
    methods = {name: pt.random_search(space, population=2, interval=5) for name in ("a", "b")}
    settings = {"stop": pt.steps(5), "directory": tmp_path, "workers": 1, "progress": False}
    table = pt.study(methods, train, seeds=2, **settings).table()
    assert table["method"] == ["a", "a", "b", "b"] and table["seed"] == [0, 1, 0, 1] and len(table["score"]) == 4

    def train(carry, hp, steps, seed):
        return 0, {"score": 2 * hp["lr"]}

    with pytest.warns(RunWarning, match="4 of 6 runs of the study began with other code") as caught:
        found = pt.study(methods, train, seeds=3, **settings)
    assert len(caught) == 1, "once for all runs"
    assert any("different versions of its code" in text for text in found.comparison.warnings)


def test_a_study_warns_of_a_doubtful_setting_once(tmp_path):
    def careless(carry, hp, steps, seed):
        return 0, {"score": hp["lr"] + seed % 7}

    space = pt.Space(lr=pt.LogUniform(1e-3, 0.1), momentum=pt.Uniform(0, 1))
    methods = {name: pt.random_search(space, population=2, interval=5) for name in ("a", "b")}
    with pytest.warns(RunWarning) as caught:
        pt.study(methods, careless, seeds=3, stop=pt.steps(10), directory=tmp_path, workers=1, progress=False)
    texts = [str(each.message) for each in caught]
    assert len(texts) == 1 and "never reads the hyperparameter 'momentum'" in texts[0]


GUARDED = """
import poptrain as pt

if __name__ == "__main__":
    factor = 0.5

    def train(carry, hp, steps, seed):
        x = (1.0 if carry is None else carry) * (1 - factor * hp["lr"]) ** steps
        return x, {"score": -x * x}

    space = pt.Space(lr=pt.LogUniform(1e-3, 1e-1))
    found = pt.study({"a": pt.pbt(space, population=2, interval=5), "b": pt.random_search(space, population=2, interval=5)},
                     train, stop=pt.steps(10), seeds=1, directory="s", workers=2, progress=False)
    print("finished", sum(map(len, found.runs.values())))
"""


@pytest.mark.heavy
def test_functions_under_the_guard_of_a_script_are_sent_to_the_workers_of_a_study(tmp_path):
    (tmp_path / "script.py").write_text(GUARDED)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert "finished 2" in done.stdout, done.stderr
    assert "other code" not in done.stderr


def test_a_study_without_a_guard_is_answered_in_its_own_words(tmp_path):
    (tmp_path / "script.py").write_text(GUARDED.replace('if __name__ == "__main__"', "if True"))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert "study: workers=2: every worker process imports script.py" in done.stderr and "or use workers=1." in done.stderr


def test_what_a_script_defines_only_under_its_guard_is_known(tmp_path):
    lines = [
        "def outside(): pass",
        "if __name__ == '__main__':",
        "    def inside(): pass",
        "    class Also: pass",
        "    def outside(): pass",
    ]
    tree = ast.parse("\n".join(lines))
    assert _guarded(tree) == {"inside", "Also"} and _guarded(None) == set()
