"""What follows when a Ray actor brings no result, decided without a cluster: what was lost, and which actor is sent the task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import poptrain as pt
from poptrain.core import clock
from poptrain.core.errors import Suspended
from poptrain.testing.executors import task

pytestmark = pytest.mark.heavy

ray = pytest.importorskip("ray")

from poptrain.executors.ray import cluster  # noqa: E402
from poptrain.executors.ray.cluster import Node, wanting  # noqa: E402
from poptrain.executors.ray.fate import Loss, fate  # noqa: E402
from poptrain.executors.ray.plan import plan  # noqa: E402
from poptrain.executors.ray.slot import ActorOrder, Slot  # noqa: E402

HERE = "ours"


def actor_error(text, actor=HERE, **about):
    return ray.exceptions.RayActorError(actor, text, **about)


FATES = {
    "process died": (actor_error("connection error code 2. (1) the OOM killer due to high memory usage"), True, Loss.WORKER),
    "unreachable": (ray.exceptions.ActorUnavailableError("rpc timed out", b"\x01" * 16), True, Loss.UNKNOWN),
    "node died": (actor_error("The actor died because its node has died. Node Id: 7"), True, Loss.NODE),
    "node not alive": (actor_error("connection error code 2"), False, Loss.NODE),
    "preempted": (actor_error("gone", preempted=True), True, Loss.NODE),
    "memory monitor": (actor_error("Task was killed due to the node running low on memory."), True, Loss.MEMORY),
    "out of memory": (ray.exceptions.OutOfMemoryError("Memory on the node was 95%"), True, Loss.MEMORY),
    "giver died": (actor_error("connection error", actor="another"), True, Loss.GIFT),
    "no import": (
        actor_error("in its creation task\nModuleNotFoundError: No module named 'x'", actor_init_failed=True),
        True,
        Loss.SETUP,
    ),
    "raylet died": (ray.exceptions.LocalRayletDiedError(), True, Loss.CLUSTER),
}


@pytest.mark.parametrize("name", FATES)
def test_a_loss_is_classified_by_its_cause(name):
    error, node_alive, loss = FATES[name]
    if name == "unreachable":
        error.actor_id = HERE
    assert fate(error, HERE, node_alive).loss is loss


def slot(node="a", held=None, orders=(), **about):
    about = {"call": "busy" if orders else None, "about": SimpleNamespace(node=node), **about}
    return Slot(None, orders=orders, held=held or {}, **about)


def order(id, member, parent=None, **about):
    return ActorOrder(task(id, member, parent=parent), None, **about)


def ids(planned):
    return [[order.task.id for order in orders] for _, orders in planned]


def test_the_longest_waiting_goes_first_and_home_if_home_is_free():
    slots = [slot(held={0: 10}), slot(held={1: 11}), slot(held={2: 12}, orders=[order(9, 2)])]
    due = [order(20, 1, parent=11), order(21, 2, parent=12), order(22, 0, parent=10)]
    assert ids(plan(due, slots, 1)) == [[20], [21]], "nobody overtakes to go home"
    assert ids(plan(due, slots, 2)) == [[20], [22, 21]]


def test_a_task_that_died_in_company_is_sent_in_a_call_of_its_own():
    due = [order(1, 1, single=True), order(2, 2), order(3, 3)]
    assert sorted(ids(plan(due, [slot(), slot()], 4))) == [[1], [2, 3]]


def test_a_task_that_was_short_of_memory_gets_a_node_to_itself():
    lonely, other = order(1, 1, alone=True), order(2, 2)
    busy, free, elsewhere = slot("a", orders=[order(8, 8)]), slot("a"), slot("b", orders=[order(9, 9)])
    assert plan([lonely, other], [busy, free, elsewhere], 4) == [], "the node is emptied first, and gets nothing else"
    planned = plan([lonely, other], [slot("a"), slot("a"), slot("b", orders=[order(9, 9)])], 4)
    assert ids(planned) == [[1]]
    assert plan([other], [slot("a", orders=[lonely]), slot("a")], 4) == [], "it stays alone there"
    assert ids(plan([other], [slot("a", orders=[lonely]), slot("b")], 4)) == [[2]]


def test_actors_that_are_leaving_or_not_ready_get_nothing():
    assert plan([order(1, 1)], [slot(leaving=True), slot(about=None)], 4) == []


def test_room_counts_whole_workers_and_the_message_says_asked_and_had():
    node = Node("1", "10.0.0.1", {"CPU": 8.0, "GPU": 1.0})
    assert node.room({"CPU": 3}) == 2 and node.room({"GPU": 0.25, "CPU": 1}) == 4 and node.room({"TPU": 1}) == 0
    assert wanting({"GPU": 2}, [node]) == "each worker asks for 2 GPU, and 10.0.0.1 has 1 GPU"


@pytest.mark.parametrize(
    "wrong", [{"slots": 0}, {"cpus": -1}, {"gpus": 1.5}, {"carrier": "s3"}, {"timeout": 0}, {"address": "ray://head:10001"}]
)
def test_a_wrong_argument_is_named(wrong):
    with pytest.raises(pt.UsageError, match=next(iter(wrong))):
        pt.executors.Ray(**wrong)


def test_a_head_that_does_not_answer_suspends_the_run_and_one_that_comes_back_does_not(monkeypatch):
    found = iter([False, False, True])
    monkeypatch.setattr(cluster, "reachable", lambda: next(found))
    monkeypatch.setattr(cluster.ray, "nodes", list)
    monkeypatch.setattr(cluster, "_leaving", set)
    with clock.use(clock.FakeClock()) as now:
        assert cluster.nodes() == [] and now.monotonic() == 2.0
        monkeypatch.setattr(cluster, "reachable", lambda: False)
        with pytest.raises(Suspended, match="has not answered for 30 s.*poptrain resume"):
            cluster.nodes()
        assert 30 < now.monotonic() - 2.0 < 35
