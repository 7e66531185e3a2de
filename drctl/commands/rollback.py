"""A run rolled back: `drctl rollback`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from drctl.errors import UsageError
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState, fold
from drctl.nodes.catch_up import began, learn
from drctl.nodes.comparison import refuse_if_followed
from drctl.plan.model import Plan
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.drift import journal_accepted, plan_again, refuse_drift
from drctl.runs.execute import execute
from drctl.runs.explained import explained
from drctl.runs.leftovers import give_back
from drctl.runs.refusals import refuse_if_taken_back, refuse_unless_returnable
from drctl.runs.seals import sealed_anew
from drctl.runs.undo import plans_after
from drctl.transport import Transport

NEEDED = "put it back: a rollback needs the run's own inventory and runbook"


def rollback(
    controller: Controller,
    inventory: Inventory,
    run: str | None,
    *,
    lose_writes: bool = False,
    accept_drift: Collection[str] = (),
    without: Collection[str] = (),
) -> tuple[Plan, RunState]:
    """Roll `run` back, by default the latest of the cluster that changed anything.

    `lose_writes`: the operator agreed to lose what was written since, or is there to be asked.
    `accept_drift`: names of what may differ (`drctl.runs.drift`). `without`: hosts that are not
    contacted at all.

    Raises UsageError where there is nothing to roll back, Drifted where the plan means something
    else, Refused where old data was removed, writes would be lost or a later run followed, LockHeld
    where another machine took it over, and what else ended it.
    """
    with controller.alone(inventory) as transport:
        run = run or _latest(controller, inventory, transport)
        with explained(controller.store.open(inventory.cluster, run)) as journal:
            state = fold(journal.events)
            refuse_if_taken_back(state)
            options = sealed_anew(controller, state, undo=True)
            basis = replace(Basis.recorded(state), options=options)
            held: dict[str, Any] = {"accepted": accept_drift, "hint": NEEDED}
            forward = plan_again(inventory, basis, state, "undo", **held)
            how: dict[str, Any] = {"without": without, "accept_drift": accept_drift}
            planner = basis.planner(inventory)
            plan_of = plans_after(planner, forward, lose_writes=lose_writes, **how)
            give_back(controller, inventory, transport, but=run)
            learn(
                transport, journal, forward, plan_of, parallel=controller.at_once(inventory), **how
            )
            # What a journal without its tail did not know was begun is to be taken back as well.
            refuse_drift(fold(journal.events), forward, "undo", **held)
            journal_accepted(journal, state, forward, accept_drift)
            refuse_unless_returnable(fold(journal.events))
            refuse_if_followed(fold(journal.events))
            plan = plan_of("undo", fold(journal.events))
            return plan, execute(controller, transport, plan, journal, "undo")


def _latest(controller: Controller, inventory: Inventory, transport: Transport) -> str:
    """The latest run that changed anything, by its journal or by what the nodes say."""
    newest = controller.store.latest(inventory.cluster)
    latest = controller.store.latest(inventory.cluster, changed=True)
    if newest and not newest.changed:  # by its journal; but that may have lost its tail
        latest = newest if began(transport, inventory, newest.run) else latest
    if latest is None:
        nothing = f"no run has changed anything of {inventory.cluster}"
        raise UsageError(nothing, hint="drctl runs list")
    return latest.run
