"""known_hosts files, read as OpenSSH reads them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

Paramiko's own reader ignores @revoked, wildcards and a second key of one type, and stops at a
line that is not base64; it also forgets the line numbers that an error message needs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from drctl.ssh import patterns

HostKeyState = Literal["same", "different", "unknown", "revoked"]


def fingerprint(blob: bytes) -> str:
    """The SHA256 fingerprint of a public key, as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return "SHA256:" + digest.rstrip("=")


def lookup_name(hostname: str, port: int) -> str:
    """The name under which a host stands in known_hosts: `host`, or `[host]:port` if not 22."""
    name = hostname.lower()
    return name if port == 22 else f"[{name}]:{port}"


@dataclass(frozen=True)
class HostKeyLine:
    """One usable line of a known_hosts file."""

    file: Path
    line: int  # 1-based
    marker: str  # "", "@revoked" or "@cert-authority"
    patterns: tuple[str, ...]
    key_type: str
    blob: bytes

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def matches(self, name: str) -> bool:
        """Whether the line is about `name` (see `lookup_name`)."""
        if any(p.startswith("!") and _matches(p[1:], name) for p in self.patterns):
            return False
        return any(_matches(p, name) for p in self.patterns if not p.startswith("!"))


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        return patterns.matches(name, pattern.lower())
    try:
        salt, digest = (base64.b64decode(part) for part in pattern[3:].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _parse(text: str, file: Path, number: int) -> HostKeyLine | None:
    fields = text.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < 3:
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except binascii.Error:
        return None
    return HostKeyLine(file, number, marker, tuple(fields[0].split(",")), fields[1], blob)


@lru_cache(maxsize=32)
def _read(file: Path, _as_it_is: tuple[int, ...]) -> tuple[HostKeyLine, ...]:
    """Read once for all hosts, as long as it does not change. Raises OSError."""
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = enumerate(text.splitlines(), start=1)
    return tuple(e for n, line in lines if (e := _parse(line, file, n)))


@dataclass(frozen=True)
class HostKeyVerdict:
    """What known_hosts says of one offered key; `entries` are the lines that decided it."""

    state: HostKeyState
    entries: tuple[HostKeyLine, ...] = ()


class KnownHosts:
    """The lines of several known_hosts files, in order."""

    def __init__(self, entries: Iterable[HostKeyLine] = ()) -> None:
        self.entries = tuple(entries)

    @classmethod
    def load(cls, files: Iterable[Path]) -> KnownHosts:
        """Read what can be read: a missing or unreadable file knows no host, as with OpenSSH."""
        entries: list[HostKeyLine] = []
        for file in files:
            with suppress(OSError):
                status = file.stat()
                entries += _read(file, (status.st_mtime_ns, status.st_size, status.st_ino))
        return cls(entries)

    def about(self, name: str) -> tuple[HostKeyLine, ...]:
        """The plain keys known for `name`."""
        return tuple(e for e in self.entries if not e.marker and e.matches(name))

    def has_authority(self, name: str) -> bool:
        """Whether `name` is covered by a @cert-authority line, which drctl cannot use."""
        return any(e.marker == "@cert-authority" and e.matches(name) for e in self.entries)

    def check(self, name: str, blob: bytes) -> HostKeyVerdict:
        """Judge the key that `name` offered. Several keys for one name are all good."""
        same_key = [e for e in self.entries if e.blob == blob and e.matches(name)]
        revoked = tuple(e for e in same_key if e.marker == "@revoked")
        if revoked:
            return HostKeyVerdict("revoked", revoked)
        known = self.about(name)
        same = tuple(e for e in known if e.blob == blob)
        if same:
            return HostKeyVerdict("same", same)
        return HostKeyVerdict("different", known) if known else HostKeyVerdict("unknown")

    def preferred(self, name: str, offered: tuple[str, ...]) -> tuple[str, ...]:
        """`offered` host key algorithms with those of known keys first, as OpenSSH orders them.

        Otherwise a server with two keys could show the one that is not in known_hosts.
        """
        types = {e.key_type for e in self.about(name)}
        first = [a for a in offered if ("ssh-rsa" if a.startswith("rsa-") else a) in types]
        return (*first, *(a for a in offered if a not in first))
