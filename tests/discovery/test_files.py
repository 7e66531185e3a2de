"""What people have is read: kubeasz's, kubespray's and other Ansible inventories, k0sctl.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drctl.discovery.files import read_file
from drctl.discovery.told import Listed, Machine
from drctl.errors import InvalidInput

FILES = Path(__file__).parent / "files"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "hosts") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def by_name(listed: Listed) -> dict[str, Machine]:
    return {machine.name: machine for machine in listed.machines}


def faults(path: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read_file(path)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def test_kubeasz() -> None:
    listed = read_file(FILES / "clusters/prod/hosts")
    machines = by_name(listed)
    assert (listed.kind, listed.cluster and listed.cluster.value) == ("kubeasz's inventory", "prod")
    assert {name: machine.roles for name, machine in machines.items()} == {
        "192.168.1.1": ("etcd", "control_plane"),
        "192.168.1.2": ("etcd", "control_plane"),
        "192.168.1.3": ("etcd",),
        "192.168.1.4": ("workers",),
        "192.168.1.6": (),
    }
    user, own = machines["192.168.1.1"].user, machines["192.168.1.4"].user
    assert user and (user.value, user.source) == ("ops", "hosts:23: ansible_user")
    assert own and (own.value, own.source) == ("admin", "hosts:12: ansible_user")
    assert not any(machine.open for machine in listed.machines)
    (note,) = listed.notes
    assert note == "hosts gives a password for SSH or sudo: drctl uses keys only"
    assert "not to be copied" not in repr(listed)


def test_kubespray_ini() -> None:
    listed = read_file(FILES / "inventory/mycluster/inventory.ini")
    machines = by_name(listed)
    one, three = machines["node1"], machines["node3"]
    assert listed.cluster and listed.cluster.value == "mycluster"
    assert one.roles == ("etcd", "control_plane")
    assert machines["node2"].roles == ("etcd", "control_plane", "workers")
    assert one.address and one.address.value == "95.54.0.12"
    assert one.cluster_address and one.cluster_address.value == "10.3.0.1"
    assert one.key and one.key.value == "~/.ssh/kubespray"
    assert one.user and one.user.value == "core"
    assert one.jump and one.jump.value == "bastion"
    assert three.port and three.port.value == 2222
    assert three.cluster_address and three.cluster_address.value == "10.4.0.3"
    assert three.user is None  # it is in etcd only, and the user is set for k8s_cluster
    assert machines["bastion"].jump is None


def test_kubespray_yaml() -> None:
    listed = read_file(FILES / "inventory/mycluster/hosts.yaml")
    machines = by_name(listed)
    two = machines["node2"]
    assert two.roles == ("etcd", "workers")
    assert machines["node1"].roles == ("etcd", "control_plane")
    assert two.jump and two.jump.value == "ops@203.0.113.9:2200"
    assert two.user and two.user.source == "hosts.yaml:12: ansible_user"
    assert any("always checks them" in note for note in listed.notes)
    assert any("a password" in note for note in listed.notes)  # encrypted, never opened


def test_k0sctl() -> None:
    listed = read_file(FILES / "k0sctl.yaml")
    one, two, worker = listed.machines
    assert listed.cluster and listed.cluster.value == "my-k0s-cluster"
    assert one.address and one.user and one.port and one.key and one.jump and one.cluster_address
    assert (one.name, one.address.value, one.user.value) == ("10.0.0.1", "10.0.0.1", "ubuntu")
    assert (one.port.value, one.key.value, one.jump.value) == (
        2222,
        "~/.ssh/id_rsa",
        "jump@203.0.113.9",
    )
    assert one.cluster_address.value == "10.9.0.1"
    assert (two.name, two.roles) == ("two", ("etcd", "control_plane", "workers"))
    assert two.key is None
    assert two.open == ("keyPath comes from an environment variable (k0sctl.yaml:18: ssh.keyPath)",)
    assert two.user and (two.user.value, "default" in two.user.source) == ("root", True)
    assert worker.user is None  # OpenSSH decides
    assert listed.notes == ("k0sctl.yaml:21: left out, it has winRM, and drctl needs SSH",)
    assert "not to be copied" not in repr(listed)


def test_a_nearer_group_and_the_host_itself_come_first(write: Write) -> None:
    text = """\
