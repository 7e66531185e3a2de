"""kill -9 of the controller at every moment of a run: after each journal record (so before and
after each intent, and after each result) and after each effect on a node. Exhaustive over steps
and hosts, for both orders and for the rollback."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.errors import Drifted, Refused
from drctl.inventory import load_inventory
from drctl.journal.runstate import fold
from tests.model.harness import BLANK, INVENTORY, RUN, World
from tests.model.simulation import OLD_TOKEN, Node

BLANK_TOKEN = f"sim-{RUN}-blank"
ORDERS = ("restore", "restore-staged")
WORLDS = [*((INVENTORY, order) for order in ORDERS), (BLANK, "restore")]


@pytest.fixture(scope="module", params=WORLDS, ids=lambda pair: f"{pair[0].stem}-{pair[1]}")
def world(request: pytest.FixtureRequest, snapshot_facts: dict[str, Any]) -> World:
    inventory, order = request.param
    return World.fresh(load_inventory(inventory), order, snapshot_facts)


def check_always(world: World, at: str) -> None:
    """I2 and I3 of any moment: one intact original, and no live path that etcd could misuse. On
    new hosts the data of the blank cluster counts as the original, from its beginning on."""
    for name, node in world.cluster.nodes.items():
        if name.startswith("w"):
            continue
        if world.inventory.prepare:
            check_new_host(node, f"{name} {at}")
            continue
        assert (node.live == OLD_TOKEN) != (node.kept == OLD_TOKEN), (
            f"{name} {at}: lost the original"
        )
        assert node.live is not None or "etcd" in node.fenced, f"{name} {at}: could start empty"
        assert node.effects["swap"] <= 1, f"{name} {at}: swapped twice"


def check_new_host(node: Node, at: str) -> None:
    places = [node.live, node.kept, node.aside]
    assert places.count(BLANK_TOKEN) == (1 if node.effects["blank"] else 0), at
    assert node.live is not None or not node.services["etcd"], f"{at}: could start empty"
    assert node.effects["swap"] <= 1 and node.effects["blank"] <= 1, at


def test_a_resumed_run_ends_as_an_undisturbed_one(world: World) -> None:
    whole = world.again()
    assert whole.session() is not None
    wanted, names = whole.conditions(), whole.moments.names
    assert all(node["new_data"] for name, node in wanted.items() if name.startswith("m"))
    assert len(names) > 100
    for fatal, at in enumerate(names):
        killed = world.again()
        assert killed.session(fatal=fatal) is None, at
        check_always(killed, at)
        state = killed.session()
        assert state is not None and state.state == "done", at
        assert killed.conditions() == wanted, f"another end after a kill {at}"
        check_always(killed, at)
    print(f"{world.plan.runbook}: {len(names)} kill points")


def test_rollback_from_every_moment_brings_the_old_cluster_back(world: World) -> None:
    start = world.again().conditions()
    names = whole_moments(world)
    for fatal, at in enumerate(names):
        killed = world.again()
        killed.session(fatal=fatal)
        if not fold(killed.journal.events).changed:
            assert killed.conditions() == start, at  # and `drctl rollback` finds nothing to do
            continue
        state = killed.session(undo=True)
        assert state is not None and state.state == "rolled-back", at
        assert killed.conditions() == start, f"not as before after a kill {at}"


def test_a_killed_rollback_goes_on(world: World) -> None:
    start = world.again().conditions()
    forward = whole_moments(world)
    deep = max(n for n, at in enumerate(forward) if at.startswith("after result start-etcd"))
    undone = world.again()
    undone.session(fatal=deep)
    assert undone.session(undo=True) is not None
    names = undone.moments.names
    for fatal, at in enumerate(names):
        killed = world.again()
        killed.session(fatal=deep)
        assert killed.session(fatal=fatal, undo=True) is None, at
        check_always(killed, at)
        assert killed.session(undo=True) is not None, at
        assert killed.conditions() == start, f"not as before after a kill {at}"
    print(f"rollback of {world.plan.runbook}: {len(names)} kill points")


def test_a_loss_that_was_agreed_to_is_carried_through(world: World) -> None:
    """Killed at every moment. Before it has taken anything back the rollback refuses again without
    the operator's word; afterwards it needs none. What Kubernetes wrote is kept, once."""
    start = world.again().conditions()
    members = [member.host for member in world.inventory.members]
    since = "12 revisions since " + (
        "the restore ended" if world.inventory.prepare else "Kubernetes was started"
    )

    def done() -> World:
        made = world.again()
        assert made.session() is not None
        made.cluster.written, made.lose_writes = 12, True
        return made

    whole = done()
    assert whole.session(undo=True) is not None
    for fatal, at in enumerate(whole.moments.names):
        killed = done()
        assert killed.session(fatal=fatal, undo=True) is None, at
        check_always(killed, at)
        begun = any(
            step.startswith("undo-") and known.attempts
            for (step, _), known in fold(killed.journal.events).hosts.items()
        )
        if fold(killed.journal.events).state == "rolled-back":
            continue
        killed.lose_writes = False
        if not begun:
            with pytest.raises(Refused, match=since):
                killed.session(undo=True)
            killed.lose_writes = True
        assert killed.session(undo=True) is not None, at
        assert killed.conditions() == start, f"not as before after a kill {at}"
        nodes = killed.cluster.nodes
        assert all(nodes[m].restored not in (None, OLD_TOKEN) for m in members), at


def whole_moments(world: World) -> list[str]:
    whole = world.again()
    assert whole.session() is not None
    return whole.moments.names


def test_a_run_that_was_passed_by_changes_nothing(world: World) -> None:
    """I9: another run comes and goes while this one has looked at the nodes and not yet claimed
    them, as when its operator thinks about the question."""
    whole = world.again()
    assert whole.session() is not None
    names = whole.moments.names
    first, last = names.index("after step-done nobody-else"), names.index("after claiming")
    assert last > first
    for moment in names[first : last + 1]:
        passed = world.again()
        left: list[Any] = []

        def pass_by(
            at: str, moment: str = moment, passed: World = passed, left: list[Any] = left
        ) -> None:
            if not left and at == moment:
                assert passed.other("20261123-000001-two").session() is not None
                left.append(passed.conditions())

        # On new hosts a look that comes later sees the other's cluster.
        with pytest.raises(
            (Drifted, Refused), match=r"-two of model finished here after our checks|be replaced"
        ):
            passed.session(look=pass_by)
        assert left == [passed.conditions()], moment
