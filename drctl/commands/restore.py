"""A new run of a runbook: `drctl restore`, and `drctl run` for one of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drctl.errors import OtherVersion
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan
from drctl.plan.runbook import shipped_runbooks
from drctl.runs.basis import Basis
from drctl.runs.beginning import begin, new_run_id
from drctl.runs.controller import Controller
from drctl.runs.execute import execute
from drctl.runs.explained import explained
from drctl.runs.leftovers import give_back
from drctl.runs.measured import outages
from drctl.runs.readback import refuse_given_twice, refuse_unreadable_beginning
from drctl.runs.refusals import refuse_if_unfinished
from drctl.runs.seals import sealed
from drctl.ui.console import tell


def restore(
    controller: Controller,
    inventory: Inventory,
    runbook: str,
    snapshot: Path | None,
    options: Mapping[str, Any],
) -> tuple[Plan, RunState]:
    """`runbook` is a shipped one's name or a path, `options` what the operator asked for
    (`drctl.nodes.files.Options`).

    Raises Refused where a run of the cluster is unfinished or a check fails before the first
    change, InvalidInput for an invalid file or value, and what else ended the run.
    """
    with controller.alone(inventory) as transport:
        latest = controller.store.latest(inventory.cluster, changed=True, pass_over=_warn)
        refuse_if_unfinished(latest)
        options = sealed(controller, options)
        plan = Basis.new(inventory, runbook, snapshot, options).plan(inventory)
        if runbook not in shipped_runbooks():
            runbook = str(Path(runbook).absolute())  # a resume may run in another directory
        known = outages(controller.store, inventory.cluster, runbook)
        plan = replace(plan, facts={**plan.facts, "outages": known})
        run = new_run_id()
        names = {"run": run, "runbook": runbook, "inventory": str(inventory.path)}
        refuse_given_twice(plan)
        refuse_unreadable_beginning(plan, controller.who, **names)
        with explained(controller.store.create(inventory.cluster, run)) as journal:
            begin(journal, plan, **names)
            give_back(controller, inventory, transport, but=run)
            return plan, execute(controller, transport, plan, journal, "forward")


def _warn(error: OtherVersion) -> None:
    """Whether a run of another drctl is over is not known here; the nodes say who locked them."""
    tell(f"warning: {error}")
