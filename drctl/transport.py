"""The seam between the engine and the hosts.

A transport runs a shell script on a host and moves files. Three outcomes are kept apart, because
everything else rests on it: the script ended (`CommandResult`, whatever its status); it was never
sent (`Unreachable`, `AuthRefused`, `HostKeyChanged`); it was sent and no answer came
(`ConnectionLost`: unknown, never "failed").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MOST = 2**36
"""Bytes that a node may send as one file, where the caller knows no better."""

COMPLAINT = 4000
"""Characters of what went wrong that are kept."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) while a file moves; may raise to stop the transfer."""


@dataclass(frozen=True)
class Script:
    """A rendered template: `name` is the template's path without suffixes, `body` POSIX shell,
    `parts` all templates that it was made of, itself among them."""

    name: str
    body: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommandResult:
    """A command that ended. `seconds` is wall time seen from here."""

    status: int
    stdout: str
    stderr: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def complaint(self) -> str:
        """The end of what it said went wrong, for messages: what a node says is as long as it
        likes, and they end in the journal."""
        return (self.stderr.strip() or self.stdout.strip())[-COMPLAINT:].lstrip()


class Transport(Protocol):
    """How a host is reached. Implementations are safe to call from several threads at once, and
    every call ends by its deadline (seconds)."""

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        """Run `script` with `env` as shell variables, as root where the host says `become: sudo`.

        Raises Unreachable, AuthRefused or HostKeyChanged when nothing was sent, ConnectionLost
        when the outcome is unknown.
        """
        ...

    def upload(
        self,
        host: str,
        source: Path,
        target: str,
        *,
        deadline: float,
        go_on: bool = False,
        rate: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Stream `source` to the absolute path `target` (0600, its directory made 0700 if absent).

        Only in a directory that nobody else can change, and to a fresh file; where `go_on`, to
        what an earlier call that was cut left there. When it returns, the file is on the host's
        disk, is what was sent, and `target.sum` there has its sha256 in hex and its size. `rate` is
        in bytes of the file per second: no more is sent than that.

        The caller gives a path that may be half-written when this raises. Errors as for `run`;
        StepFailed when the host could not take the file (no space, read-only), or took another.
        """
        ...

    def download(
        self,
        host: str,
        source: str,
        target: Path,
        *,
        deadline: float,
        limit: int = MOST,
        progress: Progress | None = None,
    ) -> None:
        """Stream the host's absolute path `source` into the local file `target` (created 0600).

        StepFailed where it is no regular file, or has more than `limit` bytes.
        """
        ...

    def close(self) -> None:
        """Close every connection. Safe to call twice."""
        ...
