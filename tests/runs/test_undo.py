"""What a rollback's plan knows of the run that it takes back."""

from __future__ import annotations

import pytest

from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.plan.runbook import load_runbook
from drctl.runs.undo import rollback_plan
from tests.model.harness import INVENTORY
from tests.plan.test_plan import planner


@pytest.mark.parametrize(
    ("begun", "let_in"),
    [
        (["stop-apiserver", "start-etcd"], []),
        (["start-etcd", "start-apiserver"], ["apiserver running"]),
        (["restart-kubelet"], ["kubelet restarted"]),
    ],
)
def test_a_client_that_was_started_was_let_in(begun: list[str], let_in: list[str]) -> None:
    maker = planner(load_inventory(INVENTORY))
    forward = maker.plan(load_runbook("restore"))
    state = RunState(run="r", plan=forward.record(), claimed=True)
    for step in begun:
        for host in forward.step(step).hosts:
            state.of(step, host).attempts = 1
    plan = rollback_plan(maker, forward, state)
    assert plan.facts["let_in"] == let_in
    kubelets = [step for step in plan.steps if step.id == "rb-kubelets"]
    assert bool(kubelets) is ("apiserver running" in let_in)
