"""B4: a new run replaces nothing that it finds in its directory."""

from __future__ import annotations

import pytest

import poptrain as pt
from poptrain.testing import quadratic

SPACE = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))


def begin(directory, **options):
    return pt.run(pt.random_search(SPACE, population=1, interval=5), quadratic, stop=pt.steps(5), directory=directory, **options)


def everything(directory):
    return {str(path.relative_to(directory)): path.is_file() and path.read_bytes() for path in directory.rglob("*")}


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
@pytest.mark.parametrize(
    "name", ["checkpoints/mine/model.pt", "checkpoints/best.pt", "trash/x", "output/a", "errors/b", "digest.json"]
)
def test_b4_a_directory_with_files_that_a_run_would_replace_is_refused_and_stays_as_it_is(tmp_path, name, options):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("of the user")
    before = everything(tmp_path)
    with pytest.raises(pt.UsageError, match=f"has {name.split('/')[0]!r} in it, but no log of a run"):
        begin(tmp_path, **options)
    assert everything(tmp_path) == before


def test_b4_the_current_directory_and_those_above_it_must_be_empty(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (inner / "train.py").write_text("")
    for place in ("", " ", ".", "..", tmp_path, "../inner"):
        with pytest.raises(pt.UsageError):
            begin(place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "train.py"]
    (inner / "train.py").unlink()
    assert begin(".").best.step == 5  # an empty one is a directory as any other, and is continued
    assert begin(".").best.step == 5


def test_b4_what_is_left_of_an_interrupted_creation_and_other_files_are_no_obstacle(tmp_path):
    (tmp_path / "config.yaml").write_text("lr: 1")
    (tmp_path / "log-000001.jsonl").write_text('{"v":2')
    for name in ("checkpoints", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "lock").write_text("")
    assert begin(tmp_path).best.step == 5
    assert (tmp_path / "config.yaml").read_text() == "lr: 1"
