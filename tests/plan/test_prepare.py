"""The local files for new hosts: every fault at the inventory's line, before anything connects."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.inventory import load_inventory
from drctl.plan.prepare import installation
from tests.model.harness import BLANK
from tests.support.handed import hand_over, program, sign

ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory whose local files are all there and good."""
    text = BLANK.read_text().replace("./{host}.pem", "./etcd.pem")
    path = tmp_path / "inv.yaml"
    path.write_text(text.replace("./{host}-key.pem", "./etcd-key.pem"))
    hand_over(tmp_path, ADDRESSES)
    return path


def faults(inventory: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        installation(load_inventory(inventory))
    assert caught.value.exit_code == 3
    return [str(fault).removeprefix(f"{inventory}:") for fault in caught.value.faults]


def test_the_facts_name_files_and_digests_and_hold_nothing_of_a_key(inventory: Path) -> None:
    facts = installation(load_inventory(inventory))
    files = {file["name"]: file for file in facts["hosts"]["m2"]["files"]}
    assert list(files) == ["etcd", "etcdctl", "etcdutl", "ca", "cert", "key"]
    assert files["etcd"] == {
        "name": "etcd",
        "source": str(inventory.parent / "binaries/etcd"),
        "path": "/opt/etcd/bin/etcd",
        "mode": "755",
        "owner": "",
        "sha256": hashlib.sha256(program()).hexdigest(),
    }
    assert (files["key"]["mode"], files["key"]["owner"]) == ("600", "etcd:etcd")
    assert facts["arch"] == "x86_64" and facts["warnings"] == []
    assert facts["hosts"]["m2"]["unit"] == "/etc/systemd/system/etcd.service"
    secret = (inventory.parent / "etcd-key.pem").read_text().splitlines()[1]
    assert secret not in str(facts)


def test_a_member_listens_at_addresses_only(inventory: Path) -> None:
    text = inventory.read_text().replace(
        "tls: {", 'peer_url: "https://{host}.example.org:2380"\n  tls: {'
    )
    inventory.write_text(text)
    names = [f"m{n}.example.org" for n in (1, 2, 3)]
    for file in (
        "ca.pem",
        "etcd.pem",
        "etcd-key.pem",
        *(f"binaries/{t}" for t in ("etcd", "etcdctl", "etcdutl")),
    ):
        (inventory.parent / file).unlink()
    (inventory.parent / "binaries").rmdir()
    hand_over(inventory.parent, [*ADDRESSES, *names])
    host = installation(load_inventory(inventory))["hosts"]["m1"]
    assert host["listen_peer_urls"] == ["https://0.0.0.0:2380"]
    assert host["listen_client_urls"] == ["https://127.0.0.11:2379"]


def test_what_is_missing(inventory: Path) -> None:
    folder = inventory.parent
    (folder / "binaries/etcdutl").unlink()
    (folder / "etcd-key.pem").unlink()
    assert faults(inventory) == [
        f"15: prepare.binaries: {folder}/binaries/etcdutl: no such file or directory",
        f"16: prepare.certificates.key: {folder}/etcd-key.pem: no such file or directory",
    ]


def test_what_is_no_folder_and_no_program(inventory: Path) -> None:
    folder = inventory.parent
    (folder / "binaries/etcd").write_text("#!/bin/sh\n")
    (folder / "binaries/etcdctl").write_bytes(program(183))
    assert faults(inventory) == [
        f"15: prepare.binaries: {folder}/binaries/etcd is not a Linux program (ELF)",
        "15: prepare.binaries: etcd, etcdctl and etcdutl are built for different CPUs",
    ]
    for tool in (folder / "binaries").iterdir():
        tool.unlink()
    (folder / "binaries").rmdir()
    assert faults(inventory) == [
        (f"15: prepare.binaries: {folder}/binaries is not a directory on this machine")
    ]


def test_certificates_that_do_not_cover_the_new_addresses(inventory: Path) -> None:
    folder = inventory.parent
    ca = sign("ca", ca=True, ends=datetime.now(UTC) + timedelta(days=100))
    cert = sign("x", by=ca, hosts=ADDRESSES[:2], ends=datetime.now(UTC) + timedelta(days=20))
    (folder / "etcd.pem").write_bytes(cert.pem)
    (folder / "etcd-key.pem").write_bytes(cert.key())
    found = faults(inventory)
    named = f"16: prepare.certificates.cert: {folder}/etcd.pem, for"
    assert f"{named} m3: does not name 127.0.0.13, only 127.0.0.11, 127.0.0.12" in found
    assert [f for f in found if "m3" not in f] == [
        f"{named} m1: is not signed by the CA",
        f"{named} m2: is not signed by the CA",
    ]


def test_what_expires_soon_is_a_warning(inventory: Path) -> None:
    for path in ("etcd.pem", "etcd-key.pem", "ca.pem"):
        (inventory.parent / path).unlink()
    for tool in (inventory.parent / "binaries").iterdir():
        tool.unlink()
    (inventory.parent / "binaries").rmdir()
    hand_over(inventory.parent, ADDRESSES, ends=datetime.now(UTC) + timedelta(days=3))
    (warning,) = installation(load_inventory(inventory))["warnings"]
    assert warning.startswith(f"{inventory.parent}/etcd.pem expires at ")
