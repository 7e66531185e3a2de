"""How a run has left the cluster is told from what its steps are about, not from their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drctl.journal.diagnosis import situation
from drctl.journal.runstate import Event, RunState, fold
from drctl.plan.model import Plan, PlannedStep, Task

HOSTS = ("a", "b")


def step(name: str, **about: Any) -> PlannedStep:
    tasks = {host: Task() for host in HOSTS}
    return PlannedStep(name, "one", name, "service", "x", tasks, **about)


DOWN = step("down", service="k3s", want="fenced", role="client")
STORE_DOWN = step("store-down", service="kine", want="fenced", role="store")
RESET = replace(step("reset", role="exchange"), verb="run", template="k3s/reset")
UP = step("up", service="kine", want="running", role="store")
SERVE = step("serve", service="k3s", want="running", role="client")
PROOF = PlannedStep("proof", "one", "look", "gather", "x", {}, judges=("own.judge",))
OWN = (DOWN, STORE_DOWN, RESET, UP, PROOF, SERVE)


def after(steps: tuple[PlannedStep, ...], done: str, *, half: bool = False) -> RunState:
    """The state of a run that failed after `done`, which `half` was done on the first host only."""
    plan = Plan("own", "c", steps).record()
    body = {"run": "r", "cluster": "c", "runbook": "own", "inventory": "i", "plan": plan}
    state = fold([Event(1, "2026-01-01T00:00:00+00:00", "run-started", {**body, "values": {}})])
    state.state, state.claimed = "failed", True
    for one in steps:
        last = one.id == done
        for host in HOSTS[:1] if half and last else HOSTS:
            state.intend(one.id, host, 1).state = "done"
        state.steps_done |= set() if half and last else {one.id}
        if last:
            break
    return state


@pytest.mark.parametrize(
    ("done", "word"),
    [
        ("down", "services-stopped"),
        ("store-down", "down-with-old-data"),
        ("reset", "down-with-restored-data"),
        ("up", "not-verified"),
        ("proof", "verified"),
        ("serve", "starting-kubernetes"),
    ],
)
def test_a_restore_of_another_distribution_is_told_as_well(done: str, word: str) -> None:
    assert situation(after(OWN, done)).word == word


def test_what_nothing_looked_at_is_not_verified() -> None:
    unproven = tuple(one for one in OWN if one is not PROOF)
    assert situation(after(unproven, "up")).word == "not-verified"


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        (OWN, "done"),
        ((DOWN, STORE_DOWN, RESET, UP, SERVE), "own-runbook-done"),
        ((DOWN, PROOF, SERVE), "own-runbook-done"),
    ],
)
def test_only_an_exchange_that_was_looked_at_is_a_restored_cluster(
    steps: tuple[PlannedStep, ...], word: str
) -> None:
    state = after(steps, "serve")
    state.state = "done"
    assert situation(state).word == word


def test_half_an_exchange_is_two_clusters() -> None:
    assert situation(after(OWN, "reset", half=True)).word == "mixed"


def test_a_runbook_without_data_says_what_it_keeps_stopped() -> None:
    steps = (DOWN, step("other", service="nginx", want="fenced", role="client"), SERVE)
    told = situation(after(steps, "other"))
    assert told.word == "own-runbook"
    assert {"fenced: k3s on a, b", "fenced: nginx on a, b"} <= set(told.details)
    half = situation(after(steps, "serve", half=True))
    assert {"fenced: k3s on b", "fenced: nginx on a, b"} <= set(half.details)
