"""MuJoCo's pictures: drawn, or refused in a sentence; never the end of the process."""

from __future__ import annotations

import subprocess
import sys
from ctypes.util import find_library

import pytest

gymnasium = pytest.importorskip("gymnasium")

from poptrain.core.errors import UsageError  # noqa: E402
from poptrain.rl.envs import pictures  # noqa: E402


def test_a_process_that_dies_while_it_draws_is_a_sentence(monkeypatch):
    run = subprocess.run

    def dying(words, **options):
        assert words[0] == sys.executable and "HalfCheetah-v5" in words[2]
        return run([sys.executable, "-c", "import sys; print('no OpenGL', file=sys.stderr); sys.exit(1)"], **options)

    monkeypatch.setattr(subprocess, "run", dying)
    with pytest.raises(UsageError, match=r"'HalfCheetah-v5' cannot draw pictures here: no OpenGL\. MuJoCo needs"):
        next(pictures.pictures("HalfCheetah-v5", lambda seen: seen, 0))


@pytest.mark.heavy
def test_the_process_survives_whatever_this_machine_can_draw():
    try:
        picture = next(pictures.pictures("HalfCheetah-v5", lambda seen: seen[:, :6], 0))
        assert picture.ndim == 3 and picture.any()
    except UsageError as error:
        assert "cannot draw pictures here" in str(error)


@pytest.mark.heavy
@pytest.mark.skipif(find_library("OSMesa") is None, reason="Debian's libosmesa6 is not installed")
def test_a_film_is_drawn_without_a_screen_and_leaves_no_other_file(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    program = """
import poptrain as pt
from poptrain.rl import TD3, film
agent = TD3(env="Hopper-v5", hidden=(16,))  # it falls soon
algorithm = pt.random_search(pt.Space(discount=pt.Uniform(0.95, 0.99)), population=2, interval=200)
run = pt.run(algorithm, agent, stop=pt.steps(200), executor="vectorized", progress=False)
made = film(agent, run.best.load(), "best.gif", tried=1)
print(made.pictures)
"""
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["best.gif"]
    from PIL import Image

    with Image.open(tmp_path / "best.gif") as shown:
        shown.seek(shown.n_frames - 1)
        assert shown.n_frames == int(done.stdout) and len(set(shown.convert("RGB").getdata())) > 20
