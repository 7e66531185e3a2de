"""The trust step's conversation: fingerprints shown, compared by a person, recorded."""

from __future__ import annotations

from pathlib import Path

from drctl.cli.common import Options, confirmed
from drctl.errors import Aborted
from drctl.inventory import Inventory
from drctl.ssh import ScannedKey, home, record_host_keys, scan_host_keys
from drctl.ui.console import print_json, print_table, tell


def show_and_record(options: Options, inventory: Inventory, *, yes: bool) -> None:
    """Scan, show, ask, record into the inventory's known_hosts or the user's own."""
    target = inventory.known_hosts or home() / ".ssh" / "known_hosts"
    keys = scan_host_keys(inventory.hosts, known_hosts=inventory.known_hosts)
    if not options.json:
        _show(keys)
    new = [key for key in keys if key.known != "same"]
    if new and not yes and not _agreed(len(new), target):
        raise Aborted("nothing was recorded")
    added = record_host_keys(target, new) if new else []
    if options.json:
        print_json([{**vars(key), "recorded": key in added} for key in keys])
    else:
        tell(f"{len(added)} keys recorded in {target}" if added else "nothing new")


def _show(keys: list[ScannedKey]) -> None:
    columns = ("host", "address", "port", "key", "fingerprint (SHA256)", "known")
    print_table(
        columns,
        ((k.host, k.address, k.port, k.key_type, k.fingerprint_sha256, k.known) for k in keys),
    )


def _agreed(count: int, target: Path) -> bool:
    question = f"compare them with the machines' consoles; record {count} keys in {target}?"
    return confirmed(question)
