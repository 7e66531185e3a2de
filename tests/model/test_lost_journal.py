"""The operator's machine is gone for good, or its journal lost its tail: the nodes' own records
bring back what a resume and a rollback need. Every moment at which the controller can die and every
length to which the journal can be cut, for both orders and for the rollback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from drctl.errors import DrctlError, LockHeld
from drctl.inventory import load_inventory
from drctl.journal.runstate import fold
from drctl.nodes.comparison import compare
from tests.model.harness import INVENTORY, MortalJournal, World
from tests.model.test_every_kill_point import ORDERS, check_always, whole_moments


@pytest.fixture(scope="module", params=ORDERS)
def world(request: pytest.FixtureRequest, snapshot_facts: dict[str, Any]) -> World:
    return World.fresh(load_inventory(INVENTORY), request.param, snapshot_facts)


def lost(world: World, *, undo_after: int | None = None) -> Iterator[tuple[str, World]]:
    """A world whose controller was killed, at every moment that left another trace on a node:
    the nodes are all that is left now."""
    for fatal, at in enumerate(moments(world, undo_after)):
        if not at.startswith(("after the effect", "after the upload")):
            continue
        killed = world.again()
        if undo_after is not None:
            killed.session(fatal=undo_after)
        assert killed.session(fatal=fatal, undo=undo_after is not None) is None, at
        yield at, killed


def moments(world: World, undo_after: int | None) -> list[str]:
    whole = world.again()
    whole.session(fatal=undo_after)
    if undo_after is not None:
        whole.session(undo=True)
    return whole.moments.names


def test_an_adopted_run_ends_as_an_undisturbed_one(world: World) -> None:
    whole = world.again()
    assert whole.session() is not None
    wanted, adopted = whole.conditions(), 0
    for at, killed in lost(world):
        values = fold(killed.journal.events).values
        killed.adopt()
        adopted += 1
        known = fold(killed.journal.events)
        assert known.values.items() <= values.items(), at
        if known.state != "done":
            state = killed.session()
            assert state is not None and state.state == "done", at
        assert killed.conditions() == wanted, f"another end after a kill {at}"
        check_always(killed, at)
    assert adopted > 50
    print(f"{world.plan.runbook}: adopted at {adopted} moments")


def test_an_adopted_run_is_taken_back_from_every_moment(world: World) -> None:
    start = world.again().conditions()
    for at, killed in lost(world):
        killed.adopt()
        state = killed.session(undo=True)
        assert state is not None and state.state == "rolled-back", at
        assert killed.conditions() == start, f"not as before after a kill {at}"


def test_an_adopted_rollback_goes_on(world: World) -> None:
    start = world.again().conditions()
    deep = max(
        n for n, at in enumerate(whole_moments(world)) if at.startswith("after result start-etcd")
    )
    for at, killed in lost(world, undo_after=deep):
        killed.adopt()
        if fold(killed.journal.events).state != "rolled-back":
            assert killed.session(undo=True) is not None, at
        assert killed.conditions() == start, f"not as before after a kill {at}"
        check_always(killed, at)


@pytest.mark.parametrize("undo", [False, True], ids=["resume", "rollback"])
def test_a_journal_cut_at_every_event_is_mended(world: World, undo: bool) -> None:
    whole = world.again()
    assert whole.session() is not None
    wanted, start = whole.conditions(), world.again().conditions()
    fatal = whole.moments.names.index("after result start-etcd m2")
    killed = world.again()
    killed.session(fatal=fatal)
    events, nodes = len(killed.journal.events), killed.cluster.snapshot()
    seen = {k: h.seen for k, h in fold(killed.journal.events).hosts.items() if h.attempts}
    journal = killed.journal.events
    for kept in range(1, events + 1):
        mended = world.again()
        mended.cluster.nodes = copy.deepcopy(nodes)
        mended.journal = MortalJournal.of(journal[:kept])
        state = mended.session(undo=undo)
        at = f"cut after {kept} of {events}"
        assert state is not None and state.state == ("rolled-back" if undo else "done"), at
        assert mended.conditions() == (start if undo else wanted), at
        learned = {k: h.seen for k, h in state.hosts.items() if k in seen and h.attempts}
        assert all(seen[k] == s for k, s in learned.items()), f"other observations {at}"
        check_always(mended, at)
        # The events that took the numbers of the lost ones are no forgery.
        compare(mended.journal, {h: n.history for h, n in mended.records().items()}, {})
        assert fold(mended.journal.events).compared["differ"] == {}, at


def test_an_intact_journal_learns_nothing(world: World) -> None:
    for fatal, at in list(enumerate(whole_moments(world)))[::5]:
        killed = world.again()
        killed.session(fatal=fatal)
        killed.session()
        assert not [e for e in killed.journal.events if e.body.get("learned")], at


def adopted_in_the_middle(world: World) -> tuple[World, MortalJournal, MortalJournal]:
    """A run whose controller died within the exchange, that journal (which it has), and the one
    that another machine rebuilt."""
    deep = next(n for n, at in enumerate(whole_moments(world)) if at == "after intent swap m2")
    killed = world.again()
    killed.session(fatal=deep)
    old = killed.journal
    killed.adopt()
    new, killed.journal = killed.journal, old
    return killed, old, new


def test_the_old_machine_is_turned_away(world: World) -> None:
    killed, old, new = adopted_in_the_middle(world)
    before = killed.conditions()
    # adopted, but nobody has gone on there yet: the old machine may; then the adopter is told
    killed.journal = new
    assert killed.session() is not None
    done = killed.conditions()
    killed.journal = old
    for undo in (False, True):
        with pytest.raises(LockHeld, match="was taken over by"):
            killed.session(undo=undo)
    assert killed.conditions() == done != before


def test_who_adopts_is_told_when_the_old_machine_came_back_first(world: World) -> None:
    killed, _, new = adopted_in_the_middle(world)
    again = next(n for n, at in enumerate(whole_moments(world)) if at.startswith("after claiming"))
    killed.session(fatal=again + 12)
    killed.journal = new
    with pytest.raises(DrctlError, match="was taken over by"):
        killed.session()


def test_clean_is_killed_at_every_moment_and_ends(world: World) -> None:
    whole = world.again()
    assert whole.session() is not None
    assert whole.session(clean=True) is not None
    wanted, names = whole.conditions(), whole.moments.names
    assert not any(node.kept for node in whole.cluster.nodes.values())
    for fatal, at in enumerate(names):
        for lost in (False, True):
            killed = world.again()
            assert killed.session() is not None
            assert killed.session(fatal=fatal, clean=True) is None
            if lost:
                killed.adopt()
            begun = any(node.effects["discard"] for node in killed.cluster.nodes.values())
            state = fold(killed.journal.events)
            assert state.state == "done", at
            assert bool(state.cleaned) or not begun, f"{at}: a rollback would not be refused"
            assert killed.session(clean=True) is not None, at
            assert killed.conditions() == wanted, at
            assert all(n.effects["discard"] <= 1 for n in killed.cluster.nodes.values()), at
