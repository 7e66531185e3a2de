"""An unfinished run, resumed: `drctl restore --resume`, and `drctl run --resume`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drctl.errors import UsageError
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState, fold
from drctl.nodes.catch_up import learn
from drctl.nodes.comparison import refuse_if_followed
from drctl.plan.model import Plan
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.drift import IN_STEP_1, journal_accepted, plan_again
from drctl.runs.execute import execute
from drctl.runs.explained import explained
from drctl.runs.facts import prepare_facts_again, snapshot_again
from drctl.runs.leftovers import give_back
from drctl.runs.refusals import refuse_unless_resumable
from drctl.runs.seals import sealed_anew
from drctl.runs.undo import plans_after


def resume(
    controller: Controller,
    inventory: Inventory,
    run: str | None,
    snapshot: Path | None,
    *,
    accept_drift: Collection[str] = (),
) -> tuple[Plan, RunState]:
    """Resume `run`, by default the cluster's latest; with `snapshot` where that file is now.

    Raises UsageError where nothing is left to do, Drifted where the run's plan no longer means the
    same and that is not accepted, Refused where it is being rolled back, where the nodes remember
    another journal or where a later run followed, LockHeld where another machine took it over, and
    what else ended the run.
    """
    with controller.alone(inventory) as transport:
        run = run or _latest_unfinished(controller, inventory.cluster)
        with explained(controller.store.open(inventory.cluster, run)) as journal:
            state = fold(journal.events)
            refuse_unless_resumable(state)
            basis = _basis(controller, inventory, state, snapshot, accept_drift)
            plan = plan_again(
                inventory,
                basis,
                state,
                "forward",
                accepted=accept_drift,
                hint="put it back",
            )
            give_back(controller, inventory, transport, but=run)
            learn(
                transport,
                journal,
                plan,
                plans_after(basis.planner(inventory), plan),
                accept_drift=accept_drift,
                parallel=controller.at_once(inventory),
            )
            journal_accepted(journal, state, plan, accept_drift)
            refuse_unless_resumable(fold(journal.events))
            refuse_if_followed(fold(journal.events))
            return plan, execute(controller, transport, plan, journal, "forward")


def _latest_unfinished(controller: Controller, cluster: str) -> str:
    latest = controller.store.latest(cluster)
    if latest is None or not latest.unfinished:
        raise UsageError(f"no run of {cluster} is unfinished", hint="drctl runs list")
    return latest.run


def _accepted(options: Mapping[str, Any], more: Collection[str]) -> list[str]:
    """What the nodes may differ in stays accepted; what changed since is accepted each time."""
    before = [name for name in options.get("accept_drift", ()) if name.startswith(IN_STEP_1)]
    return list(dict.fromkeys([*before, *more]))


def _basis(
    controller: Controller,
    inventory: Inventory,
    state: RunState,
    snapshot: Path | None,
    accept_drift: Collection[str],
) -> Basis:
    """What the run still needs of this machine's files is read again, its secrets are demanded."""
    recorded = Basis.recorded(state)
    options = sealed_anew(controller, state)
    return replace(
        recorded,
        snapshot=snapshot_again(state, snapshot),
        options={**options, "accept_drift": _accepted(options, accept_drift)},
        prepare=prepare_facts_again(inventory, recorded.runbook, state),
    )
