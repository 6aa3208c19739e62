"""JAX comes in at one place, with the flag that keeps XLA's CPU backend from dead-locking."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")

from poptrain._jax import protect_from_deadlock  # noqa: E402

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"


def run(code):
    clean = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    return subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)


@pytest.mark.heavy
@pytest.mark.parametrize("module", ["poptrain.rl", "poptrain.executors.vectorized"])
def test_the_scheduler_flag_is_set_before_the_backend_starts(module):
    code = (
        f"import {module}, os; from jax._src import xla_bridge as bridge; assert not bridge.backends_are_initialized();"
        "import jax; jax.numpy.ones(3).sum(); print(os.environ['XLA_FLAGS'])"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{FLAG}=false"


def test_the_users_flags_stay():
    for given, expected in (("--xla_cpu_enable_fast_math=false", [f"{FLAG}=false"]), (f"{FLAG}=true", [])):
        environment = {"XLA_FLAGS": given}
        protect_from_deadlock(environment)  # what importing `poptrain._jax` does to the environment of the process
        assert environment["XLA_FLAGS"].split() == [given, *expected]


def test_a_missing_jax_names_the_extra():
    done = run("import sys; sys.modules['jax'] = None; import poptrain.rl")
    assert done.returncode == 1
    assert "needs JAX: pip install 'poptrain[jax]', or 'poptrain[rl]' with environments" in done.stderr.splitlines()[-1]
