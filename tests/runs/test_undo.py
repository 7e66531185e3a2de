"""What a rollback's plan knows of the run that it takes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drctl.errors import Drifted
from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.plan.runbook import load_runbook
from drctl.runs.drift import refuse_drift
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
            state.intend(step, host, 1)
    plan = rollback_plan(maker, forward, state)
    assert plan.facts["let_in"] == let_in
    kubelets = [step for step in plan.steps if step.id == "rb-kubelets"]
    assert bool(kubelets) is ("apiserver running" in let_in)


def test_a_program_that_no_undo_sends_may_be_another_one() -> None:
    forward = planner(load_inventory(INVENTORY)).plan(load_runbook("restore"))
    known: dict[str, Any] = {
        "facts": {**forward.facts, "tools": {"etcdutl": {"path": "/opt/etcdutl"}}}
    }
    then, now = (
        replace(forward, **known, meaning={**forward.meaning, "etcdutl.sha256": digest})
        for digest in ("then", "now")
    )
    state = RunState(run="r", plan=then.record(), claimed=True)
    state.intend("swap", "m1", 1)
    refuse_drift(state, now, "undo", hint="")
    with pytest.raises(Drifted, match=r"etcdutl\.sha256"):
        refuse_drift(state, now, "forward", hint="")
