"""Fixtures that several rooms of the tests share."""

from __future__ import annotations

import gc
import os
import sys
from importlib.metadata import version

import pytest
from threadpoolctl import threadpool_limits

from poptrain.log.disk import FS

# Compiling takes most of the time of the tests with JAX, and their programs are small: these flags make it a quarter.
# `make test-all` runs the tests of JAX once more with the optimisations that users have.
QUICKLY_COMPILED = ["--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):  # XLA ends the process at a flag that it does not know, and other versions may not
    QUICKLY_COMPILED += [
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
if not os.environ.get("POPTRAIN_TEST_OPTIMISED"):
    os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *QUICKLY_COMPILED))

# With all frameworks loaded, looking for garbage 700 objects apart takes a tenth of the time.
gc.set_threshold(50_000, 10, 10)

# As in a shell in which the environment is active: commands that messages name are short.
os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))


def pytest_ignore_collect(collection_path, config):
    """Files whose tests are all heavy are not even imported by `make test`: their frameworks take half a minute to load."""
    if config.option.markexpr == "not heavy" and collection_path.suffix == ".py":
        return "\npytestmark = pytest.mark.heavy\n" in collection_path.read_text("utf-8") or None
    return None


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Flushing to the disk takes most of the time of runs on disk, and no test can see what it does: the machine keeps its power.
    That a flush is asked for, and when, `FaultyFS` sees; that files are flushed at the same time, test_together.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FS, "at_a_time", 1)  # threads that have nothing to wait for
        patch.setattr(os, "fsync", lambda fd: None)
        patch.setattr(os, "fdatasync", lambda fd: None, raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread_for_small_matrices():
    """The matrices of the tests have a few rows, and threads that wait for each other take most of the time of their algebra."""
    import scipy.linalg  # noqa: F401  # it is loaded, or it is not limited

    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(autouse=True, scope="session")
def another_home_for_what_was_started(tmp_path_factory):
    """Which experiment files were started is remembered in the home of the user; tests leave nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def same_import_path():
    """What an experiment file adds to the import path is taken back: worker processes of later tests get that path too."""
    before = sys.path
    sys.path = list(before)
    yield
    sys.path = before


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
