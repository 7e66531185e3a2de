"""What is known of the machines when an inventory is put together: their names, what each is, and
what holds for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drctl.answer import shown
from drctl.discovery.looked import Looked, Named, host_of
from drctl.discovery.told import Listed, Machine, Role, Told
from drctl.inventory.fields import NAME
from drctl.reading import Program, Setting
from drctl.reading.pods import outside

ROLES: tuple[Role, ...] = ("etcd", "control_plane", "workers")


@dataclass(frozen=True)
class Known:
    """Everything that an inventory is made of. `silent` are hosts that gave no answer, with why;
    `unseen` those that only others name."""

    looked: tuple[Looked, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    silent_machines: tuple[Machine, ...] = ()
    unseen: tuple[Named, ...] = ()
    listed: Listed | None = None
    cluster: Told[str] | None = None
    known_hosts: Told[str] | None = None


def path_of(program: Program, path: str) -> str:
    """A path of the program's, as the host calls it."""
    return outside(path, program.mounts) if program.mounts else path


def sources_of(found: Mapping[str, Setting]) -> str:
    """Where one value of several hosts was read: of the first, and how many there are."""
    host, setting = next(iter(found.items()))
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{shown(setting.where, 110)} on {host}{more}"


def roles(looked: Looked) -> list[tuple[Role, str]]:
    """What a host is, by what runs there or would be started."""
    found: list[tuple[Role, str]] = []
    if looked.etcd:
        found.append(("etcd", looked.etcd.where))
    if apiserver := looked.program("kube-apiserver"):
        found.append(("control_plane", apiserver.where))
    elif not looked.etcd and (kubelet := looked.program("kubelet")):
        found.append(("workers", kubelet.where))
    return found


def cluster_address(looked: Looked) -> str:
    for url in looked.peer_urls:
        if host := host_of(url):
            return host
    return looked.machine.cluster_address.value if looked.machine.cluster_address else ""


def shared(machines: Sequence[Machine]) -> dict[str, Told[Any]]:
    """What holds for all hosts: `defaults`."""
    common: dict[str, Told[Any]] = {}
    for key in ("user", "port", "key", "jump", "become"):
        told = [getattr(machine, key) for machine in machines]
        same = len({each and each.value for each in told}) == 1
        only = told[0] if same and told else None
        if only is not None and not (key == "jump" and only.value in {m.name for m in machines}):
            common[key] = only
    return common


def names_of(known: Known) -> dict[str, str]:
    """Each machine's name so far, or an unseen host's address -> its name in the inventory: that of
    a file, else the machine's own, else its member's; each once."""
    hostnames = [each.hostname for each in known.looked]
    names: dict[str, str] = {}

    def take(key: str, *wanted: str) -> None:
        for name in (*wanted, "host"):
            name = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[:63]
            if re.fullmatch(NAME, name) and name not in names.values():
                names[key] = name
                return
        names[key] = f"host-{len(names) + 1}"

    listed = {machine.name for machine in known.listed.machines} if known.listed else set()
    for each in known.looked:
        own = each.hostname if hostnames.count(each.hostname) == 1 else ""
        member = each.etcd.said("name").value if each.etcd else ""
        given = [each.machine.name] if each.machine.name in listed else []
        take(each.machine.name, *given, own, member, each.machine.name)
    for machine in known.silent_machines:
        take(machine.name, machine.name)
    for one in known.unseen:
        take(one.address, one.member, one.address)
    return names
