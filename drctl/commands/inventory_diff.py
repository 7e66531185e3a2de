"""What runs on the nodes, held against the inventory: `drctl inventory diff`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from drctl.inventory import Inventory
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.look import look


def inventory_diff(
    controller: Controller, inventory: Inventory, snapshot: Path | None
) -> dict[str, Any]:
    """`differences` (as `drctl.reading.Difference.document` has them), `warnings` and `findings` as
    sentences. Raises InvalidInput for an invalid snapshot, Refused where a host answers what its
    programs cannot be."""
    quiet = replace(controller, quiet=True)
    state = look(quiet, inventory, Basis.new(inventory, "compare", snapshot).plan(inventory))
    return {
        "differences": state.values["differences"],
        "warnings": state.warnings,
        "findings": [line for lines in state.findings.values() for line in lines],
    }
