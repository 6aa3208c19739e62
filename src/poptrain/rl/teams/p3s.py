"""P3S-TD3: learners with one memory, each of which is pulled softly towards the policy of the best one.

Jung, Park, Sung: Population-Guided Parallel Policy Search for Reinforcement Learning, arXiv 2001.02907.

    every step: each learner acts in its own environment, stores into the shared memory, and makes a TD3 update on its own batch
        loss of learner i's policy: L_TD3 + 1[i != b] beta mean D(pi_i(s), pi_b(s)),   D = ||x - y||^2 / 2           eq. (1), (2)
    every M steps: D_spread, D_change = mean over i != b of D from the learner to b, and to itself M steps ago
        d = max(rho D_change, d_min); beta doubles if D_spread > 1.5 d, and halves if D_spread < d / 1.5             eq. (5), (6)
        b = the learner with the highest mean of its last 10 returns; its policy is kept as pi_b until the next time

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
N, M            learners, period    period in steps of one learner
rho, d_min      rho, d_min          of the search radius
E_r             10                  returns by which the best learner is chosen; see `selection_episodes`
2, 1 / 2        beta_factor         by which beta rises or falls
T_initial       learning_starts     steps of one learner with uniform actions
==============  ==================  ========================================================================================

*Departures from the paper.* D is the mean over the dimensions of an action, as in the authors' code, to which the published
values of d_min belong; the paper writes the sum, which is `reduce="sum"`. `learning_starts` is the 10,000 steps of `td3` for each
learner; the paper has 2,500. *Departures from the reference code.* One update for each step of a learner, as the paper says
(`updates_per_step`; the code makes N). D is measured at the end of a period and against the old b, on fresh batches. A learner
without a finished episode is never the best, and neither is one whose networks are not finite. Targets begin as copies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain._jax import jax
from poptrain.core import Hparams
from poptrain.core.answering import answering_class
from poptrain.core.counting import counted
from poptrain.core.errors import UsageError, did_you_mean
from poptrain.core.rng import rng
from poptrain.core.warned import warn_user
from poptrain.rl.account import account, fresh_account
from poptrain.rl.agents import td3
from poptrain.rl.envs import make
from poptrain.rl.envs.spec import DeviceEnv, simulated
from poptrain.rl.hparams import PopulationHparams, Range, of_member
from poptrain.rl.loops.host import episode_limit, training_seeds
from poptrain.rl.loops.interval import IntervalOutcome, mean
from poptrain.rl.loops.off_policy import ALMOST, BURST, learner_for, part_due
from poptrain.rl.loops.off_policy_host import HostActor, arrive, without_surplus
from poptrain.rl.memory.chunks import empty_chunks, held_rows
from poptrain.rl.memory.replay import Replay, Windows
from poptrain.rl.memory.rows import Row, Transitions
from poptrain.rl.mlp import host_mlp
from poptrain.rl.nets import Layers
from poptrain.rl.settings import LARGEST
from poptrain.rl.teams.episodes import without_noise
from poptrain.rl.teams.p3s_rules import RECENT, REDUCTIONS, adapted, best_of, distance
from poptrain.rl.teams.together import joined, side_by_side
from poptrain.rl.trees import Array, Parts, Scalars, all_finite, stack, take
from poptrain.trainable.episodes import EpisodeLimit

PARTS = ("learners", "best", "best_actor", "old_actors", "beta", "recent", "frames", "params")


# A log records a trainable as module:name, so this class stays `poptrain.rl.teams.p3s:P3S`.
@answering_class
@dataclass(frozen=True)
class P3S(td3.TD3):
    """A population of P3S-TD3 teams, a `PopulationTrainable`, for continuous actions on the host. A team is one member.

    Every field from `learning_starts` to `policy_delay`, `rho` and `d_min` are hyperparameters that may be tuned. Steps are those
    of all learners together, and `learning_starts` is the number for each of them. The score is the highest of the learners' mean
    returns; ``team/0`` … are all of them. `evaluate` plays the best.

    >>> team = P3S(env="HalfCheetah-v5", learning_starts=2500)

    Args:
        learners: of a team.
        period: steps of one learner between two choices of the best.
        reduce: "mean" or "sum" of the squared distance over the dimensions of an action; `d_min` is relative to it.
        selection_episodes: 0 chooses the best by its last 10 training returns; else by as many episodes without noise, which
            every learner plays at the end of a period, and which are neither counted nor stored.
        beta_factor: by which the strength of the pull rises or falls; the square root of 2 keeps it from swinging to and fro.
    """

    learners: int = 4
    period: int = 250
    rho: float = 2.0
    d_min: float = 0.05
    reduce: str = "mean"
    selection_episodes: int = 0
    beta_factor: float = 2.0

    ranges: ClassVar[Mapping[str, Range]] = td3.TD3.ranges | {
        "rho": Range(0.0),
        "d_min": Range(0.0),
        "beta_factor": Range(1.0, 1000.0),
    }

    sizes = {"learners": (1, 10_000), "period": (1, LARGEST), "selection_episodes": (0, 10_000)}
    unused = {"num_envs": "every learner has one environment"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduce not in REDUCTIONS:
            hint = did_you_mean(str(self.reduce), REDUCTIONS)
            raise UsageError(f'P3S: reduce={self.reduce!r}, expected "mean" or "sum".{hint}')
        if isinstance(make(self.env, self.backend), DeviceEnv):
            raise UsageError(f"P3S trains on simulated environments: use {simulated(self.env)!r}.")

    def first_update(self, hparams: Hparams) -> tuple[int, str]:
        """Returns the steps of a team that come before its first update, and the name of the setting that states them."""
        each, name = super().first_update(hparams)
        return self.learners * each, f"{name}, for each of {counted(self.learners, 'learner')}"

    def episode_limit(self) -> EpisodeLimit | None:
        """Returns how long the episodes of a team may be, for `check`: its learners share an interval."""
        return episode_limit(make(self.env, self.backend), self.horizon, self.learners)

    def functions(self) -> td3.Functions:
        """Returns the pure functions of a learner; a lone one is TD3."""
        return Functions(self.hidden, reduce=self.reduce) if self.learners > 1 else td3.Functions(self.hidden)

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh teams; seeds (P,)."""
        seeds = np.asarray(seeds)
        self._resolve(hparams, len(seeds))
        spec, agent, teams = make(self.env, self.backend).spec, self.functions(), []
        for seed in seeds:  # the first learner is the one that a lone TD3 would be
            paths: list[tuple[int | str, ...]] = [("init",), *(("init", i) for i in range(1, self.learners))]
            learners = [agent.init(spec.observation, spec.actions, rng(int(seed), *path)) for path in paths]
            actors = [learner["params"]["actor"] for learner in learners]
            team = {"learners": stack(learners), "best": np.int64(-1), "best_actor": actors[0], "old_actors": stack(actors)}
            team |= {"beta": np.float32(1.0), "recent": np.full((self.learners, RECENT), np.nan), "frames": np.int64(0)}
            teams.append(team | {"params": {"actor": actors[0]}})
        carry = stack(teams) | fresh_account(len(seeds), agent.diagnostics)
        return carry | {"steps": np.zeros(len(seeds), np.int64), "replay": empty_chunks(len(seeds))}

    def train(self, carry: Parts, hparams: PopulationHparams, steps: int, seeds: ArrayLike) -> tuple[Parts, Parts]:
        """Returns the carry after exactly `steps` more steps of all learners together, and the metrics. It is pure."""
        seeds = np.asarray(seeds)
        settings = self._resolve(hparams, len(seeds))
        if steps <= 0:
            return self._evaluated(carry, seeds)
        row = self._row(make(self.env, self.backend).spec)

        def one(i: int) -> _Team:
            team = _Team(self, row, carry, of_member(settings, i), i, int(seeds[i]), steps)
            team.run()
            return team

        teams = side_by_side(one, len(seeds))
        done = np.full(len(seeds), steps)
        changed = joined(carry, teams, row, self.memory, done)
        scores = np.stack([team.scores for team in teams], 1)
        happened = IntervalOutcome(
            returns=[[float(x) for own in team.returns for x in own] for team in teams],
            score=np.asarray([np.nanmax(each) if np.isfinite(each).any() else np.nan for each in scores.T]),
            running=np.asarray([team.running[team.sound | ~team.sound.any()].max() for team in teams]),
            episode_length=np.asarray([mean(team.lengths) for team in teams]),
            steps=done,
            updates=np.asarray([team.updates * self.learners for team in teams]),
            diagnostics={n: np.asarray([t.diagnostics[k] for t in teams]) for k, n in enumerate(Functions.diagnostics)},
        )
        more = {"beta": changed["beta"], "best_learner": changed["best"]}
        carry, metrics = account(carry | changed, happened, more | {f"team/{i}": row for i, row in enumerate(scores)})
        alive = np.asarray([team.sound.any() for team in teams])
        if lost := sorted({i for team in teams if team.sound.any() for i in np.flatnonzero(~team.sound)}):
            warn_user(
                f"P3S: the networks of learner {', '.join(map(str, lost))} of a team are not finite. Such a learner is never the "
                "best, and its score is NaN; the others go on. Use a smaller actor_lr or critic_lr."
            )
        return carry, metrics | {"score": np.where(alive, metrics["score"], np.nan)}


