"""CEM-RL: a cross-entropy search over policies, half of which follow the gradient of a shared TD3 critic first.

Pourchot, Sigaud: CEM-RL: Combining Evolutionary and Gradient-Based Methods for Policy Search, arXiv 1810.01222.

    every generation: draw actors z_1 … z_p around the mean, in antithetic pairs
        for the first n_grad of them: train the critic against z_i for T / n_grad updates, then z_i along the critic for T updates
        every actor plays one episode without noise, and all transitions go to the shared memory; T = their number
        fit mean and variance to the better half                                                    algorithm 1, eq. (2)-(4)

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
p, n_grad       population_size,    actors of a generation, and how many of them are trained
                gradients
sigma_init,     variance_start,     the noise that is added to the variance; both are variances
sigma_end       variance_end
tau_cem         variance_decay      of that noise, per generation
T               steps of the last generation
==============  ==================  ========================================================================================

*Departures from the paper.* None known in the search. *Departures from the reference code.* Importance mixing keeps each fitness
with the individual that it belongs to, and reuses only those that no gradient changed; the code attaches them to others. The
variance is bounded by 0.01. Time limits are never terminal. A generation is never cut: an interval ends with the generation in
which it reaches its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain._jax import jax
from poptrain.core import Hparams
from poptrain.core.answering import answering_class
from poptrain.core.arguments import check_flag
from poptrain.core.cpus import cpus
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.account import account, fresh_account
from poptrain.rl.adam import init_tree_adam
from poptrain.rl.agents import td3
from poptrain.rl.envs import make
from poptrain.rl.hparams import ENDLESS, PopulationHparams, Range, of_member
from poptrain.rl.loops.host import training_seeds
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.loops.off_policy import BURST
from poptrain.rl.memory.chunks import empty_chunks, held_rows
from poptrain.rl.memory.replay import Replay, Windows
from poptrain.rl.memory.rows import Row
from poptrain.rl.off_policy import OFF_POLICY_RANGES, OffPolicy
from poptrain.rl.teams.cem import LARGEST_VARIANCE, ask, better_half, damping, importance_mixing, tell
from poptrain.rl.teams.cem_learner import critic_learner
from poptrain.rl.teams.episodes import ONE_EPISODE, open_simulator, play
from poptrain.rl.teams.flat import act_all, flatten, playable, unflatten
from poptrain.rl.teams.together import joined, side_by_side
from poptrain.rl.trees import Parts, Tree, stack, take

SEARCH = ("mean", "variance", "damping")
PARTS = ("params", "target", "critic_adam", *SEARCH, "generation", "last_steps", "drawn", "fitness", "drawn_from")


# A log records a trainable as module:name, so this class stays `poptrain.rl.teams.cem_rl:CEMRL`.
@answering_class
@dataclass(frozen=True)
class CEMRL(OffPolicy):
    """A population of CEM-RL teams, a `PopulationTrainable`, for continuous actions. A team is one member.

    Every field from `learning_starts` to `tau`, and from `actor_lr` on, is a hyperparameter that may be tuned. The score is the
    mean return of the better half of the last generation; ``team/0`` … are the returns of its actors. `evaluate` plays the mean.

    >>> team = CEMRL(env="HalfCheetah-v5", gradients=5)

    Args:
        population_size: actors of a generation.
        gradients: how many of them are trained by gradient; 0 is a pure cross-entropy search.
        mixing: True reuses actors of the last generation that are also a sample of the new search, without playing them again.
        divide_by_elites: True divides the variance by the number of elites, as the authors' code does; see `cem.tell`.
    """

    hidden: tuple[int, ...] = (400, 300)
    population_size: int = 10
    gradients: int = 5
    mixing: bool = False
    divide_by_elites: bool = True
    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    target_noise: float = 0.2
    noise_clip: float = 0.5
    variance_start: float = 1e-3
    variance_end: float = 1e-5
    variance_decay: float = 0.95

    ranges: ClassVar[Mapping[str, Range]] = OFF_POLICY_RANGES | {
        "actor_lr": Range(0.0),
        "critic_lr": Range(0.0),
        "target_noise": Range(0.0),
        "noise_clip": ENDLESS,
        "variance_start": Range(0.0, LARGEST_VARIANCE),
        "variance_end": Range(0.0, LARGEST_VARIANCE),
        "variance_decay": Range(0.0, 1.0),
    }

    sizes = {"population_size": (2, 10_000), "gradients": (0, 10_000)}
    unused = ONE_EPISODE
    noisy = False  # it explores in the parameters of the actors

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mixing", "divide_by_elites"):
            check_flag("CEMRL", name, getattr(self, name))
        if self.gradients > self.population_size:
            raise UsageError(
                f"CEMRL: gradients={self.gradients!r}, but population_size={self.population_size}: pass a smaller number."
            )

    def first_update(self, hparams: Hparams) -> tuple[int, str]:
        """Returns the steps that come before the first gradient; the search itself begins at once."""
        steps, name = super().first_update(hparams)
        return (steps if self.gradients else 0), name

    def episode_limit(self) -> None:
        """Returns None: a team plays whole episodes, whatever the interval is."""

    def functions(self) -> td3.Functions:
        """Returns the pure functions of an actor and of the critics."""
        return td3.Functions(self.hidden, "tanh", "leaky_relu")

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh teams; seeds (P,)."""
        seeds = np.asarray(seeds)
        settings = self._resolve(hparams, len(seeds))
        spec, agent, teams = make(self.env, self.backend).spec, self.functions(), []
        for i, seed in enumerate(seeds):
            state = agent.init(spec.observation, spec.actions, rng(int(seed), "init"))
            start = settings["variance_start"][i]
            mean = flatten(state["params"]["actor"])
            team = {"params": state["params"], "target": {"critics": state["target"]["critics"]}}
            team |= {"critic_adam": state["critic_adam"], "mean": mean, "variance": np.full_like(mean, start), "damping": start}
            team |= {"generation": np.int64(0), "last_steps": np.int64(0)}
            kept = self.population_size if self.mixing else 0
            team |= {"drawn": np.zeros((kept, mean.size), np.float32), "fitness": np.full(kept, np.nan)}
            team["drawn_from"] = {name: team[name] for name in SEARCH} if kept else {}
            teams.append(team)
        carry = stack(teams) | fresh_account(len(seeds), agent.diagnostics)
        return carry | {"steps": np.zeros(len(seeds), np.int64), "replay": empty_chunks(len(seeds))}

    def train(self, carry: Parts, hparams: PopulationHparams, steps: int, seeds: ArrayLike) -> tuple[Parts, Parts]:
        """Returns the carry after whole generations that make at least `steps` more environment steps, and the metrics.

        A pure function, bit for bit. The frames of all actors are counted, and ``steps`` reports how many they were.
        """
        seeds = np.asarray(seeds)
        settings = self._resolve(hparams, len(seeds))
        if steps <= 0:
            return self._evaluated(carry, seeds)
        row = self._row(make(self.env, self.backend).spec)

        def one(i: int) -> _Team:
            team = _Team(self, row, carry, of_member(settings, i), i, int(seeds[i]))
            while team.steps < steps:
                team.generation()
            return team

        teams = side_by_side(one, len(seeds))
        done = np.asarray([team.steps for team in teams])
        changed = joined(carry, teams, row, self.memory, done)
        carry, metrics = account(carry | changed, self._outcome(teams, done))
        scores = np.stack([team.fitness for team in teams], 1)
        metrics |= {f"team/{i}": row for i, row in enumerate(scores)}
        return carry, metrics | {"generation": carry["generation"], "deviation": np.sqrt(carry["variance"].mean(1))}

    def _outcome(self, teams: list[_Team], steps: np.ndarray) -> IntervalOutcome:
        half = [team.fitness[better_half(team.fitness)].mean() for team in teams]
        names = self.functions().diagnostics
        return IntervalOutcome(
            returns=[[float(x) for x in team.returns] for team in teams],
            score=np.asarray(half),
            running=np.asarray(half),
            episode_length=np.asarray([np.mean(team.lengths) for team in teams]),
            steps=steps,
            updates=np.asarray([team.updates for team in teams]),
            diagnostics={name: np.asarray([team.diagnostics[i] for team in teams]) for i, name in enumerate(names)},
        )


