"""Is this one healthy cluster, and does every service answer? `drctl verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drctl.inventory import Inventory
from drctl.runs.controller import Controller
from drctl.runs.look import findings


def verify(controller: Controller, inventory: Inventory, snapshot: Path | None) -> dict[str, Any]:
    """What was seen, as `findings` has it, with the snapshot's facts beside. Raises
    NotProven where the cluster is not well, InvalidInput for an invalid snapshot.
    """
    return findings(controller, inventory, "verify", snapshot)