@dataclass(frozen=True)
class Functions(td3.Functions):
    """TD3's functions of one learner, with the pull towards the best policy in the loss of its own."""

    reduce: str = "mean"

    def actor_loss(self, actor: Layers, critics: list[Layers], batch: Transitions, hparams: Scalars) -> Array:
        """Returns TD3's loss, plus the pull: `hparams` also holds ``pull``, beta or 0, and ``best_actor``."""
        here = self.policy(actor, batch.observations)
        there = self.policy(hparams["best_actor"], batch.observations)
        squares = (here - there) ** 2
        pull = hparams["pull"] * 0.5 * (squares.mean(1) if self.reduce == "mean" else squares.sum(1)).mean()  # eq. (2)
        return -self.value(critics[0], batch.observations, here).mean() + pull


class _Team:
    """One team inside an interval."""

    def __init__(
        self, settings: P3S, row: Row, carry: Parts, hparams: Mapping[str, np.generic], member: int, seed: int, steps: int
    ):
        self.settings, self.row, self.hparams, self.seed, self.steps = settings, row, hparams, seed, steps
        self.state = take({name: carry[name] for name in PARTS}, member)
        self.learners = [take(self.state["learners"], i) for i in range(settings.learners)]
        held = held_rows(carry["replay"], member, row, settings.memory)
        self.held, self.replay = len(held), Replay(row, held, steps, settings.memory)
        self.agent = settings.functions()
        self.learner = learner_for(self.agent, row, settings.batch_size)
        self.draws = [rng(seed, *path) for path in [("replay",), *(("replay", i) for i in range(1, settings.learners))]]
        self.explore = [rng(seed, *path) for path in [("actions",), *(("actions", i) for i in range(1, settings.learners))]]
        self.running, self.length = np.zeros(settings.learners), np.zeros(settings.learners, np.int64)
        self.returns: list[list[float]] = [[] for _ in self.learners]
        self.lengths: list[int] = []
        self.recent = [deque(x for x in own if np.isfinite(x)) for own in self.state["recent"]]
        self.updates, self.diagnostics = 0, np.full(2, np.nan, np.float32)
        self.actors = [HostActor(self.agent, learner, hparams) for learner in self.learners]
        self.sound = np.ones(settings.learners, bool)  # whose networks are finite, at the end of a period or an interval

    @property
    def added(self) -> np.ndarray:
        """The rows of this interval."""
        return self.replay.rows[self.held : self.replay.end]

    @property
    def scores(self) -> np.ndarray:
        """The learners' mean returns in this interval, (N,); NaN of one whose networks are not finite."""
        return np.where(self.sound, [mean(own) for own in self.returns], np.nan)

    def run(self) -> None:
        settings, n = self.settings, self.settings.learners
        env = make(settings.env, settings.backend)
        assert not isinstance(env, DeviceEnv)
        seeds, ids = training_seeds(np.asarray([self.seed]), n), np.arange(n, dtype=np.int32)
        simulator, windows, over = env.open(seeds, n, settings.horizon), Windows(self.replay, n), np.zeros(n, bool)
        before, starts, period = int(self.state["frames"]), n * int(self.hparams["learning_starts"]), n * settings.period
        rate, since, done = float(self.hparams["updates_per_step"]), 0, 0  # steps of all learners
        credit = part_due(before, starts, rate / n)  # updates of a learner that are due
        try:
            seen, *_ = arrive(simulator, n)
            while done < self.steps:
                uniform = before + done < starts
                actions = self._act(seen, uniform)
                simulator.send(env.spec.scaled(actions), ids)
                reached, rewards, terminated, truncated = arrive(simulator, n)
                real = without_surplus(~over, self.steps - done, seen, reached)
                over = terminated | truncated
                windows.add(real, seen, actions, rewards, reached, terminated, over)
                self._count(real, rewards, over)
                fresh = int(real.sum())
                ends = (before + done) // period < (before + done + fresh) // period
                seen, done, since = reached, done + fresh, since + fresh
                credit += 0.0 if uniform else fresh / n * rate
                if since >= n * settings.update_every or done == self.steps or ends:
                    credit, since = credit - self._learn(int(credit + ALMOST)), 0
                if ends:
                    self._choose(before + done)
            windows.cut(seen)
        finally:
            simulator.close()
        recent = [[*own, *[np.nan] * RECENT][:RECENT] for own in self.recent]
        self.state |= {"learners": stack(self.learners), "recent": np.asarray(recent), "frames": np.int64(before + done)}
        self.sound, *_ = self._soundness(before + done)
        best = int(self.state["best"]) if settings.selection_episodes else -1
        if best < 0 or not self.sound[best]:
            best = best_of(self.recent, self.sound)
        best = best if best >= 0 else int(np.argmax(self.sound))
        self.state["params"] = {"actor": self.learners[best]["params"]["actor"]}

    def _act(self, seen: np.ndarray, uniform: bool) -> np.ndarray:
        rows, shape = [], (1, self.row.action)
        for i, generator in enumerate(self.explore):
            if uniform:
                rows.append(generator.uniform(-1.0, 1.0, shape).astype(np.float32))
            else:
                rows.append(self.actors[i].act(seen[i : i + 1], generator.standard_normal(shape, np.float32)))
        return np.concatenate(rows)

    def _count(self, real: np.ndarray, rewards: np.ndarray, over: np.ndarray) -> None:
        self.running += np.where(real, rewards, 0.0)
        self.length += real
        for i in [i for i in np.flatnonzero(over & real) if not self.actors[i].broken]:
            self.returns[i].append(float(self.running[i]))
            self.recent[i].append(float(self.running[i]))
            self.lengths.append(int(self.length[i]))
            if len(self.recent[i]) > RECENT:
                self.recent[i].popleft()
        self.running[over], self.length[over] = 0.0, 0

    def _learn(self, updates: int) -> int:
        """Makes the same number of updates of every learner, each on its own batches; none as long as the memory is empty.

        Returns how many.
        """
        if updates <= 0 or self.replay.end == self.replay.begin:
            return 0
        own = {name: self.hparams[name] for name in td3.TD3.ranges}
        for i, learner in enumerate(self.learners):
            rows, left, done, state = self.learner.buffer(), updates, self.updates, learner
            pulled = i != self.state["best"] and self.state["best"] >= 0
            hparams = own | {"pull": np.float32(self.state["beta"] if pulled else 0.0), "best_actor": self.state["best_actor"]}
            while left > 0:
                now = min(left, BURST)
                self.replay.sample(self.draws[i], rows[:now])
                seed = self.seed if i == 0 else (self.seed + 7919 * i) % (1 << 32)
                state, diagnostics = self.learner.burst(
                    state, rows, now, hparams if self.settings.learners > 1 else own, seed, done
                )
                found = np.asarray(diagnostics)  # waits, so that the rows may be filled again
                self.diagnostics = found if np.isfinite(found).all() else self.diagnostics
                left, done = left - now, done + now
            self.learners[i] = jax.device_get(state)
            self.actors[i] = HostActor(self.agent, self.learners[i], self.hparams)
        self.updates += updates
        return updates

    def _choose(self, frames: int) -> None:
        """Ends a period: adapts beta against the old best policy, then chooses the new one."""
        state, actors = self.state, [learner["params"]["actor"] for learner in self.learners]
        self.sound, seen, here = self._soundness(frames)
        others = [i for i in np.flatnonzero(self.sound) if i != state["best"]]
        if state["best"] >= 0 and others:
            there, reduce = self._policy(state["best_actor"], seen), self.settings.reduce
            old = [self._policy(take(state["old_actors"], i), seen) for i in others]
            to_best = [distance(here[i], there, reduce) for i in others]
            change = [distance(here[i], before, reduce) for i, before in zip(others, old, strict=True)]
            rules = (float(self.hparams[name]) for name in ("rho", "d_min", "beta_factor"))
            state["beta"] = np.float32(adapted(float(state["beta"]), float(np.mean(to_best)), float(np.mean(change)), *rules))
        settings, judged = self.settings, self.recent
        if episodes := settings.selection_episodes:
            judged = without_noise(settings.env, settings.backend, settings.horizon, self.actors, episodes, self.seed + frames)
        best = best_of(judged, self.sound)
        state |= {"best": np.int64(best), "old_actors": stack(actors)}
        if best >= 0:
            state["best_actor"] = actors[best]

    def _soundness(self, frames: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Returns which learners are finite, some observations of the memory, and the policies' actions there.

        Weights that are finite and so large that the actions are not numbers are as bad as those that are not finite.
        """
        rows = np.zeros((256 if self.replay.end > self.replay.begin else 0, self.row.width), np.uint32)
        if len(rows):
            self.replay.sample(rng(self.seed, "period", frames), rows)
        seen = np.asarray(self.row.decode(jax.numpy.asarray(rows)).observations)
        here = [self._policy(learner["params"]["actor"], seen) for learner in self.learners]
        finite = [all_finite(own["params"]) and bool(np.isfinite(x).all()) for own, x in zip(self.learners, here, strict=True)]
        return np.asarray(finite), seen, here

    def _policy(self, actor: Layers, seen: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.tanh(host_mlp(actor, seen, self.agent.actor_activation))
