"""Training with environments on the host: a carry goes in, an interval runs, a carry comes out.

A simulator's state cannot be saved, so every interval starts from resets that the task's seed decides; only then is training a
function of its arguments, and a resumed run the same run. Episodes that the end of an interval interrupts are bootstrapped like
time limits in the buffer, so a batch that spans intervals stays correct; their returns are not counted.
"""

from __future__ import annotations

import numpy as np

from poptrain.core.counting import counted
from poptrain.core.rng import rng
from poptrain.core.warned import warn_user
from poptrain.rl.envs.spec import DeviceEnv, HostBackend
from poptrain.rl.hparams import of_member
from poptrain.rl.loops.host_interval import HostMember, run_interval
from poptrain.rl.loops.host_learner import HostLearner
from poptrain.rl.loops.interval import IntervalOutcome, mean
from poptrain.rl.memory.recording import Recording, pack_recordings, unpack_recording
from poptrain.rl.trees import Parts, stack, take
from poptrain.trainable.episodes import EpisodeLimit

SEEDS = 1 << 30  # environments train on seeds below it, and are evaluated on seeds from it to 2 * SEEDS


def train_on_host(
    backend: HostBackend,
    learner: HostLearner,
    horizon: int | None,
    carry: Parts,
    hparams: dict[str, np.ndarray],
    steps: int,
    seeds: np.ndarray,
) -> tuple[Parts, IntervalOutcome]:
    """Returns the parts of the carry that training changes, and what happened.

    Args:
        horizon: longest episode in steps; None: the environment's own limit.
        hparams: all hyperparameters, (P,) each.
        steps: environment steps per member, trained exactly.
        seeds: of the tasks, (P,).
    """
    agent, num_envs = learner.agent, learner.agent.layout.num_envs
    warn_if_short(backend, horizon, steps, num_envs)
    simulator = backend.open(training_seeds(seeds, num_envs), num_envs, horizon)
    members = [_member(backend, learner, carry, hparams, i, int(seed)) for i, seed in enumerate(seeds)]
    try:
        run_interval(members, simulator, learner, num_envs, steps)
    finally:
        simulator.close()
    names = agent.diagnostics
    last = [member.diagnostics[-1] if member.diagnostics else np.full(len(names), np.nan) for member in members]
    happened = IntervalOutcome(
        returns=[member.returns for member in members],
        score=np.asarray([mean(member.returns) for member in members]),
        running=np.asarray([member.running.mean() for member in members]),
        episode_length=np.asarray([mean(member.lengths) for member in members]),
        steps=np.asarray([member.steps for member in members]),
        updates=np.asarray([member.updates for member in members]),
        diagnostics=dict(zip(names, np.stack(last, 1), strict=True)),
        by_env=np.stack([member.by_env for member in members]),
    )
    buffer = pack_recordings([member.recording for member in members])
    return {**stack([member.state for member in members]), "buffer": buffer}, happened


def _member(
    backend: HostBackend, learner: HostLearner, carry: Parts, hparams: dict[str, np.ndarray], i: int, seed: int
) -> HostMember:
    spec, layout = backend.spec, learner.agent.layout
    state = take({name: carry[name] for name in learner.agent.learned}, i)
    recording = unpack_recording(carry["buffer"], i, Recording(layout.slots, layout.num_envs, spec.observation, spec.recorded))
    return HostMember(spec, learner.agent, state, recording, of_member(hparams, i), seed, layout.num_envs)


_intervals: dict[tuple[str, int], int] = {}  # the longest that this process trained, by environment and their number


def warn_if_short(backend: HostBackend, horizon: int | None, steps: int, num_envs: int) -> None:
    """Warns if an interval of `steps` steps may end before any episode does. The rest of a budget may be shorter."""
    longest, usual = horizon or backend.spec.horizon, _intervals.get((backend.spec.name, num_envs), 0)
    _intervals[backend.spec.name, num_envs] = max(steps, usual)
    if longest and usual <= steps and steps < longest * num_envs:
        warn_user(
            f"An interval of {counted(steps, 'step')} is {steps / num_envs:.0f} steps in each of "
            f"{counted(num_envs, 'environment')}, fewer than the "
            f"longest episode of {backend.spec.name} ({counted(longest, 'step')}). Only episodes that end inside "
            "the interval count for the "
            "score. Use a longer interval or a smaller num_envs.",
        )


def episode_limit(env: DeviceEnv | HostBackend, horizon: int | None, num_envs: int) -> EpisodeLimit | None:
    """Returns how long episodes may be; None if that is unknown, or if they go on in the next interval, as those in JAX do."""
    longest = horizon or env.spec.horizon
    return None if isinstance(env, DeviceEnv) or longest is None else EpisodeLimit(longest, num_envs)


def training_seeds(seeds: np.ndarray, num_envs: int) -> list[int]:
    """Returns one seed for every environment of every member."""
    return [int(x) for seed in seeds for x in rng(int(seed), "environments").integers(0, SEEDS, num_envs)]


def evaluation_seeds(seed: int, episodes: int) -> list[int]:
    """Returns seeds that no member ever trains on."""
    return [int(x) for x in SEEDS + rng(int(seed), "evaluation").integers(0, SEEDS, episodes)]
