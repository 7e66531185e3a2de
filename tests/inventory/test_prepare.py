"""The section `prepare`: what it means, and every mistake it can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from drctl.inventory import load_inventory
from tests.inventory.conftest import GOOD, Faults, Write

CERTS = "certificates: {ca: ./ca.pem, cert: 'pki/{host}.pem', key: 'pki/{address}-key.pem'}"
WHOLE = f"prepare: {{binaries: ./bin, {CERTS}}}\n"


def test_paths_start_at_the_file_s_folder_and_placeholders_are_filled(write: Write) -> None:
    path = write(GOOD + WHOLE)
    prepare = load_inventory(path).prepare
    assert prepare and prepare.hosts == ("m1", "m2", "m3")
    assert prepare.binaries == path.parent / "bin"
    assert prepare.certificates["m2"].ca == path.parent / "ca.pem"
    assert prepare.certificates["m2"].cert == path.parent / "pki/m2.pem"
    assert prepare.certificates["m2"].key == path.parent / "pki/10.0.0.12-key.pem"


def test_some_hosts_and_flags(write: Write) -> None:
    more = "hosts: [m3, m1], flags: {snapshot-count: 5000, pre-vote: true, log-level: warn}"
    inventory = load_inventory(write(GOOD + f"prepare: {{binaries: ~/bin, {CERTS}, {more}}}\n"))
    prepare = inventory.prepare
    assert prepare and prepare.hosts == ("m1", "m3") == inventory.host_group("prepare")
    assert prepare.binaries == Path("~/bin").expanduser()
    assert set(prepare.certificates) == {"m1", "m3"}
    assert prepare.flags == {"snapshot-count": "5000", "pre-vote": "true", "log-level": "warn"}


def test_without_the_section_no_host_is_prepared(write: Write) -> None:
    inventory = load_inventory(write(GOOD))
    assert inventory.prepare is None and inventory.host_group("prepare") == ()


MISTAKES = [
    # lines from line 13 on -> all faults that follow
    ("prepare: {}",
     ["13: prepare.binaries: the key 'binaries' is missing"]),
    ("prepare: {binaries: ./bin}",
     ["13: prepare: certificates are missing: https needs certificates: {ca, cert, key}"]),
    ("prepare: {binaries: ./bin, certificates: {ca: a}}",
     ["13: prepare.certificates.cert: the key 'cert' is missing",
      "13: prepare.certificates.key: the key 'key' is missing"]),
    (f"prepare: {{binaries: -x, {CERTS}}}",
     ["13: prepare.binaries: must not begin with '-': '-x'"]),
    ("prepare: {binaries: b, certificates: {ca: '{unit}', cert: c, key: k}}",
     ["13: prepare.certificates.ca: unknown placeholder {unit}; known here: {host} and {address}"]),
    (f"prepare:\n  binaries: b\n  {CERTS}\n  hosts: [m1, m9]",
     ["16: prepare.hosts[1]: unknown group or host 'm9'"]),
    (f"prepare: {{binaries: b, {CERTS}, hosts: workers}}",
     ["13: prepare.hosts[0]: w1: only hosts in the group 'etcd' can be prepared"]),
    (f"prepare: {{binaries: b, {CERTS}, flags: {{data-dir: /x, initial-cluster-state: new}}}}",
     ["13: prepare.flags.data-dir: drctl sets this from the rest of the inventory: leave it out",
      "13: prepare.flags.initial-cluster-state: drctl sets this from the rest of the inventory: "
      "leave it out"]),
    (f"prepare: {{binaries: b, {CERTS}, flags: {{--log-level: warn}}}}",
     ["13: prepare.flags.--log-level: must not begin with '-': '--log-level'"]),
    (f"prepare: {{binaries: b, {CERTS}, flags: {{log-level: 'a b'}}}}",
     ["13: prepare.flags.log-level: 'a b' is not a valid value for a flag (no blanks, quotes, '%' "
      "or '$')"]),
    (f"prepare: {{binaries: b, {CERTS}}}\nservices: {{etcd: {{units: [etcd, etcd-b]}}}}",
     ["13: prepare: drctl installs one unit, but the service etcd lists etcd, etcd-b"]),
    (f"prepare: {{binaries: b, {CERTS}}}\nservices: {{etcd: {{manager: command}}}}\n"
     "commands: {start: a, stop: b, running: c, fence: d, unfence: e, fenced: f}",
     ["13: prepare: drctl installs systemd units only, and etcd has another service manager"]),
    (f"prepare: {{binaries: b, {CERTS}}}\netcd: {{client_url: 'http://{{address}}:2379'}}",
     ["13: prepare: m1 has both http and https URLs: drctl cannot prepare that"]),
    (f"prepare: {{binaries: b, {CERTS}}}\n"
     "etcd: {client_url: 'http://{address}:2379', peer_url: 'http://{address}:2380'}",
     ["13: prepare.certificates: not needed: the members' URLs are http"]),
    (f"prepare: {{binaries: b, {CERTS}}}\netcd: {{data_dir: /etc/kubernetes}}",
     ["13: prepare: on m1 /etc/kubernetes/ssl/ca.pem is inside /etc/kubernetes, "
      "which belongs to etcd"]),
    (f"prepare: {{binaries: b, {CERTS}}}\netcd: {{tls: {{ca: /a, cert: /a, key: /b}}}}",
     ["13: prepare: on m1 two files would be installed at /a"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), MISTAKES)
def test_mistakes(faults: Faults, lines: str, expected: list[str]) -> None:
    assert faults(f"{GOOD}{lines}\n") == expected


@pytest.mark.parametrize(
    ("group", "hosts"),
    [("prepare", "that section's hosts"), ("abandoned", "the hosts of --abandon")],
)
def test_no_group_has_a_reserved_name(faults: Faults, group: str, hosts: str) -> None:
    (fault,) = faults(GOOD.replace("workers: [w1]", f"workers: [w1]\n  {group}: [m1]"))
    assert fault == (
        f"13: groups.{group}: {group!r} always means {hosts}: choose another group name"
    )
