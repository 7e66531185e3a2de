"""Everything that can be checked before a restore: `drctl preflight`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from drctl.commands.restore import restore
from drctl.inventory import Inventory
from drctl.runs.controller import Controller
from drctl.runs.look import findings


def preflight(
    controller: Controller,
    inventory: Inventory,
    snapshot: Path | None,
    accept_drift: Collection[str] = (),
) -> dict[str, Any]:
    """The hosts, and the snapshot against them, as `findings` has it. Raises InvalidInput for an
    invalid local file, Refused and HostUnavailable where a restore would be refused."""
    return findings(controller, inventory, "preflight", snapshot, accept_drift)


def preflight_with_tries(
    controller: Controller,
    inventory: Inventory,
    snapshot: Path | None,
    accept_drift: Collection[str] = (),
) -> dict[str, Any]:
    """The same, and what a restore tries before its first stop: locked, tried, removed, released.

    It is a run of its own, so that it can be resumed or rolled back where it was killed. Raises
    LockHeld where another run holds a node, and what else a restore would raise until there.
    """
    _, state = restore(controller, inventory, "try", snapshot, {"accept_drift": [*accept_drift]})
    return {
        "ok": True,
        "findings": state.findings,
        "warnings": state.warnings,
        "snapshot": state.plan["facts"].get("snapshot"),
    }
