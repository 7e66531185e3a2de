"""`--from FILE`: which kind of file it is, and what it says. Nothing in it is run or opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drctl.discovery import ansible, k0sctl
from drctl.discovery.ansible_ini import looks_like_ini, read_ini
from drctl.discovery.ansible_yaml import SEALED, looks_like_yaml, read_yaml_tree
from drctl.discovery.own import is_own, own_inventory
from drctl.discovery.told import Listed
from drctl.errors import Fault, InvalidInput
from drctl.textfile import read_text
from drctl.yamlfile import scan_yaml

_KINDS = (
    "kubeasz's hosts, an Ansible inventory (INI or YAML, kubespray's too), k0sctl.yaml, or an "
    "inventory of drctl's"
)


def read_file(path: Path) -> Listed:
    """What the file says. Raises InvalidInput with every error in it, each with its line, and for
    a file that is none of those that are known."""
    if path.is_dir():
        raise InvalidInput(
            f"{path} is a directory",
            hint="give the file in it that lists the hosts: kubeasz's is clusters/NAME/hosts",
        )
    text = read_text(path, "inventory")
    if text.startswith("#!"):
        raise InvalidInput(
            f"{path} is a program, and drctl runs none",
            hint=f"ansible-inventory -i {path} --list --yaml > hosts.yaml, then --from hosts.yaml",
        )
    ini = path.suffix not in (".yaml", ".yml") and (looks_like_ini(text) or not _yaml(text))
    listed, faults = ansible.listed(read_ini(path, text)) if ini else _from_yaml(path)
    if not faults and not listed.machines:
        faults = [Fault("no host in it", str(path))]
    if faults:
        raise _invalid(path, faults)
    return listed


def _yaml(text: str) -> bool:
    """Whether the first line that says something looks like YAML or JSON."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] != "#"), "")
    return first == "---" or first.endswith(":") or ": " in first or first.startswith("{")


def _from_yaml(path: Path) -> tuple[Listed, list[Fault]]:
    document, faults = scan_yaml(path, sealed=SEALED)
    data: dict[str, Any] = document.data
    if is_own(data):
        return own_inventory(path), []
    if k0sctl.is_k0sctl(data):
        listed, more = k0sctl.listed(document)
    elif looks_like_yaml(data):
        listed, more = ansible.listed(read_yaml_tree(document))
    else:
        raise InvalidInput(f"{path}: not a file that drctl knows", hint=f"known: {_KINDS}")
    return listed, [*faults, *more]


def _invalid(path: Path, faults: list[Fault]) -> InvalidInput:
    ordered = tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line))
    count = "1 error" if len(ordered) == 1 else f"{len(ordered)} errors"
    return InvalidInput(
        f"{path}: cannot be used: {count}",
        faults=ordered,
        hint="fix it, or leave --from out and name the hosts by --host",
    )
