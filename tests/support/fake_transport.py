"""A transport without hosts, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drctl.transport import MOST, CommandResult, Progress, Script

Handler = Callable[[str, Script, Mapping[str, str]], CommandResult | str]
"""Given (host, script, env); a plain string is a successful command's stdout."""


@dataclass
class FakeTransport:
    """A transport without hosts: it answers what was scripted and raises on everything else.

    `handlers` maps a script's name to its answer. `calls` lists (host, script name) in order.
    """

    handlers: dict[str, Handler] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    on_upload: Callable[[str, Path, str], None] | None = None
    on_download: Callable[[str, str, Path], None] | None = None

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        assert deadline > 0
        self.calls.append((host, script.name))
        try:
            handler = self.handlers[script.name]
        except KeyError:
            raise AssertionError(f"nobody scripted {script.name!r} on {host}") from None
        answer = handler(host, script, env or {})
        return CommandResult(0, answer) if isinstance(answer, str) else answer

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
        self.calls.append((host, "upload"))
        if self.on_upload is None:
            raise AssertionError(f"nobody scripted an upload to {host}")
        self.on_upload(host, source, target)
        if progress:
            size = source.stat().st_size
            progress(size, size)

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
        self.calls.append((host, "download"))
        if self.on_download is None:
            raise AssertionError(f"nobody scripted a download from {host}")
        self.on_download(host, source, target)

    def close(self) -> None:
        self.calls.append(("", "close"))
