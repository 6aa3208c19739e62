# ruff: noqa: E402
"""Wrong arguments of agents and teams: each is answered in a sentence, before anything is trained."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import pytest

import poptrain as pt

pytest.importorskip("jax")
gymnasium = pytest.importorskip("gymnasium")

from poptrain._jax import jax
from poptrain.core.errors import UsageError
from poptrain.engine.sanity import doubts
from poptrain.preflight import check
from poptrain.rl import CEMRL, DDPG, ERL, P3S, PPO, SAC, SVPG, TD3, VMPO, film, make

REPLAYING, TEAMS_OF_EPISODES = (TD3, DDPG, SAC, P3S), (ERL, CEMRL)
AGENTS = (*REPLAYING, *TEAMS_OF_EPISODES, PPO, VMPO, SVPG)
PENDULUM = "Pendulum-v1"
COUNT = [0, -1, 2.5, "8", True, None, [4]]  # none of them is a whole number from 1


class Own(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))


WRONG = {
    "env": [None, 3, Own, Own(), "Pendulm-v1", "", "jax/Nothing-v0"],
    "hidden": [64, "64", (64, 0), (64.5,), ((64, 64),), None, {64: 64}],
    "horizon": [0, -1, 2.5, "200", True],
    "num_envs": COUNT,
    "backend": ["gym", 3],
    "discount": [1.5, -0.1, "high", "0.9", True, None, np.nan, np.inf],
}
RATE = [-1.0, "x", "0.001", True, np.inf, 1e300]  # none of them is a learning rate
REPLAY = {"batch_size": COUNT, "memory": COUNT, "n_step": COUNT, "pixels": [None, "yes", 1, True], "actor_lr": RATE}
ROLLOUT = {"chunk": COUNT, "max_batch": COUNT, "max_grad_norm": [0, -1.0, "x", None, np.nan], "lr": RATE,
           "train_batch_size": [0, -1, 10**9, "big", None]}  # fmt: skip
OWN = {
    P3S: {"learners": COUNT, "period": COUNT, "num_envs": [2]},
    ERL: {"critic_hidden": [200, (3,), (True, 3)], "episodes": COUNT, "num_envs": [2], "update_every": [10]},
    CEMRL: {"population_size": [1, *COUNT], "gradients": [-1, 11, 2.5, "5", None], "mixing": ["no", 1], "num_envs": [2]},
    SVPG: {"particles": COUNT, "surrogate": ["PPO", 3], "bandwidth": ["wide"], "alpha": [0.0]},
    SAC: {"alpha": [-1.0, "auto"]},
    VMPO: {"minibatch_size": COUNT},
    PPO: {"distill_policy": [*RATE, None], "distill_value": RATE, "distill_lr": RATE, "entropy_coeff": [-np.inf, np.inf]},
}
CASES = [
    (agent, name, value)
    for agent in AGENTS
    for table in (WRONG, REPLAY if agent in (*REPLAYING, *TEAMS_OF_EPISODES) else ROLLOUT, OWN.get(agent, {}))
    for name, values in table.items()
    for value in values
]


def test_every_wrong_argument_is_named_in_a_sentence():
    for agent, name, value in CASES:
        with pytest.raises(UsageError) as answer:
            agent(**{"env": PENDULUM, name: value})
        said = str(answer.value)
        assert (name in said or name == "env" and "environment" in said) and said.endswith((".", "?")), (agent, name, value, said)
        assert len(said) < 500 and "Error" not in said, said


def test_an_unknown_argument_is_answered_with_the_one_that_was_meant():
    for agent, wrong, meant in [(TD3, "learning_rate", "actor_lr"), (PPO, "gamma", "discount"), (CEMRL, "hiden", "hidden"),
                                (SAC, "buffer_size", "memory")]:  # fmt: skip
        with pytest.raises(UsageError, match=meant):
            agent(PENDULUM, **{wrong: 1})
    with pytest.raises(UsageError, match="missing a required argument: 'env'"):
        TD3()


def test_a_limit_may_be_infinite_and_nothing_else():
    assert PPO(PENDULUM, clip=np.inf, kl_target=np.inf, distill_lr=None).clip == np.inf
    assert SVPG(PENDULUM, alpha=np.inf).alpha == TD3(PENDULUM, noise_clip=np.inf).noise_clip == np.inf
    assert PPO(PENDULUM, hidden=()).hidden == ()
    with pytest.raises(UsageError, match="policy_layers=3 has no width"):
        PPO(PENDULUM, hidden=()).init({"policy_layers": [3]}, np.asarray([1]))


def test_a_setting_that_is_a_whole_number_is_never_rounded():
    for agent, name, value in [(TD3, "policy_delay", 1.5), (PPO, "epochs", 2.5), (ERL, "synchronise", 1.2)]:
        with pytest.raises(UsageError, match=f"{name}={value}, expected a whole number"):
            agent(PENDULUM, **{name: value})
    assert TD3(PENDULUM, learning_starts=1e3).learning_starts == 1000


def warnings_of(agent, parameter, steps=100):
    name, of = next(iter(parameter.items()))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        pt.Experiment(pt.pbt(pt.Space(**{name: of}), population=2, interval=10), agent, stop=pt.steps(steps))
    return " ".join(str(each.message) for each in found)


def test_a_range_whose_values_would_be_rounded_is_announced():
    """Else the log, and the schedule, would hold other values than those that the members trained with."""
    agent = TD3(PENDULUM, learning_starts=0)
    assert "pt.Int" in warnings_of(agent, {"policy_delay": pt.Uniform(1, 5)})
    for parameter in (pt.Int(1, 5), pt.LogInt(1, 5), pt.Choice(1, 2), pt.Ordinal(1, 2)):
        assert not warnings_of(agent, {"policy_delay": parameter})
    assert not warnings_of(agent, {"actor_lr": pt.LogUniform(1e-4, 1e-2)})


def doubts_of(agent, space, steps=100):
    return " ".join(doubts(pt.Experiment(pt.pbt(space, population=2, interval=10), agent, stop=pt.steps(steps))))


@pytest.mark.parametrize(
    ("agent", "idle"),
    [
        (TD3(PENDULUM), True),
        (TD3(PENDULUM, learning_starts=100), False),
        (P3S(PENDULUM, learning_starts=30), True),  # for each of 4 learners
        (P3S(PENDULUM, learning_starts=25), False),
        (CEMRL(PENDULUM, learning_starts=101), True),
        (CEMRL(PENDULUM, learning_starts=101, gradients=0), False),
        (PPO(PENDULUM), True),
        (PPO(PENDULUM, train_batch_size=100), False),
    ],
)
def test_members_that_would_end_before_their_first_update_are_announced(agent, idle):
    assert ("first update" in doubts_of(agent, pt.Space(discount=pt.Uniform(0.9, 0.99)))) is idle


def test_the_least_value_of_a_range_decides_whether_a_member_learns():
    assert not doubts_of(TD3(PENDULUM), pt.Space(learning_starts=pt.Int(50, 10_000)))
    assert "first update" in doubts_of(TD3(PENDULUM), pt.Space(learning_starts=pt.Int(200, 10_000)))


def test_an_interval_of_time_is_doubted_where_every_call_begins_new_episodes():
    """Only whole steps can be timed, and the state of a simulator cannot be saved from one call to the next."""
    for agent, doubted in [
        (TD3(PENDULUM), True),
        (PPO(PENDULUM), True),
        (TD3("jax/Pendulum-v1"), False),
        (CEMRL(PENDULUM), False),
    ]:
        algorithm = pt.pbt(pt.Space(discount=pt.Uniform(0.9, 0.99)), population=2, interval=pt.seconds(1))
        found = doubts(pt.Experiment(algorithm, agent, stop=pt.seconds(4)))
        assert any("use an interval in steps" in each for each in found) is doubted


def test_the_lowest_return_is_hardly_what_an_agent_is_selected_by():
    """Agents climb by the gradient, and the best of a team is its highest: under mode="min" a run would work against them."""
    space = pt.Space(discount=pt.Uniform(0.9, 0.99))
    for agent in (PPO(PENDULUM), TD3(PENDULUM), CEMRL(PENDULUM)):
        for metric, mode, doubted in [("score", "min", True), ("score", "max", False), ("episode_length", "min", False)]:
            algorithm = pt.pbt(space, population=2, interval=20_000)
            found = doubts(pt.Experiment(algorithm, agent, metric=metric, mode=mode, stop=pt.steps(40_000)))
            assert any(f"{type(agent).__name__} maximises the return" in each for each in found) is doubted, (agent, metric, mode)


def test_the_actors_of_a_team_share_an_interval_and_whole_episodes_fit_in_any():
    assert P3S(PENDULUM, learners=3).episode_limit() == (200, 3, 1)
    assert SVPG(PENDULUM, particles=3, num_envs=2).episode_limit() == (200, 6, 1)
    assert ERL(PENDULUM).episode_limit() is None and CEMRL(PENDULUM).episode_limit() is None


def test_check_blames_no_hyperparameter_before_the_first_update():
    agent = TD3(PENDULUM, hidden=(4,), horizon=10, learning_starts=100)
    algorithm = pt.pbt(pt.Space(actor_lr=pt.LogUniform(1e-4, 1e-2)), population=2, interval=20)
    found = check(pt.Experiment(algorithm, agent, stop=pt.steps(200), executor="vectorized"), seconds=20)
    verdict = next(each for each in found.checks if each.name == "hparams.actor_lr")
    assert verdict.state == "unclear" and "before the first update, which comes after 100 steps (learning_starts)" in verdict.text


def test_a_part_of_the_architecture_that_is_not_static_is_refused_before_the_run():
    with pytest.raises(UsageError, match="policy_width changes the shapes of the networks: declare it static=True"):
        doubts_of(PPO(PENDULUM), pt.Space(lr=pt.LogUniform(1e-4, 1e-2), policy_width=pt.Int(4, 8)))


class NeedsSize(Own):
    def __init__(self, size):
        self.size = size


def test_an_environment_that_cannot_be_made_is_named():
    gymnasium.register("NeedsSize-v0", NeedsSize)
    with pytest.raises(UsageError, match="'NeedsSize-v0': Gymnasium cannot make it: TypeError: .* 'size'"):
        TD3("NeedsSize-v0")


class Strange(Own):
    def reset(self, *, seed=None, options=None):
        return np.zeros(self.size, np.float32), {}

    def step(self, action):
        return np.zeros(self.size, np.float32), self.reward, False, False, {}

    def __init__(self, size, reward):
        self.size, self.reward = size, reward


@pytest.mark.parametrize(
    ("size", "reward", "message"),
    [
        (4, 1.0, "an observation has 4 numbers, and those of its observation space have 3"),
        (3, None, "a reward is None, expected a number"),
        (3, np.ones(2), "a reward is array"),
    ],
)
def test_what_an_environment_returns_wrongly_is_named(size, reward, message):
    gymnasium.register("Strange-v0", lambda: Strange(size, reward), max_episode_steps=5, disable_env_checker=True)
    for agent in (TD3("Strange-v0", hidden=(4,)), PPO("Strange-v0", hidden=(4,))):
        with pytest.raises(UsageError, match=f"'Strange-v0': {message}"):
            agent.train(agent.init({}, [1]), {}, 4, [1])
    gymnasium.registry.pop("Strange-v0")


def test_whole_numbers_of_numpy_are_whole_numbers():
    agent = TD3(PENDULUM, hidden=np.asarray([8, 8]), num_envs=np.int64(2), horizon=np.int32(10))
    assert agent == TD3(PENDULUM, hidden=(8, 8), num_envs=2, horizon=10) and type(agent.num_envs) is int
    assert repr(agent) == repr(TD3(PENDULUM, hidden=[8, 8], num_envs=2, horizon=10))


def test_only_observations_that_bytes_can_hold_are_stored_as_bytes():
    """As bytes, a pendulum's cosine would be 0 or 1, and a negative one 255."""
    with pytest.raises(UsageError, match="pixels=True"):
        TD3(PENDULUM, pixels=True)
    boxes = {np.uint8: (0, 255), np.int64: (0, 255), np.float32: (0.0, 255.0)}
    for i, (kind, bounds) in enumerate(boxes.items()):
        gymnasium.register(f"Seen{i}-v0", lambda box=gymnasium.spaces.Box(*bounds, (2, 2), kind): _seen(box), max_episode_steps=5)
        assert make(f"Seen{i}-v0").spec.pixels and TD3(f"Seen{i}-v0", pixels=True).pixels
    for i, box in enumerate([gymnasium.spaces.Box(-1, 255, (2,), np.int64), gymnasium.spaces.Box(0.0, 1.0, (2,))]):
        gymnasium.register(f"Unseen{i}-v0", lambda box=box: _seen(box), max_episode_steps=5)
        assert not make(f"Unseen{i}-v0").spec.pixels


