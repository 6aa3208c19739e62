"""The number of CPUs: the affinity of the process, and the quota of its container."""

from __future__ import annotations

import pytest

from poptrain.core import cpus


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 3),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 3),
        ("", 3),
        (None, 3),
    ],
)
def test_the_smaller_of_affinity_and_quota_counts(quota, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda pid: {0, 1, 7}, raising=False)
    monkeypatch.setattr(cpus, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cpus.cpus() == expected