[cp]
a ansible_port=2201
b
[control_plane:children]
cp
[cp:vars]
ansible_port=2202
ansible_user='near'
[control_plane:vars]
ansible_port = 2203
ansible_user = far
[all:vars]
ansible_user=farthest
"""
    machines = by_name(read_file(write(text)))
    ports = [machine.port and machine.port.value for machine in machines.values()]
    assert ports == [2201, 2202]
    assert {m.user and m.user.value for m in machines.values()} == {"near"}
    assert {m.roles for m in machines.values()} == {("control_plane",)}


@pytest.mark.parametrize(
    ("first", "names"),
    [
        ("n[1:3]", ["n1", "n2", "n3"]),
        ("n[08:10]x", ["n08x", "n09x", "n10x"]),
        ("n[1:5:2]", ["n1", "n3", "n5"]),
        ("[a:c][1:2]x", ["a1x", "a2x", "b1x", "b2x", "c1x", "c2x"]),
        ("2001:db8::1", ["2001-db8--1"]),
        ("[2001:db8::1]:22", ["2001-db8--1"]),
    ],
)
def test_ranges_and_addresses(write: Write, first: str, names: list[str]) -> None:
    listed = read_file(write(f"[etcd]\n{first}\n"))
    assert [machine.name for machine in listed.machines] == names


def test_an_address_that_cannot_be_a_name_is_kept(write: Write) -> None:
    (machine,) = read_file(write("[etcd]\n[2001:db8::1]:2222\n")).machines
    assert machine.address and machine.address.value == "2001:db8::1"
    assert machine.port and machine.port.value == 2222


def test_every_error_has_its_line(write: Write) -> None:
    text = """\
[etcd]
a ansible_host=-oProxyCommand=x
b ansible_port=99999
c novalue
d ansible_user='unclosed
n[3:1]
[etcd:things]
[missing:vars]
x=1
[parent:children]
nowhere
[bad section]
e ansible_user="a b"
"""
    found = faults(write(text))
    assert [line.partition(":")[0] for line in found] == [
        "2", "3", "4", "5", "6", "7", "8", "11", "12",
    ]  # fmt: skip
    assert "must not begin with '-'" in found[0]
    assert "runs backwards" in found[4]


@pytest.mark.parametrize(
    ("args", "jump"),
    [
        ("-J ops@b:22", "ops@b:22"),
        ("-o ProxyJump=b", "b"),
        ("-oProxyJump=b", "b"),
        ("-o 'ProxyJump b'", "b"),
        ("-C -o ProxyJump=b -o ControlMaster=auto", "b"),
        ("""-o ProxyCommand="ssh -W %h:%p -q ops@b" """, "ops@b"),
        ("""-o ProxyCommand="ssh -p 2200 -l ops -W %h:%p b" """, "ops@b:2200"),
    ],
)
def test_the_ways_to_name_a_jump_host(write: Write, args: str, jump: str) -> None:
    text = f"all:\n  hosts:\n    a:\n      ansible_ssh_common_args: |-\n        {args}\n"
    (machine,) = read_file(write(text, "hosts.yml")).machines
    assert machine.jump and (machine.jump.value, machine.open) == (jump, ())


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("""ansible_ssh_common_args: '-o ProxyCommand="sh /tmp/x"'""", "which drctl does not run"),
        ("ansible_ssh_common_args: -J a,b", "a chain of jump hosts"),
        ("ansible_ssh_common_args: -F other_config", "the ssh option '-F'"),
        ("ansible_host: '{{ lookup(''pipe'', ''id'') }}'", "ansible_host is computed by Ansible"),
        ("ansible_host: !vault |\n        $ANSIBLE_VAULT;1.1", "ansible_host is encrypted"),
        ("ansible_connection: local", "ansible_connection is 'local'"),
        ("ansible_ssh_private_key_file: keys/id", "relative path"),
    ],
)
def test_what_cannot_be_used_is_open(write: Write, variable: str, says: str) -> None:
    text = f"all:\n  hosts:\n    a:\n      {variable}\n"
    (machine,) = read_file(write(text, "hosts.yml")).machines
    assert says in " ".join(machine.open)
    assert machine.jump is None


def test_a_key_beside_the_file_is_found(write: Write, tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    (machine,) = read_file(write("[etcd]\na ansible_ssh_private_key_file=id\n")).machines
    assert machine.key and machine.key.value == str(tmp_path / "id")


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("#!/usr/bin/env python\n", "hosts.py", "is a program"),
        ("a: 1\n", "x.yaml", "not a file that drctl knows"),
        ("[etcd]\n", "hosts", "no host in it"),
        ("[a]\nh\n[a:children]\nb\n[b:children]\na\n", "hosts", "groups form a loop"),
        ("[etcd]\nn[1:999999]\n", "hosts", "more than 1000 hosts"),
        ("[etcd]\nn[1:999][1:999][1:999][1:999]\n", "hosts", "more than 1000 hosts"),
        ("[etcd]\nx\x1b[0m\n", "hosts", "control character"),
        ("all:\n  hosts: 7\n", "x.yml", "must be a mapping"),
        ("all: &a\n  children: {b: *a}\n", "x.yml", "alias"),
        ("apiVersion: k0sctl.k0sproject.io/v1\nspec: {hosts: [{role: king}]}\n", "k.yaml", "role"),
        ("apiVersion: k0sctl.k0sproject.io/v1\nspec: []\n", "k.yaml", "must be a mapping"),
    ],
)
def test_refused(write: Write, text: str, name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_file(write(text, name))


def test_a_directory_is_told_which_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a directory"):
        read_file(tmp_path)


def test_variables_beside_it_are_not_read_and_said(write: Write, tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    assert "group_vars beside hosts were not read" in read_file(write("[etcd]\na\n")).notes[0]
