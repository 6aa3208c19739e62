"""`poptrain export --video`: the trainable draws, and what it cannot draw is said in one sentence."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image
from typer.testing import CliRunner

import poptrain as pt
from poptrain.cli import app
from poptrain.plots import video
from poptrain.plots.video import WIDTH, write_gif

EXPERIMENT = """
import numpy as np
import poptrain as pt
from poptrain.testing import Quadratic, quadratic

def train(carry, hp, steps, seed):
    return quadratic(carry, hp, steps, seed)

def render(carry, hparams, seed):
    for shade in range(0, 250, 10):
        yield np.full((40, 60, 3), shade, np.uint8)

class Drawn(Quadratic):
    def render(self, seed):
        return render(None, {}, seed)

HOOK
space = pt.Space(lr=pt.LogUniform(1e-4, 1e-1))
experiment = pt.Experiment(pt.pbt(space, population=3, interval=5), TRAINABLE, stop=pt.steps(10))
"""


def cli(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def made(name, hook, trainable):
    Path(f"{name}.py").write_text(EXPERIMENT.replace("HOOK", hook).replace("TRAINABLE", trainable))
    assert cli("run", f"{name}.py", "--dir", "run", "--quiet").exit_code == 0


@pytest.mark.parametrize(("hook", "trainable"), [("train.render = render", "train"), ("", "Drawn")], ids=["function", "class"])
def test_the_trainable_draws_the_best(folder, hook, trainable):
    made(f"drawn_{trainable.lower()}_experiment", hook, trainable)
    done = cli("export", "run", "--video", "best.gif")
    assert done.exit_code == 0, done.stderr
    image = Image.open("best.gif")
    assert (image.format, image.size, image.n_frames) == ("GIF", (60, 40), 13)  # every other one
    image.seek(12)
    assert image.convert("RGB").getpixel((5, 5)) == (240, 240, 240)
    again = cli("export", "run", "--video", "best.gif")
    assert again.exit_code == 2 and "exists already" in again.stderr


def test_what_cannot_be_drawn_is_said_in_one_sentence(folder):
    made("plain_experiment", "", "train")
    done = cli("export", "run", "--video", "best.gif")
    assert done.exit_code == 2 and "train cannot be drawn: it has no render(carry, hparams, seed)" in done.stderr
    assert done.stderr.startswith("executing ") and done.stderr.count("\n") == 2 and not Path("best.gif").exists()
    Path("plain_experiment.py").unlink()
    gone = cli("export", "run", "--video", "best.gif")
    assert gone.exit_code == 2 and "no longer exists" in gone.stderr


def test_large_and_long_pictures_are_cut_down(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "FRAMES", 20)
    frames = (np.full((300, 900, 3), n % 250, np.uint8) for n in range(1000))
    assert write_gif(frames, tmp_path / "x.gif", every=3) == 20
    assert Image.open(tmp_path / "x.gif").size == (WIDTH, WIDTH // 3)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)], ids=["2d", "float", "rgba"]
)
def test_what_is_no_picture_is_refused(tmp_path, bad):
    with pytest.raises(pt.UsageError, match=r"no video: render\(\) returned"):
        write_gif([bad], tmp_path / "x.gif")
    with pytest.raises(pt.UsageError, match="no video: .* returned no frames"):
        write_gif([], tmp_path / "x.gif")


@pytest.mark.parametrize("env", ["BipedalWalker-v3", "CartPole-v1"])
def test_an_agent_draws_its_environment(env):
    pytest.importorskip("envpool")
    from poptrain.rl import PPO
    from poptrain.rl.trees import take

    agent = PPO(env=env, hidden=(4,))
    carry = take(agent.init({}, np.array([1, 2])), 1)
    frames = list(islice(agent.render(carry, {}, seed=3), 8))
    assert len(frames) == 8 and all(frame.dtype == np.uint8 and frame.shape == (400, 600, 3) for frame in frames)
    assert frames[0].std() > 1 and (frames[0] != frames[-1]).any()
    assert all((a == b).all() for a, b in zip(frames, islice(agent.render(carry, {}, seed=3), 8), strict=True))


def test_an_environment_without_pictures_says_so():
    pytest.importorskip("jax")
    from poptrain.rl.envs.pictures import pictures

    with pytest.raises(pt.UsageError, match="environment 'jax/CartPole-v1' has no pictures"):
        next(pictures("jax/CartPole-v1", lambda seen: seen, 0))
