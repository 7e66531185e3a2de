"""A snapshot that is given packed goes to the nodes unpacked, and under its own name everywhere
else: in the plan, the journal, and on the command line of a resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drctl.etcd.packed import plain_file
from drctl.transport import CommandResult, Script, Transport


@dataclass(frozen=True)
class UnpackingTransport:
    """Sends what is in `snapshot` where that file is to be sent. The node compares its sha256 with
    that of what was verified, so a file that changed since is not used there."""

    inner: Transport
    snapshot: Path

    def run(
        self, host: str, script: Script, env: Mapping[str, str] | None = None, *, deadline: float
    ) -> CommandResult:
        return self.inner.run(host, script, env, deadline=deadline)

    def upload(self, host: str, source: Path, target: str, **how: Any) -> None:
        source = plain_file(source) if source == self.snapshot else source
        self.inner.upload(host, source, target, **how)

    def download(self, host: str, source: str, target: Path, **how: Any) -> None:
        self.inner.download(host, source, target, **how)

    def close(self) -> None:
        self.inner.close()
