"""Paths that another user on the node could change: root must not use them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from drctl.verdict import Problem

_FLAW = re.compile(r"([a-z]{1,10}) (-|[0-9]{1,10}) (/[ -~]{0,4095})")
_SEND = "set etcd.etcdutl in the inventory: drctl then sends that etcdutl"
_WAYS: dict[str, tuple[str, str | None]] = {
    "owner": ("{path} belongs to user {who}, who can change anything there", "chown root {word}"),
    "mode": ("{path} is writable by its group or by everyone", "chmod go-w {word}"),
    "link": ("{path} is a symlink of user {who}, or one of too many", "rm {word}"),
    "dots": ("{path} goes through '..'", "recreate that link without '..'"),
    "kind": ("{path} is neither a directory nor a file", "mv {word} {aside}"),
    "image": (
        "{path} belongs to user {who}, and etcdutl run from an image cannot be confined to it",
        None,
    ),
    "mount": ("{path} is a filesystem mounted by user {who}", "umount {word}"),
}


def unsafe_paths(host: str, report: Mapping[str, str]) -> Iterator[Problem]:
    """A problem for each `unsafe.WHAT` that the host reports. The words and the command are made
    here: what a node says is a kind, a number and a path, and nothing else is passed on."""
    seen = set()
    for name, flaw in report.items():
        if name.startswith("unsafe.") and flaw and flaw not in seen:
            seen.add(flaw)
            yield _problem(host, name.removeprefix("unsafe."), flaw)


def _problem(host: str, what: str, flaw: str) -> Problem:
    found = _FLAW.fullmatch(flaw)
    if not found or found[1] not in _WAYS:
        return Problem(f"reported an unsafe {what}, in a form drctl cannot read", host)
    kind, who, path = found.groups()
    why, command = _WAYS[kind]
    if kind == "owner" and (path.endswith(".drctl") or ".drctl/" in path):
        command = _WAYS["kind"][1]  # what is in there is theirs too
    names = {"path": path, "who": who, "word": shlex.quote(path)}
    names["aside"] = shlex.quote(f"{path}.aside")
    hint = f"on {host}, as root: {command.format(**names)}" if command else _SEND
    return Problem(f"{why.format(**names)}: drctl does not use it ({what})", host, hint)
