"""MuJoCo's pictures: drawn, or refused in a sentence; never the end of the process."""

from __future__ import annotations

import subprocess
import sys

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