def _seen(space):
    env = Own()
    env.observation_space = space
    return env


def test_a_policy_that_is_no_longer_finite_still_acts_within_the_bounds():
    """Some simulators never come back from a NaN."""
    for agent in (PPO(PENDULUM, hidden=(4,)), SVPG(PENDULUM, hidden=(4,), particles=2), TD3(PENDULUM, hidden=(4,))):
        fresh = agent.init({}, np.asarray([1]))
        for spoil in (np.nan, np.inf):
            for part in ("log_std", "policy", "actor"):
                if part in fresh["params"]:
                    broken = jax.tree.map(lambda x, spoil=spoil: np.full_like(x, spoil), fresh["params"][part])
                    carry = fresh | {"params": fresh["params"] | {part: broken}}
                    for deterministic in (True, False):
                        assert np.isfinite(agent.evaluate(carry, 0, 2, deterministic=deterministic)).all(), (agent, part)


@lru_cache(maxsize=1)
def carries():
    agent = TD3(PENDULUM, hidden=(4,), horizon=5)
    return agent, agent.init({}, np.asarray([1, 2])), PPO(PENDULUM, hidden=(4,)).init({}, np.asarray([1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes=0"),
        ({"episodes": 2.5}, "episodes=2.5"),
        ({"seed": "x"}, "seed='x'"),
        ({"lane": 2}, "lane=2, but the carry is that of 2 members"),
        ({"lane": 0.5}, "lane=0.5, but the carry is that of 2 members"),
        ({"lane": True}, "lane=True, but the carry is that of 2 members"),
        ({"deterministic": "no"}, "deterministic='no', expected True or False"),
        ({"lane": None}, "the carry is that of 2 members: pass lane"),
        ({"carry": None}, "run.best.load"),
        ({"carry": "runs/first"}, "run.best.load"),
        ({"env": "MountainCarContinuous-v0"}, "another environment"),
    ],
)
def test_an_evaluation_names_what_does_not_fit(changes, message):
    agent, carry, _ = carries()
    arguments = {"carry": carry, "lane": 0, "episodes": 1, "seed": 0} | changes
    agent = TD3(arguments.pop("env"), hidden=(4,)) if "env" in changes else agent
    with pytest.raises(UsageError, match=message):
        agent.evaluate(**arguments)


def test_the_carry_of_another_agent_is_refused_by_evaluations_and_films(tmp_path):
    agent, carry, of_ppo = carries()
    with pytest.raises(UsageError, match="of another agent"):
        PPO(PENDULUM).evaluate(carry, 0, 1)
    for path, arguments, message in [
        ("a.mp4", {}, r"\.webp or \.gif"),
        ("a.gif", {"tried": 0}, "tried=0"),
        ("a.gif", {}, "lane"),
    ]:
        with pytest.raises(UsageError, match=message):
            film(agent, carry, tmp_path / path, **arguments)


def test_an_actor_of_cem_rl_has_no_noise_to_explore_with():
    team = CEMRL(PENDULUM, hidden=(4,), horizon=5, population_size=2, gradients=0)
    carry = team.init({}, np.asarray([1]))
    np.testing.assert_array_equal(team.evaluate(carry, 0, 2), team.evaluate(carry, 0, 2, deterministic=False))
