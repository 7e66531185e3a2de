"""What a new run would do: `drctl restore --dry-run`, and `drctl run --dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drctl.inventory import Inventory
from drctl.plan.model import Plan
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.look import look
from drctl.runs.readback import refuse_given_twice


def dry_run(
    controller: Controller,
    inventory: Inventory,
    runbook: str,
    snapshot: Path | None,
    options: Mapping[str, Any],
    *,
    offline: bool,
    show: Callable[[Plan], None],
) -> Plan:
    """The plan of such a run, its arguments as `drctl.commands.restore` takes them. It is given to
    `show` before its checks are run, which happens unless `offline`; they end as they would end
    the run, with the same errors."""
    given = {**options, "secrets": dict.fromkeys(controller.secrets.given, "given")}
    plan = Basis.new(inventory, runbook, snapshot, given).plan(inventory)
    refuse_given_twice(plan)
    show(plan)
    if not offline:
        look(controller, inventory, plan.checks())
    return plan
