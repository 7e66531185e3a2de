"""What an error would say of the cluster, compared with the simulated nodes at every moment."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from drctl.errors import StepFailed
from drctl.inventory import load_inventory
from drctl.journal.diagnosis import Situation, situation
from drctl.journal.meanings import SITUATIONS
from drctl.journal.runstate import fold
from tests.model.harness import BLANK, INVENTORY, World
from tests.model.simulation import OLD_TOKEN, Node

STORY = {
    "restore": [
        "untouched",
        "services-stopped",
        "down-with-old-data",
        "mixed",
        "down-with-restored-data",
        "not-verified",
        "verified",
        "starting-kubernetes",
        "done",
        "taking-back",
        "rolled-back",
    ],
}
STORY["restore-staged"] = ["untouched", "beside", *STORY["restore"][1:]]
STORY["new-hosts"] = [
    "untouched",
    "preparing",
    *STORY["restore"][2:7],
    "done",
]
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def all_of(true: Callable[[Node], bool]) -> Callable[[list[Node]], bool]:
    return lambda nodes: all(true(node) for node in nodes)


def old(node: Node) -> bool:
    return node.live == OLD_TOKEN and node.kept is None


def new(node: Node) -> bool:
    return node.live not in (None, OLD_TOKEN) and node.kept == OLD_TOKEN


def down(node: Node) -> bool:
    return not node.services["etcd"] and "etcd" in node.fenced


def serving(node: Node) -> bool:
    return node.services["etcd"] and "etcd" not in node.fenced


def no_kubernetes(node: Node) -> bool:
    return all(not node.services[unit] and unit in node.fenced for unit in KUBERNETES)


TRUE: dict[str, Callable[[list[Node]], bool]] = {
    "untouched": all_of(lambda n: old(n) and all(n.services.values()) and not n.fenced),
    "beside": all_of(lambda n: old(n) and all(n.services.values()) and not n.fenced),
    "services-stopped": all_of(lambda n: old(n) and serving(n)),
    "down-with-old-data": all_of(lambda n: old(n) and no_kubernetes(n)),
    "mixed": all_of(lambda n: (old(n) or new(n)) and down(n) and no_kubernetes(n)),
    "down-with-restored-data": all_of(lambda n: new(n) and down(n) and no_kubernetes(n)),
    "not-verified": all_of(lambda n: new(n) and no_kubernetes(n)),
    "verified": all_of(lambda n: new(n) and serving(n) and no_kubernetes(n)),
    "starting-kubernetes": all_of(lambda n: new(n) and serving(n)),
    "done": all_of(lambda n: new(n) and all(n.services.values()) and not n.fenced),
    "taking-back": all_of(lambda n: old(n) or new(n)),
    "rolled-back": all_of(lambda n: old(n) and all(n.services.values()) and not n.fenced),
}
"""What must hold of the members while an error says so. Between an intent and its effect nothing
has happened yet, and between an effect and its record it has: these allow for both."""


@pytest.mark.parametrize("order", ["restore", "restore-staged"])
def test_every_moment_is_told_as_it_is(order: str, snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(INVENTORY), order, snapshot_facts)
    told: list[str] = []

    def look(moment: str) -> None:
        found = now(world)
        members = [node for name, node in world.cluster.nodes.items() if name.startswith("m")]
        assert TRUE[found.word](members), f"{moment}: told {found.word}"
        if found.word in ("verified", "starting-kubernetes", "done"):
            assert {"identity", "probe", "proven"} <= fold(world.journal.events).steps_done, moment
        told.append(found.word)

    assert world.session(look=look) is not None
    assert world.session(look=look, undo=True) is not None
    assert [word for word, _ in groupby(told)] == STORY[order]


def test_new_hosts_are_told_apart(snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(BLANK), "restore", snapshot_facts)
    told: list[str] = []
    assert world.session(look=lambda _: told.append(now(world).word)) is not None
    assert [word for word, _ in groupby(told)] == STORY["new-hosts"]
    fatal = world.moments.names.index("after result start-blank m3")
    killed = world.again()
    assert killed.session(fatal=fatal) is None and now(killed).word == "preparing"
    assert not any(node.kept or node.fenced for node in killed.cluster.nodes.values())


def now(world: World) -> Situation:
    return situation(fold(world.journal.events))


def test_the_removal_of_kept_data_is_told(snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(INVENTORY), "restore", snapshot_facts)
    assert world.session() is not None
    told: list[str] = []
    assert world.session(clean=True, look=lambda _: told.append(now(world).word)) is not None
    assert [word for word, _ in groupby(told)] == ["done", "cleaning", "cleaned"]
    assert not any("old data kept" in line for line in now(world).lines())


def test_every_situation_is_met_by_a_test() -> None:
    others = {"preparing", "cleaning", "cleaned", "own-runbook", "own-runbook-done"}
    others |= {"partly-taken-back"}  # by tests/commands/test_liar.py
    others |= {"followed"}  # by tests/commands/test_remembered.py
    others |= {"tried"}  # by tests/commands/test_tries.py
    assert {*STORY["restore-staged"], *others} == set(SITUATIONS)


def test_a_half_exchanged_cluster_is_told_host_by_host(snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(INVENTORY), "restore", snapshot_facts)
    assert world.session() is not None
    fatal = world.moments.names.index("after intent swap m2")
    killed = world.again()
    assert killed.session(fatal=fatal) is None
    found = now(killed)
    assert found.word == "mixed"
    assert "the old data is still in place on m3" in found.details
    assert "swap: result on m2 unknown; the next command checks it first" in found.details
    kept = [line for line in found.details if line.startswith("old data kept: ")]
    assert [line.split(":")[1].strip() for line in kept] == ["m1", "m2"]
    assert [way.split()[1] for way in found.commands] == ["restore", "rollback"]
    assert all(way.endswith("--inventory sim.yaml") for way in found.commands)


def test_where_no_data_was_none_is_kept(snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(INVENTORY), "restore", snapshot_facts)
    assert world.session() is not None
    state = fold(world.journal.events)
    state.hosts["swap", "m2"].seen["inode_data"] = "absent"
    kept = [line for line in situation(state).details if line.startswith("old data kept: ")]
    assert [line.split(":")[1].strip() for line in kept] == ["m1", "m3"]


def test_a_rollback_that_failed_says_so(snapshot_facts: dict[str, Any]) -> None:
    world = World.fresh(load_inventory(INVENTORY), "restore", snapshot_facts)
    assert world.session() is not None

    def fail(*_: object) -> None:
        raise StepFailed("no space")

    world.cluster.acts["etcd/swap/undo/act"] = fail
    with pytest.raises(StepFailed):
        world.session(undo=True)
    found = now(world)
    assert found.word == "taking-back"
    assert [way.split()[1] for way in found.commands] == ["rollback"]
