"""Host keys, shown, compared by a person and recorded: `drctl trust`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drctl.errors import Aborted
from drctl.inventory import Inventory
from drctl.runs.controller import Controller
from drctl.ssh import ScannedKey, home, record_host_keys, scan_host_keys


@dataclass(frozen=True)
class Trusted:
    """The keys that the hosts have, those of them that were recorded, and where."""

    keys: Sequence[ScannedKey]
    recorded: Sequence[ScannedKey]
    known_hosts: Path


def trust(
    controller: Controller, inventory: Inventory, *, show: Callable[[Sequence[ScannedKey]], None]
) -> Trusted:
    """Scan the hosts, give their keys to `show`, ask, and record those that are new in the
    inventory's known_hosts or the user's own. Raises Aborted where the operator says no."""
    target = inventory.known_hosts or home() / ".ssh" / "known_hosts"
    keys = scan_host_keys(inventory.hosts, known_hosts=inventory.known_hosts)
    show(keys)
    new = [key for key in keys if key.known != "same"]
    question = f"compare them on the machines' consoles; record {len(new)} keys in {target}?"
    if new and not controller.confirm(question):
        raise Aborted("nothing was recorded")
    return Trusted(keys, record_host_keys(target, new) if new else [], target)
