"""Ansible's YAML form: groups with `hosts`, `children` and `vars`, to any depth."""

from __future__ import annotations

from typing import Any

from drctl.discovery.ansible_tree import Tree, Variable, Withheld, expanded
from drctl.yamlfile import Document, KeyPath, Sealed, shown

SEALED = ("!vault", "!vault-encrypted", "!unsafe")
"""Tags of Ansible's under which a value is never opened."""
_PARTS = ("hosts", "children", "vars")


def looks_like_yaml(data: dict[str, Any]) -> bool:
    """Whether the top level has nothing but groups."""
    groups = [group for group in data.values() if group is not None]
    return all(isinstance(group, dict) and set(group) <= set(_PARTS) for group in groups)


def read_yaml_tree(document: Document) -> Tree:
    """The file's tree, with every fault in it."""
    tree = Tree(document.path)
    reader = _Reader(tree, document)
    for name, group in document.data.items():
        reader.group(name, group, (name,))
    return tree


class _Reader:
    def __init__(self, tree: Tree, document: Document) -> None:
        self.tree = tree
        self.document = document

    def group(self, name: str, body: Any, path: KeyPath) -> None:
        group = self.tree.group(name)
        for part, content in self._mapping(body, path).items():
            here = (*path, part)
            if part == "hosts":
                for host, variables in self._names(content, here).items():
                    self.host(name, host, variables, (*here, host))
            elif part == "children":
                for child, inner in self._names(content, here).items():
                    group.children[child] = self.document.line((*here, child))
                    self.group(child, inner, (*here, child))
            elif part == "vars":
                for key, value in self._mapping(content, here).items():
                    self._set(group.variables, key, value, (*here, key))
            else:
                self.fault(here, f"{part!r} is none of hosts, children, vars")

    def host(self, group: str, pattern: str, variables: Any, path: KeyPath) -> None:
        line = self.document.line(path)
        try:
            names = list(expanded(pattern))
        except ValueError as error:
            self.fault(path, str(error))
            return
        for name in names:
            self.tree.add_host(group, name, line)
            for key, value in self._mapping(variables, path).items():
                self._set(self.tree.hosts.get(name, {}), key, value, (*path, key))

    def _set(self, variables: dict[str, Variable], key: str, value: Any, path: KeyPath) -> None:
        value = Withheld("is encrypted") if isinstance(value, Sealed) else value
        self.tree.set_on(variables, key, value, self.document.line(path))

    def _names(self, content: Any, path: KeyPath) -> dict[str, Any]:
        """A mapping; Ansible also lets a single name stand for one."""
        return {content: None} if isinstance(content, str) else self._mapping(content, path)

    def _mapping(self, content: Any, path: KeyPath) -> dict[str, Any]:
        if content is None:
            return {}
        if not isinstance(content, dict):
            self.fault(path, f"must be a mapping, not {shown(content)}")
            return {}
        return content

    def fault(self, path: KeyPath, message: str) -> None:
        self.tree.faults.append(self.document.fault(path, message))
