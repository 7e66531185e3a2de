"""An Ansible inventory as groups, hosts and variables, whichever form the file has.

Only variables that say how a host is reached, or what it is in the cluster, are kept: the rest of
such a file may hold passwords. No value is evaluated; one that Ansible would compute, or that is
encrypted, is kept as a `Withheld` that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from drctl.discovery.told import MOST_MACHINES
from drctl.errors import Fault

ALL, UNGROUPED = "all", "ungrouped"
CONNECTION = {
    "ansible_host": "address",
    "ansible_ssh_host": "address",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key",
    "ansible_ssh_common_args": "args",
    "ansible_ssh_extra_args": "args",
    "ansible_connection": "connection",
    # kubespray: docs/ansible/inventory.md there; etcd's URLs have access_ip, or else ip
    "access_ip": "access_ip",
    "ip": "ip",
}
"""Variables that are read, and what each decides. Sources: Ansible's "Connecting to hosts:
behavioral inventory parameters", its ini plugin (lib/ansible/plugins/inventory/ini.py, 00797d0),
and the samples of kubespray (inventory/sample/inventory.ini, 2cfbbcb) and kubeasz
(example/hosts.multi-node, 45ab578)."""

PASSWORDS = {
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_become_pass",
    "ansible_become_password",
    "ansible_sudo_pass",
}
_RANGE = re.compile(r"\[([0-9]+|[a-z]|[A-Z]):([0-9]+|[a-z]|[A-Z])(?::([0-9]{1,4}))?\]")
_MOST_DIGITS = 6


@dataclass(frozen=True)
class Withheld:
    """A value that is there and is not read: `why` in words."""

    why: str


@dataclass(frozen=True)
class Variable:
    """One variable that is read, with the line on which it stands."""

    name: str
    value: str | int | Withheld
    line: int


@dataclass
class Group:
    """`hosts` and `children`: name -> line."""

    hosts: dict[str, int] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


@dataclass
class Tree:
    """One file. `lines` is where each host is first named."""

    path: Path
    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, dict[str, Variable]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    passwords: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    crowded: bool = False

    def group(self, name: str) -> Group:
        """The group of that name, made if it is new."""
        return self.groups.setdefault(name, Group())

    def add_host(self, group: str, name: str, line: int) -> None:
        """Bounded: more than MOST_MACHINES are a fault, once."""
        if name not in self.hosts and len(self.hosts) >= MOST_MACHINES:
            if not self.crowded:
                self.fault(line, f"more than {MOST_MACHINES} hosts")
            self.crowded = True
            return
        self.hosts.setdefault(name, {})
        self.lines.setdefault(name, line)
        self.group(group).hosts.setdefault(name, line)

    def set_on(self, variables: dict[str, Variable], name: str, value: object, line: int) -> None:
        """Keep a variable that is of use; of passwords, that there was one."""
        if name in PASSWORDS:
            self.passwords.add(name)
        elif name in CONNECTION or name in ("NODE_NAME", "etcd_member_name"):
            kept = _kept(value)
            if kept is None:
                self.fault(line, f"{name}: must be text or a number")
            else:
                variables[name] = Variable(name, kept, line)

    def fault(self, line: int, message: str) -> None:
        self.faults.append(Fault(message, str(self.path), line))


def _kept(value: object) -> str | int | Withheld | None:
    if isinstance(value, Withheld):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    if value is None:
        return ""
    if not isinstance(value, str):
        return None
    if "{{" in value or "{%" in value:
        return Withheld("is computed by Ansible")
    if value.lstrip().startswith("$ANSIBLE_VAULT"):
        return Withheld("is encrypted")
    return value


def expanded(pattern: str) -> Iterator[str]:
    """`node[1:3]` -> node1, node2, node3, as Ansible has it (numbers keep their leading zeros).

    At most MOST_MACHINES + 1 of them. Raises ValueError for a range that means nothing.
    """
    yield from islice(_expanded(pattern), MOST_MACHINES + 1)


def _expanded(pattern: str) -> Iterator[str]:
    found = _RANGE.search(pattern)
    if not found:
        if "[" in pattern or "]" in pattern:
            raise ValueError(f"{pattern[:60]!r} is no range of hosts like node[1:3]")
        yield pattern
        return
    first, last, step = found[1], found[2], int(found[3] or 1)
    for middle in _between(first, last, step):
        for rest in _expanded(pattern[found.end() :]):
            yield f"{pattern[: found.start()]}{middle}{rest}"


def _between(first: str, last: str, step: int) -> Iterator[str]:
    if first.isdigit() != last.isdigit() or step < 1 or len(first + last) > 2 * _MOST_DIGITS:
        raise ValueError(f"[{first[:20]}:{last[:20]}] is no range of hosts")
    if first.isdigit():
        if int(first) > int(last):
            raise ValueError(f"[{first}:{last}] is no range: it runs backwards")
        width = len(first) if first.startswith("0") else 0
        yield from (f"{n:0{width}d}" for n in range(int(first), int(last) + 1, step))
    else:
        yield from (chr(code) for code in range(ord(first), ord(last) + 1, step))
