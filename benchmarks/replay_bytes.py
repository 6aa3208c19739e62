"""What a checkpoint of an agent with a large replay memory writes: only what is new.

    python -m benchmarks.replay_bytes [--quick] --json

TD3 on HalfCheetah-v5 acts at random until its memory is large, is stored, makes some more steps, and is stored again, in the
store that runs use. Bytes are those of all files of the store, each counted once however many names it has. What was
stored is read back and compared. A clone is a member that took over the weights and the memory, and has not trained yet.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import figure, main
from poptrain._jax import jax
from poptrain.checkpoints import carry as carries
from poptrain.checkpoints.store import DiskStore
from poptrain.rl import TD3
from poptrain.rl.memory.rows import Row

SEED = np.asarray([1])


def written(directory: Path) -> int:
    """Returns the bytes of all files, each counted once."""
    found = {status.st_ino: status.st_size for path in directory.rglob("*") if path.is_file() and (status := path.stat())}
    return sum(found.values())


def measure(quick: bool) -> list[dict[str, Any]]:
    """Returns the bytes and the seconds of each checkpoint."""
    rows, more = (20_000, 1_000) if quick else (1_000_000, 10_000)
    agent = TD3(env="HalfCheetah-v5", num_envs=32, learning_starts=rows, memory=2 * rows)
    carry, _ = agent.train(agent.init({}, SEED), {}, rows, SEED)
    later, _ = agent.train(carry, {}, more, SEED + 1)
    made = []
    with tempfile.TemporaryDirectory() as name:
        store = DiskStore(Path(name))
        for index, (what, each) in enumerate({f"{rows:,} rows": carry, f"{more:,} rows more": later, "a clone": later}.items()):
            before, began = written(Path(name)), time.perf_counter()
            kept = carries.lane(agent.gather([(each, 0)]), 0)
            reference = store.commit(f"c{index}", kept, task=index, member=0, step=0)
            made.append(figure(f"{what}: bytes written", written(Path(name)) - before, "bytes"))
            made.append(figure(f"{what}: time", time.perf_counter() - began, "s"))
            same = jax.tree.map(partial(np.array_equal, equal_nan=True), store.read(reference), kept)
            assert all(jax.tree.leaves(same)), "a checkpoint reads back as it was"
    rest = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves({**later, "replay": None}))
    bound = (
        more * Row(17, 6).width * 4 + rest + 2 * 2**20
    )  # the new rows, the networks with their moments, a chunk that was begun
    made[2] |= {"target": f"<= {bound:,}", "holds": made[2]["value"] <= bound}
    return made


if __name__ == "__main__":
    main("replay_bytes", measure, __doc__)
