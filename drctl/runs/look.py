"""Looking at a cluster without a run: plans of gathers only, journalled in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from drctl.inventory import Inventory
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan
from drctl.runs.basis import Basis
from drctl.runs.beginning import begin
from drctl.runs.controller import Controller
from drctl.runs.execute import engine_over
from drctl.runs.stray_copies import swept
from drctl.ui.console import tell
from drctl.ui.documents import snapshot_lines


def look(
    controller: Controller,
    inventory: Inventory,
    plan: Plan,
    *,
    remove: bool = False,
    gone: Iterable[str] = (),
) -> RunState:
    """Run a plan that changes nothing; raises what its judges refuse. `remove` and `gone` say what
    becomes of copies that a backup left on the hosts (`swept`)."""
    journal = Journal(None)
    with closing(journal), closing(controller.connect(inventory)) as transport:
        begin(journal, plan, run="check", runbook=plan.runbook, inventory=str(inventory.path))
        with (
            swept(transport, plan, journal, remove=remove, gone=gone),
            engine_over(controller, transport, plan, journal) as engine,
        ):
            return engine.run()


def findings(
    controller: Controller,
    inventory: Inventory,
    runbook: str,
    snapshot: Path | None,
    accept_drift: Collection[str] = (),
) -> dict[str, Any]:
    """What a shipped runbook of checks found, as plain JSON data: `findings` and `warnings` as
    sentences, and the snapshot's facts. `accept_drift` names what may differ from the inventory
    (`drctl.runs.drift.IN_STEP_1`). Raises InvalidInput for an invalid local file, and what
    the judges refuse."""
    basis = Basis.new(inventory, runbook, snapshot, {"accept_drift": [*accept_drift]})
    if basis.snapshot and not controller.quiet:
        tell("\n".join(snapshot_lines(basis.snapshot)))
    state = look(controller, inventory, basis.plan(inventory))
    return {
        "ok": True,
        "findings": state.findings,
        "warnings": state.warnings,
        "snapshot": state.plan["facts"].get("snapshot"),
    }
