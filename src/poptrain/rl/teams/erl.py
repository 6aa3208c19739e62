"""ERL: a genetic algorithm and a DDPG learner that share one memory; the learner's policy joins the population now and then.

Khadka, Tumer: Evolution-Guided Policy Gradient in Reinforcement Learning, arXiv 1805.07917.

    every generation: each of the k actors plays xi episodes without noise, its fitness is their mean; then the learner's actor
        plays one with noise, and all transitions go to the shared memory
        the learner makes as many DDPG updates as the generation had frames
        elites, the best psi k, live on; the others are parents, children and mutants                           algorithms 1-3
        every omega generations the learner's actor takes the slot of the worst

==============  ==================  ========================================================================================
paper           here                meaning
==============  ==================  ========================================================================================
k, xi           population_size,    actors, and episodes by which one is judged
                episodes
psi             elite_fraction      of the population; at least one actor, and never all
omega           synchronise         generations between two copies of the learner's actor
mut_prob        mutation_rate       of an actor that is not protected
mut_strength    mutation_strength   of a weight's change, as a fraction of the weight
==============  ==================  ========================================================================================

*Departures from the paper.* None in the search; `genetic` and `erl_learner` have the constants of the authors' code.
*Departures from the reference code.* The learner's actor joins while the next generation is made, in a slot without an elite. The
code copies it afterwards over the slot of the last worst, where one time in five it destroys the champion. An elite that finds no
free slot stays in its own. Actions are clipped after the noise was added, the noise begins anew with every episode, the actor's
own gradient is clipped, and time limits are never terminal. A generation is never cut: an interval ends with the generation in
which it reaches its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from poptrain._jax import jax
from poptrain.core.answering import answering_class
from poptrain.core.errors import UsageError
from poptrain.core.rng import rng
from poptrain.rl.account import account, fresh_account
from poptrain.rl.envs import make
from poptrain.rl.hparams import PopulationHparams, Range, of_member
from poptrain.rl.loops.host import SEEDS, evaluation_seeds
from poptrain.rl.loops.interval import IntervalOutcome
from poptrain.rl.loops.off_policy import ALMOST, BURST, learner_for, part_due
from poptrain.rl.loops.off_policy_host import HostActor
from poptrain.rl.memory.chunks import empty_chunks, held_rows
from poptrain.rl.memory.replay import Replay, Windows
from poptrain.rl.memory.rows import Row
from poptrain.rl.mlp import init_mlp
from poptrain.rl.nets import Layers
from poptrain.rl.off_policy import OFF_POLICY_RANGES, OffPolicy
from poptrain.rl.settings import check_layers
from poptrain.rl.teams.episodes import ONE_EPISODE, Episodes, open_simulator, play
from poptrain.rl.teams.erl_learner import Functions
from poptrain.rl.teams.flat import act_all, flatten, unflatten
from poptrain.rl.teams.genetic import Rules, evolve
from poptrain.rl.teams.together import joined, side_by_side
from poptrain.rl.trees import Parts, stack, take

PARTS = ("params", "target", "actor_adam", "critic_adam", "population", "fitness", "generation")
LEARNER = ("discount", "tau", "actor_lr", "critic_lr")  # the hyperparameters of an update
OU_THETA, OU_SIGMA = 0.15, 0.2  # of the Ornstein-Uhlenbeck process


# A log records a trainable as module:name, so this class stays `poptrain.rl.teams.erl:ERL`.
@answering_class
@dataclass(frozen=True)
class ERL(OffPolicy):
    """A population of ERL teams, a `PopulationTrainable`, for continuous actions. A team is one member.

    Every field from `learning_starts` to `tau`, and from `actor_lr` on, is a hyperparameter that may be tuned. Steps are those of
    all actors together, the learner's included. At the end of an interval the champion of the last generation plays
    `champion_episodes` more, which are neither counted nor stored; their mean is the score. ``team/0`` … are the fitnesses of
    the last generation. `evaluate` plays the champion.

    >>> team = ERL(env="HalfCheetah-v5")

    Args:
        hidden: sizes of the hidden layers of an actor; tanh, with layer normalisation.
        critic_hidden: units of the critic's layer of observations and of that of actions, and units of the layer that joins them.
        population_size: actors of a generation.
        episodes: by which an actor is judged.
        champion_episodes: by which the champion is scored.
        learning_starts: frames before the first update.
        exploration_noise: factor of the noise of the learner's actor.
    """

    hidden: tuple[int, ...] = (128, 128)
    batch_size: int = 128
    learning_starts: int = 640
    tau: float = 1e-3
    critic_hidden: tuple[int, int] = (200, 300)
    population_size: int = 10
    episodes: int = 1
    champion_episodes: int = 5
    actor_lr: float = 5e-5
    critic_lr: float = 5e-4
    exploration_noise: float = 0.3
    elite_fraction: float = 0.1
    mutation_rate: float = 0.9
    mutation_strength: float = 0.1
    crossover_rate: float = 0.0
    synchronise: int = 10

    ranges: ClassVar[Mapping[str, Range]] = OFF_POLICY_RANGES | {
        "actor_lr": Range(0.0),
        "critic_lr": Range(0.0),
        "exploration_noise": Range(0.0),
        "elite_fraction": Range(0.0, 1.0),
        "mutation_rate": Range(0.0, 1.0),
        "mutation_strength": Range(0.0),
        "crossover_rate": Range(0.0, 1.0),
        "synchronise": Range(1, 1 << 30, True),
    }

    sizes = {"population_size": (2, 10_000), "episodes": (1, 10_000), "champion_episodes": (1, 10_000)}
    unused = ONE_EPISODE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "critic_hidden", check_layers("ERL", "critic_hidden", self.critic_hidden))
        if len(self.critic_hidden) != 2:
            raise UsageError(f"ERL: critic_hidden={self.critic_hidden!r}, expected two whole numbers of units.")

    def episode_limit(self) -> None:
        """Returns None: a team plays whole episodes, whatever the interval is."""

    def functions(self) -> Functions:
        """Returns the pure functions of the learner."""
        return Functions(self.hidden, critic_hidden=self.critic_hidden)

    def init(self, hparams: PopulationHparams, seeds: ArrayLike) -> Parts:
        """Returns the carry of P fresh teams; seeds (P,)."""
        seeds = np.asarray(seeds)
        self._resolve(hparams, len(seeds))
        spec, agent, teams = make(self.env, self.backend).spec, self.functions(), []
        sizes = (spec.observation, *self.hidden, spec.actions)
        for seed in seeds:
            learner = agent.init(spec.observation, spec.actions, rng(int(seed), "init"))
            actors = [init_mlp(rng(int(seed), "init", i), sizes, norm=True) for i in range(self.population_size)]
            team = learner | {"params": {"actor": actors[0], "learner": learner["params"]}}
            team |= {"population": np.stack([flatten(actor) for actor in actors]), "generation": np.int64(0)}
            teams.append(team | {"fitness": np.full(self.population_size, np.nan)})
        carry = stack(teams) | fresh_account(len(seeds), agent.diagnostics)
        return carry | {"steps": np.zeros(len(seeds), np.int64), "replay": empty_chunks(len(seeds))}

    def train(self, carry: Parts, hparams: PopulationHparams, steps: int, seeds: ArrayLike) -> tuple[Parts, Parts]:
        """Returns the carry after whole generations that make at least `steps` more environment steps, and the metrics.

        A pure function, bit for bit. ``steps`` reports the frames of all actors, and ``test_steps`` those of the champion's
        episodes at the end, which are not among them. With `steps` 0 nothing is trained, and 10 episodes are the score.
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
            team.test()
            return team

        teams = side_by_side(one, len(seeds))
        done = np.asarray([team.steps for team in teams])
        changed = joined(carry, teams, row, self.memory, done)
        scores = np.asarray([team.tested.returns.mean() for team in teams])
        happened = IntervalOutcome(
            returns=[[float(x) for x in team.tested.returns] for team in teams],
            score=scores,
            running=scores,
            episode_length=np.asarray([np.mean(team.lengths) for team in teams]),
            steps=done,
            updates=np.asarray([team.updates for team in teams]),
            diagnostics={n: np.asarray([t.diagnostics[k] for t in teams]) for k, n in enumerate(Functions.diagnostics)},
        )
        more = {f"team/{i}": row for i, row in enumerate(changed["fitness"].T)}
        more |= {"generation": changed["generation"], "learner": np.asarray([team.learner_return for team in teams])}
        more |= {"test_steps": np.asarray([team.tested.lengths.sum() for team in teams])}
        return account(carry | changed, happened, more)