class _Team:
    """One team inside an interval."""

    def __init__(self, settings: CEMRL, row: Row, carry: Parts, hparams: Mapping[str, np.generic], member: int, seed: int):
        self.settings, self.hparams, self.seed = settings, hparams, seed
        self.state = take({name: carry[name] for name in PARTS}, member)
        self.row, self.before = row, int(carry["steps"][member])
        held = held_rows(carry["replay"], member, row, settings.memory)
        self.held, self.replay = len(held), Replay(row, held, 0, settings.memory)
        self.learner = critic_learner(settings.functions(), row, settings.batch_size)
        self.draw, self.choose = rng(seed, "replay"), rng(seed, "search")
        self.sizes = (row.observation, *settings.hidden, row.action)
        self.steps = self.updates = 0
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.fitness = np.full(settings.population_size, np.nan)
        self.diagnostics = np.full(2, np.nan, np.float32)

    @property
    def added(self) -> np.ndarray:
        """The rows of this interval."""
        return self.replay.rows[self.held : self.replay.end]

    def generation(self) -> None:
        """Makes one generation: draw, train, play, fit."""
        settings, state = self.settings, self.state
        search = {name: state[name] for name in SEARCH}
        people, fitness = self._population(search)
        drawn, fresh = people.copy(), np.flatnonzero(np.isnan(fitness))
        trained = fresh[: settings.gradients] if self.before + self.steps > int(self.hparams["learning_starts"]) else fresh[:0]
        if len(trained):
            people[trained] = self._follow_gradients(people[trained], int(self.state["last_steps"]))
        fitness[fresh], frames = self._play(people[fresh])
        noise = (float(self.hparams[name]) for name in ("variance_start", "variance_end", "variance_decay"))
        search = tell(search, people, fitness, damping(*noise, int(state["generation"]) + 1), settings.divide_by_elites)
        if settings.mixing:
            unchanged = fitness.copy()
            unchanged[trained] = np.nan
            self.state |= {"drawn": drawn, "fitness": unchanged, "drawn_from": {name: state[name] for name in SEARCH}}
        actor = unflatten(search["mean"], self.sizes)
        self.state |= search | {"params": self.state["params"] | {"actor": actor}, "generation": state["generation"] + 1}
        self.state["last_steps"] = np.int64(frames)
        self.fitness = fitness

    def _population(self, search: Parts) -> tuple[np.ndarray, np.ndarray]:
        """Returns the individuals, and the fitness of those that are reused; NaN of the others."""
        size = self.settings.population_size
        kept = np.isfinite(self.state["fitness"])
        if not kept.any():
            return ask(search, size, self.choose), np.full(size, np.nan)
        old, known = self.state["drawn"][kept], self.state["fitness"][kept]
        reused, fresh = importance_mixing(self.state["drawn_from"], search, old, self.choose)
        more = ask(search, size - len(old), self.choose)
        if not len(more) + len(fresh):  # one at least is played, so that every generation makes steps
            reused, fresh = np.delete(reused, self.choose.integers(size)), ask(search, 1, self.choose)
        people = np.concatenate([more, fresh, old[reused]]).astype(np.float32)
        return people, np.concatenate([np.full(len(more) + len(fresh), np.nan), known[reused]])

    def _follow_gradients(self, people: np.ndarray, steps: int) -> np.ndarray:
        """Returns individuals, (K, parameters), after the critics and then each was trained; `steps` of the last generation.

        The critics go on to the next individual while this one follows them on another thread. What is drawn from the memory
        is drawn before, in the order of the paper, so that threads change no bit.
        """
        updates, state = int(steps * float(self.hparams["updates_per_step"])), self.state
        critics = {"critics": state["params"]["critics"], "target": state["target"]["critics"], "adam": state["critic_adam"]}
        with ThreadPoolExecutor(min(cpus(), len(people))) as threads:
            waiting = []
            for individual in people:
                actor = unflatten(individual, self.sizes)
                critics, self.diagnostics = self._bursts("critic", critics, actor, self._places(updates // len(people)))
                own = {"actor": actor, "adam": init_tree_adam(actor)}
                waiting.append(threads.submit(self._bursts, "actor", own, critics["critics"], self._places(updates)))
            followed = [each.result() for each in waiting]
        self.state |= {
            "params": state["params"] | {"critics": critics["critics"]},
            "target": {"critics": critics["target"]},
            "critic_adam": critics["adam"],
        }
        self.diagnostics = np.asarray([self.diagnostics[0], followed[-1][1][1]], np.float32)
        return np.stack([flatten(actor["actor"]) for actor, _ in followed])

    def _places(self, updates: int) -> list[tuple[int, np.ndarray]]:
        """Returns, of each burst of these updates, how many came before it, and the places of its rows in the memory."""
        bursts = []
        while updates > 0:
            now = min(updates, BURST)
            bursts.append((self.updates, self.replay.draw(self.draw, (now, self.settings.batch_size))))
            updates, self.updates = updates - now, self.updates + now
        return bursts

    def _bursts(self, which: str, state: Parts, other: Tree, bursts: list[tuple[int, np.ndarray]]) -> tuple[Parts, np.ndarray]:
        """Returns the state after some bursts of updates, and the diagnostics of the last."""
        rows = np.zeros((BURST, self.settings.batch_size, self.row.width), np.uint32)
        last = self.diagnostics
        for done, places in bursts:
            self.replay.take(places, rows[: len(places)])
            arguments = (state, other, rows, np.int32(len(places)), dict(self.hparams), np.uint32(self.seed), np.int32(done))
            state, diagnostics = self.learner.run(which, *arguments)
            last = np.asarray(diagnostics)  # waits, so that the rows may be filled again
        return jax.device_get(state), last

    def _play(self, people: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the return of one episode of each individual, and the frames; the transitions go to the memory."""
        settings, (people, broken) = self.settings, playable(people)
        layers = unflatten(people, self.sizes)
        seeds = training_seeds(np.asarray([self.seed * 100_003 + int(self.state["generation"])]), len(people))
        spec, simulator = open_simulator(settings.env, settings.backend, seeds, settings.horizon)
        windows = Windows(self.replay, len(people))
        try:
            played = play(spec, simulator, lambda seen: np.tanh(act_all(layers, seen, "tanh")), len(people), windows)
        finally:
            simulator.close()
        frames = int(played.lengths.sum())
        self.steps += frames
        self.returns += played.returns[~broken & np.isfinite(played.returns)].tolist()
        self.lengths += played.lengths.tolist()
        return np.where(broken, np.nan, played.returns), frames
