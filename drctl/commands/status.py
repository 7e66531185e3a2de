"""Members and endpoints, each asked through its own endpoint: `drctl status`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drctl.errors import HostUnavailable
from drctl.inventory import Inventory
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.look import look


def status(controller: Controller, inventory: Inventory) -> dict[str, Any]:
    """`cluster_id`, `members` and `alarms` (sizes in bytes), and `warnings`: a line for each thing
    that is not well, none where the cluster is. Raises HostUnavailable where no host answered."""
    quiet = replace(controller, quiet=True)
    state = look(quiet, inventory, Basis.new(inventory, "status").plan(inventory))
    unreached = [f"{host}: {why}" for host, why in state.unreached.items()]
    if len(unreached) == sum(1 for member in state.values["members"] if member["host"]):
        raise HostUnavailable("\n  ".join(["no member's host is reachable", *unreached]))
    document = {name: state.values[name] for name in ("cluster_id", "members", "alarms")}
    return {**document, "warnings": list(state.warnings)}
