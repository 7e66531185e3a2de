"""The command line in this process, over a simulated cluster."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drctl.cli import main
from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.journal.store import Store
from drctl.runs.controller import Controller
from tests.etcd.samples import snapshot_bytes, write_snapshot
from tests.model.harness import INVENTORY, Clock
from tests.support.rig import Rig


@dataclass
class Ended:
    """How a command ended."""

    exit: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["error"]
        assert set(found) == {"code", "exit", "message", "host", "hint"}
        assert found["exit"] == self.exit
        return found


@dataclass
class Bench:
    """`drctl ...` typed on a machine with its own state directory."""

    rig: Rig
    folder: Path
    inventory: Path
    snapshot: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def controller(self, **given: Any) -> Controller:
        """One that reaches the simulated hosts, one by one, and waits for nothing."""
        clock = self.rig.clock
        return Controller(
            **{**given, "parallel": 1},
            connect=lambda _: self.rig,
            sleep=clock.sleep,
            clock=clock,
        )

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def drctl(self, *arguments: object) -> Ended:
        self.monkeypatch.setenv("DRCTL_STATE_DIR", str(self.state_dir))
        self.monkeypatch.setattr(sys, "argv", ["drctl", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(self.controller)
        said = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)

    def restore(self, *more: object, snapshot: bool = True) -> Ended:
        given = ["--snapshot", self.snapshot] if snapshot else []
        return self.drctl("restore", *given, "--inventory", self.inventory, "--yes", *more)

    def resume(self, *more: object) -> Ended:
        return self.restore("--resume", *more, snapshot=False)

    def rollback(self, *more: object) -> Ended:
        return self.drctl("rollback", "--inventory", self.inventory, "--yes", *more)

    def runbook(self, text: str) -> Path:
        path = self.folder / "own.yaml"
        path.write_text(text)
        return path

    def change(self, old: str, new: str) -> None:
        text = self.inventory.read_text()
        assert old in text
        self.inventory.write_text(text.replace(old, new))

    @property
    def store(self) -> Store:
        return Store(self.state_dir)

    def state(self) -> RunState:
        return self.store.state(*self.store.runs()[-1])

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the latest run's events of that kind."""
        journal = self.store.open(*self.store.runs()[-1])
        bodies = [event.body for event in journal.events if event.kind == kind]
        journal.close()
        return bodies


@pytest.fixture
def clock() -> Clock:
    """No engine and no job waits for real time."""
    return Clock()


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers that a command puts in place are taken away again."""
    kept = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: a journal waits for the disk at each of its events."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="drctl-test-", dir=memory) as made:
        yield Path(made)


@pytest.fixture
def bench(
    folder: Path,
    clock: Clock,
    signals: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bench:
    """A healthy simulated cluster and a real snapshot file."""
    inventory = folder / "inventory.yaml"
    inventory.write_text(INVENTORY.read_text())
    rig = Rig(load_inventory(inventory), hashlib.sha256(snapshot_bytes()).hexdigest(), clock)
    return Bench(rig, folder, inventory, write_snapshot(folder), monkeypatch, capsys)


@pytest.fixture
def down(bench: Bench) -> Bench:
    """The same, after the disaster: no etcd answers."""
    bench.rig.disaster()
    return bench
