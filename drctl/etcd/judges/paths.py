"""Paths that somebody else on the node could change: root must not use them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from drctl.verdict import Problem

_FLAW = re.compile(r"([a-z]{1,10}) (-|[0-9]{1,10}) (/[ -~]{0,4095})")
_SEND = "name an etcdutl that is sent there instead: etcd.etcdutl in the inventory"
_WAYS: dict[str, tuple[str, str | None]] = {
    "owner": ("{path} belongs to user {who}, who can put anything there", "chown root {word}"),
    "mode": ("{path} can be written by its group or by everybody", "chmod go-w {word}"),
    "link": ("{path} is a link of user {who}, or one too many", "rm {word}"),
    "dots": ("{path} leads through '..'", "make that link anew, without it"),
    "kind": ("{path} is neither a directory nor a file", "mv {word} {aside}"),
    "image": (
        "{path} belongs to user {who}, and etcdutl out of an image cannot be kept inside it",
        None,
    ),
    "mount": ("{path} is a file system that user {who} mounted", "umount {word}"),
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
        return Problem(f"what is unsafe about its {what} cannot be read", host)
    kind, who, path = found.groups()
    why, command = _WAYS[kind]
    if kind == "owner" and (path.endswith(".drctl") or ".drctl/" in path):
        command = _WAYS["kind"][1]  # what lies in there is theirs too
    names = {"path": path, "who": who, "word": shlex.quote(path)}
    names["aside"] = shlex.quote(f"{path}.aside")
    hint = f"on {host}, as root: {command.format(**names)}" if command else _SEND
    return Problem(f"{why.format(**names)}: drctl does not use it ({what})", host, hint)