class _Team:
    """One team inside an interval."""

    def __init__(self, settings: ERL, row: Row, carry: Parts, hparams: Mapping[str, np.generic], member: int, seed: int):
        self.settings, self.row, self.hparams, self.seed = settings, row, hparams, seed
        self.state = take({name: carry[name] for name in PARTS}, member)
        self.before = int(carry["steps"][member])
        held = held_rows(carry["replay"], member, row, settings.memory)
        self.held, self.replay = len(held), Replay(row, held, 0, settings.memory)
        self.agent = settings.functions()
        self.learner = learner_for(self.agent, row, settings.batch_size)
        self.draw, self.explore, self.breed = (rng(seed, name) for name in ("replay", "actions", "search"))
        self.sizes = (row.observation, *settings.hidden, row.action)
        self.steps = self.updates = 0
        self.lengths: list[int] = []
        self.learner_return = float("nan")
        self.diagnostics = np.full(2, np.nan, np.float32)
        self.tested = Episodes(np.empty(0), np.empty(0, np.int64))

    @property
    def added(self) -> np.ndarray:
        """The rows of this interval."""
        return self.replay.rows[self.held : self.replay.end]

    def generation(self) -> None:
        """Makes one generation: play, learn, evolve."""
        settings, state, people = self.settings, self.state, self.state["population"]
        frames, layers = self.steps, self._layers(people)
        returns = []
        for episode in range(settings.episodes):
            played = self._play(lambda seen: np.tanh(act_all(layers, seen, "tanh")), len(people), episode)
            returns.append(played.returns)
        fitness = np.mean(returns, 0)
        champion = int(np.argmax(np.where(np.isfinite(fitness), fitness, -np.inf)))
        actor = HostActor(self.agent, {"params": state["params"]["learner"]}, self.hparams)
        learner = self._play(self._noisy(actor), 1, settings.episodes)
        self.learner_return = float("nan") if actor.broken else float(learner.returns[0])
        frames = self.steps - frames
        starts = int(self.hparams["learning_starts"])
        if self.before + self.steps >= starts:
            rate = float(self.hparams["updates_per_step"])
            self._learn(int(part_due(self.before + self.steps - frames, 0, rate) + frames * rate + ALMOST))
        generation, size = int(state["generation"]) + 1, len(people)
        elites = min(max(1, int(float(self.hparams["elite_fraction"]) * size)), size - 1)
        rates = (float(self.hparams[name]) for name in ("mutation_rate", "mutation_strength", "crossover_rate"))
        learned = flatten(self.state["params"]["learner"]["actor"])
        due = generation % int(self.hparams["synchronise"]) == 0 and np.isfinite(learned).all()
        following = evolve(people, fitness, Rules(elites, *rates), self._layers, self.breed, learned if due else None)
        self.state |= {
            "params": self.state["params"] | {"actor": self._layers(people[champion])},
            "population": following,
            "fitness": fitness,
            "generation": np.int64(generation),
        }

    def test(self) -> None:
        """Plays the champion's own episodes, which are neither counted nor stored."""
        settings = self.settings
        actor = HostActor(self.agent, self.state, self.hparams)
        seeds = evaluation_seeds(self.seed, settings.champion_episodes)
        spec, simulator = open_simulator(settings.env, settings.backend, seeds, settings.horizon)
        try:
            self.tested = play(spec, simulator, lambda seen: actor.act(seen, None), len(seeds), None)
        finally:
            simulator.close()

    def _layers(self, vectors: np.ndarray) -> Layers:
        return unflatten(vectors, self.sizes, norm=True)

    def _noisy(self, actor: HostActor) -> Callable[[np.ndarray], np.ndarray]:
        """Returns the policy of one episode: the learner's, with noise of an Ornstein-Uhlenbeck process that begins at 0."""
        noise, scale = np.zeros((1, self.row.action), np.float32), float(self.hparams["exploration_noise"])

        def act(seen: np.ndarray) -> np.ndarray:
            nonlocal noise
            noise = (1.0 - OU_THETA) * noise + OU_SIGMA * self.explore.standard_normal(noise.shape, np.float32)
            return np.clip(actor.act(seen, None) + scale * noise, -1.0, 1.0)

        return act

    def _play(self, act: Callable[[np.ndarray], np.ndarray], actors: int, episode: int) -> Episodes:
        """Returns one episode of each actor; the transitions go to the memory."""
        settings, path = self.settings, ("episodes", int(self.state["generation"]), episode)
        seeds = [int(x) for x in rng(self.seed, *path).integers(0, SEEDS, actors)]
        spec, simulator = open_simulator(settings.env, settings.backend, seeds, settings.horizon)
        try:
            played = play(spec, simulator, act, actors, Windows(self.replay, actors))
        finally:
            simulator.close()
        self.steps += int(played.lengths.sum())
        self.lengths += played.lengths.tolist()
        return played

    def _learn(self, updates: int) -> None:
        """Makes DDPG updates of the learner."""
        own, rows = {name: self.hparams[name] for name in LEARNER}, self.learner.buffer()
        names = ("target", "actor_adam", "critic_adam")
        state = {name: self.state[name] for name in names} | {"params": self.state["params"]["learner"]}
        while updates > 0:
            now = min(updates, BURST)
            self.replay.sample(self.draw, rows[:now])
            state, diagnostics = self.learner.burst(state, rows, now, own, self.seed, self.updates)
            self.diagnostics = np.asarray(diagnostics)  # waits, so that the rows may be filled again
            updates, self.updates = updates - now, self.updates + now
        state = jax.device_get(state)
        self.state |= {name: state[name] for name in names}
        self.state["params"] = self.state["params"] | {"learner": state["params"]}
