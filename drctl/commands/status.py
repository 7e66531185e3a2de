"""Members and endpoints, each asked through its own endpoint: `drctl status`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drctl.errors import HostUnavailable
from drctl.inventory import Inventory
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.look import look
from drctl.ui.console import tell


def status(controller: Controller, inventory: Inventory) -> dict[str, Any]:
    """`cluster_id`, `members` and `alarms` (sizes in bytes); hosts that did not answer are reported
    on the way. Raises HostUnavailable where none did."""
    quiet = replace(controller, quiet=True)
    state = look(quiet, inventory, Basis.new(inventory, "status").plan(inventory))
    unreached = [f"{host}: {why}" for host, why in state.unreached.items()]
    if len(unreached) == len(state.values["members"]):
        raise HostUnavailable("\n  ".join(["no member's host is reachable", *unreached]))
    for line in unreached:
        tell(f"warning: {line}")
    return {name: state.values[name] for name in ("cluster_id", "members", "alarms")}
