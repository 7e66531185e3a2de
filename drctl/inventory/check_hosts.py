"""Checks of hosts, groups and the ways to reach them."""

from __future__ import annotations

from collections.abc import Iterator

from drctl.inventory.fields import split_jump
from drctl.inventory.subject import Check, Complaint, Subject
from drctl.yamlfile import KeyPath, suggestion


def group_members(subject: Subject) -> Iterator[Complaint]:
    known = subject.hosts
    for group, names in subject.file.groups.items():
        for index, name in enumerate(names):
            path = ("groups", group, index)
            if name not in known:
                yield path, f"unknown host {name!r}{suggestion(name, known)}"
            if name in names[:index]:
                yield path, f"host {name!r} is in group {group!r} twice"


RESERVED = {
    "all": "every host",
    "prepare": "that section's hosts",
    "abandoned": "the hosts of --abandon",
}


def group_names(subject: Subject) -> Iterator[Complaint]:
    for group in subject.file.groups:
        if group in RESERVED:
            means = f"{group!r} always means {RESERVED[group]}"
            yield ("groups", group), f"{means}: choose another group name"
        if group in subject.hosts:
            yield ("groups", group), f"{group!r} is also the name of a host: rename one of them"


def ungrouped_hosts(subject: Subject) -> Iterator[Complaint]:
    if subject.misses("groups"):
        return
    used = {name for names in subject.file.groups.values() for name in names}
    used |= {host.jump for host in subject.inventory.hosts.values() if host.jump}
    for name in subject.file.hosts:
        if name not in used:
            yield ("hosts", name), "host is in no group: add it to one, or remove it"


def same_machine(subject: Subject) -> Iterator[Complaint]:
    seen: dict[tuple[str, int, str | None], str] = {}
    for name, host in subject.inventory.hosts.items():
        first = seen.setdefault((host.address, host.port or 22, host.jump), name)
        if first != name:
            yield ("hosts", name), f"same address and port as host {first!r}: {host.address}"


def jump_loops(subject: Subject) -> Iterator[Complaint]:
    hosts = subject.inventory.hosts
    reported: set[str] = set()
    for name in hosts:
        chain = [name]
        while (jump := hosts[chain[-1]].jump) in hosts and jump not in chain:
            chain.append(str(jump))
        if jump == name and name not in reported:
            reported |= set(chain)
            own = "jump" in subject.file.hosts[name].model_fields_set
            path: KeyPath = ("hosts", name, "jump") if own else ("defaults", "jump")
            yield path, f"jump hosts form a loop: {' -> '.join([*chain, name])}"


def jump_details(subject: Subject) -> Iterator[Complaint]:
    """`ops@bastion` where bastion is a host of the file would bypass what the file says of it."""
    jumps: dict[KeyPath, str | None] = {("defaults", "jump"): subject.file.defaults.jump}
    jumps |= {("hosts", name, "jump"): host.jump for name, host in subject.file.hosts.items()}
    for path, jump in jumps.items():
        if jump and jump not in subject.hosts and split_jump(jump)[1] in subject.hosts:
            address = split_jump(jump)[1]
            yield path, f"{address!r} is a host in this file: write just its name"


FAULTS: tuple[Check, ...] = (
    group_members,
    group_names,
    ungrouped_hosts,
    same_machine,
    jump_loops,
    jump_details,
)
