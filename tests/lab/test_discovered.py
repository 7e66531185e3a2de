"""On the embedded lab: an inventory that `drctl inventory discover` wrote restores unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drctl.inventory import load_inventory
from drctl.lab.layout import Lab
from tests.lab.test_restore import prove_restored, write_later
from tests.support.operator import Operator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def test_what_was_discovered_restores_unchanged(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], tmp_path: Path
) -> None:
    """From the lab's own file come hosts and how services are stopped; the rest is asked again."""
    path = tmp_path / "found.yaml"
    found = operator.types(
        "inventory", "discover", "--from", str(lab.inventory), "--write", str(path)
    )
    assert found.returncode == 0, found.stderr
    mine, theirs = load_inventory(path), load_inventory(lab.inventory)
    assert mine.members == theirs.members
    assert mine.services == theirs.services
    discovered = replace(operator, inventory=path)
    looked = discovered.types("preflight", *discovered.on)
    assert looked.returncode == 0, looked.stderr
    write_later(lab)
    restored = discovered.restore(snapshot, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr
    prove_restored(lab, discovered, saved)
    assert discovered.types("verify", *discovered.on).returncode == 0


def test_one_host_names_the_others_and_what_no_node_tells_is_asked(
    lab: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Nothing on a node says how its supervisor is to be told to stop etcd for good."""
    hosts = load_inventory(lab.inventory).hosts
    first = next(iter(hosts.values()))
    path = tmp_path / "found.yaml"
    way = ("--user", first.user, "--port", first.port, "--key", first.key, "--become", "none")
    known = ("--known-hosts", lab.inventory.with_name("known_hosts"), "--yes", "--write", path)
    words = ("inventory", "discover", "--host", first.address, *way, *known)
    found = operator.types(*map(str, words))
    assert found.returncode == 4, found.stderr
    text = path.read_text()
    assert all(f"address: {host.address}  # " in text for host in hosts.values())
    refused = operator.types("inventory", "validate", str(path))
    assert refused.returncode == 3
    faults = [line.partition("found.yaml:")[2] for line in refused.stderr.splitlines()]
    faults = [fault for fault in faults if "open question: " in fault]
    lines = {fault.split(": ")[1]: int(fault.partition(":")[0]) for fault in faults}
    # Its hosts have directories of their own, and no node knows by which name it is in there.
    assert [*lines] == ["etcd.tls", "etcd.bin_dir", "services.etcd.units"]
    for at, line in lines.items():
        assert text.splitlines()[line - 1].strip() == f'{at.rpartition(".")[2]}: "?"'
