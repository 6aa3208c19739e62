"""What tests put into stores, whether it came back equal, and the law of collecting."""

from __future__ import annotations

import numpy as np

from poptrain.checkpoints.store import Ref

CARRY = {"w": np.arange(6.0).reshape(2, 3), "n": (1, [2.5, None])}
ABOUT = {"task": 12, "member": 3, "step": 40}


def same(a, b) -> bool:
    """True if two trees are equal in structure, types, dtypes and every bit."""
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def staged(store, name: str) -> str:
    path = store.stage(name)
    (path / "deep" / "er").mkdir(parents=True)
    (path / "model.pt").write_bytes(b"weights" * 1000)
    (path / "deep" / "er" / ".hidden name").write_bytes(b"")
    return store.commit_staged(name, **ABOUT)


def keeps_what_is_wanted(store, rounds, made):
    """Commits what `made(number)` does in each round, keeps what is wanted, and asserts that just the rest goes."""
    refs, gone = [], set()
    for number, (flush, wanted) in enumerate(rounds):
        new = made(number)
        store.add(new)
        refs += new
        kept = {refs[k] for k in wanted if k < len(refs)} - gone
        store.keep(kept, lambda names: None, flush=flush)
        assert all(store.verify(ref) for ref in kept)
        gone = {ref for ref in refs if not store.verify(ref)}
        if flush:
            names = {Ref.parse(ref).name for ref in kept}
            assert gone == {ref for ref in refs if Ref.parse(ref).name not in names}
