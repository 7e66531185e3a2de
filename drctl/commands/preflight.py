"""Everything that can be checked before a restore: `drctl preflight`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

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
