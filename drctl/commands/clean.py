"""Old data that finished runs keep, removed on request: the clean runbook, in the journal of the
run that kept it."""

from __future__ import annotations

from dataclasses import replace

from drctl.errors import UsageError
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store
from drctl.nodes.catch_up import learn
from drctl.plan.model import Plan
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.drift import plan_again
from drctl.runs.execute import execute
from drctl.runs.explained import explained
from drctl.runs.leftovers import give_back
from drctl.runs.refusals import refuse_unless_cleanable
from drctl.runs.undo import plans_after


def clean(controller: Controller, inventory: Inventory, run: str | None) -> tuple[Plan, RunState]:
    """Remove the old data that `run` keeps, by default the latest finished run that keeps any.

    Raises Refused where that run is not finished, UsageError where nothing is kept, Drifted where
    the members' data is no longer where it was, and what else ended it.
    """
    with controller.alone(inventory) as transport:
        run = run or _latest(controller.store, inventory.cluster)
        with explained(controller.store.open(inventory.cluster, run)) as journal:
            state = fold(journal.events)
            refuse_unless_cleanable(state)
            basis = Basis.recorded(state)
            forward = plan_again(
                inventory,
                basis,
                state,
                "clean",
                hint="use the inventory of that time, or remove it by hand: drctl runs show says "
                "where",
            )
            plan_of = plans_after(basis.planner(inventory), forward)
            give_back(controller, inventory, transport, but=run)
            learn(transport, journal, forward, plan_of, parallel=controller.at_once(inventory))
            state = fold(journal.events)
            refuse_unless_cleanable(state)
            plan = plan_of("clean", state)
            later = {"followed_by": ", ".join(sorted({f["run"] for f in state.followers.values()}))}
            plan = replace(plan, facts={**plan.facts, **later})
            return plan, execute(controller, transport, plan, journal, "clean")


def _latest(store: Store, cluster: str) -> str:
    """The latest run that is done and not wholly cleaned."""
    for _, run in reversed(store.runs(cluster)):
        state = store.state(cluster, run)
        half = state.unfinished or state.direction == "clean"
        if state.changed and state.state != "rolled-back" and (half or not state.cleaned):
            return run
    raise UsageError(f"no run of {cluster} keeps old data", hint="drctl runs list")
