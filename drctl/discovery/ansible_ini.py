"""Ansible's INI form: kubeasz's `hosts`, kubespray's inventory.ini, and others.

It is no INI that configparser reads (host lines have `name key=value key=value`), so this follows
Ansible's own reader (lib/ansible/plugins/inventory/ini.py, 00797d0) and refuses what that refuses.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from pathlib import Path

from drctl.discovery.ansible_tree import ALL, UNGROUPED, Tree, Variable, expanded

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_CHILD = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
_KINDS = ("hosts", "children", "vars")
_IGNORED = ""  # what follows a section's head that is itself an error
# `[2001:db8::1]:22` is an address with a port, `node[1:3]` a range, `node:22` a name with a port.
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\](?::([0-9]+))?")
_WITH_PORT = re.compile(r"((?:[^\[\]:]|\[[^\]]*\])+):([0-9]+)")


def looks_like_ini(text: str) -> bool:
    """Whether a line of it is a section's head."""
    return any(_SECTION.fullmatch(line.strip()) for line in text.splitlines())


def read_ini(path: Path, text: str) -> Tree:
    """The file's tree, with every fault in it."""
    reader = _Reader(Tree(path))
    for number, line in enumerate(text.split("\n"), start=1):
        reader.line(line, number)
    reader.finish()
    return reader.tree


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.group, self.kind = UNGROUPED, "hosts"
        self.declared = {ALL, UNGROUPED}
        self.awaited: dict[str, tuple[int, str]] = {}  # group -> (line, how it was named)

    def line(self, raw: str, number: int) -> None:
        line = raw.strip()
        if not line or line[0] in "#;":
            return
        if any(unicodedata.category(char) in {"Cc", "Cs"} and char != "\t" for char in line):
            self.tree.fault(number, "contains a control character")
        elif found := _SECTION.fullmatch(line):
            self.section(found[1], found[2] or "hosts", number)
        elif line[0] == "[" and line[-1] == "]" and not _BRACKETED.fullmatch(line):
            self.tree.fault(number, f"{line[:60]!r} is no section: no blanks within the brackets")
            self.kind = _IGNORED
        elif self.kind == "hosts":
            self.host(line, number)
        elif self.kind == "vars":
            self.variable(line, number)
        elif self.kind == "children":
            self.child(line, number)

    def section(self, group: str, kind: str, number: int) -> None:
        if kind not in _KINDS:
            self.tree.fault(number, f"[{group}:{kind}]: a section is hosts, children or vars")
            kind = _IGNORED
        self.group, self.kind = group, kind
        self.tree.group(group)
        if kind == "vars":
            self.awaited.setdefault(group, (number, f"[{group}:vars]"))
        else:
            self.declared.add(group)

    def host(self, line: str, number: int) -> None:
        try:
            name, *given = shlex.split(line, comments=True)
            names, port = _pattern(name)
        except ValueError as error:
            self.tree.fault(number, f"{error}: {line[:60]!r}")
            return
        variables: dict[str, Variable] = {}
        if port:
            self.tree.set_on(variables, "ansible_port", int(port[:6]), number)
        for each in given:
            key, equals, value = each.partition("=")
            if equals:
                self.tree.set_on(variables, key, value, number)
            else:
                self.tree.fault(number, f"{each[:60]!r} is not of the form name=value")
        for one in names:
            self.tree.add_host(self.group, one, number)
            self.tree.hosts.get(one, {}).update(variables)

    def variable(self, line: str, number: int) -> None:
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            self.tree.fault(number, f"{line[:60]!r} is not of the form name=value")
            return
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        self.tree.set_on(self.tree.group(self.group).variables, key, value, number)

    def child(self, line: str, number: int) -> None:
        found = _CHILD.fullmatch(line)
        if not found:
            self.tree.fault(number, f"{line[:60]!r} is not a group's name")
            return
        self.tree.group(self.group).children[found[1]] = number
        self.awaited.setdefault(found[1], (number, f"[{self.group}:children]"))

    def finish(self) -> None:
        """Groups that are used have to be declared somewhere, as Ansible asks."""
        for group, (number, where) in self.awaited.items():
            if group not in self.declared:
                self.tree.fault(number, f"{where} names the group {group!r}, which is not declared")


def _pattern(text: str) -> tuple[list[str], str | None]:
    """The hosts that a first word stands for, and the port behind them."""
    if found := _BRACKETED.fullmatch(text):
        return [found[1]], found[2]
    if text.count(":") > 1 and "[" not in text:
        return [text], None  # a bare IPv6 address
    if found := _WITH_PORT.fullmatch(text):
        return list(expanded(found[1])), found[2]
    return list(expanded(text)), None
