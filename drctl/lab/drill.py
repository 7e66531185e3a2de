"""The local drill: a lab, a backup, a disaster, a restore by the product's own command line, and
the proof, taken from outside the product, that it is the old data and a new cluster.

The lab is ended and removed whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drctl.errors import Aborted, StepFailed
from drctl.lab import breaks, data, layout, local, proofs
from drctl.lab.layout import Lab
from drctl.lab.proofs import Proof, Sight

Say = Callable[[str], None]
LATER_KEYS = 25
_VALUE_BYTES = 256
_COMMAND_SECONDS = 900


@dataclass(frozen=True)
class StepTime:
    """One (step, host) of the run, as `drctl runs show` told it; times in seconds."""

    id: str
    phase: str
    host: str
    state: str
    started: str
    seconds: float


@dataclass(frozen=True)
class DrillReport:
    """What a drill found. RTO runs from the damage to the last proof, RPO from the backup to it."""

    scenario: str
    staged: bool
    proven: bool
    proofs: tuple[Proof, ...]
    rto_seconds: float
    restore_seconds: float  # the restore command's share of the RTO
    phases: dict[str, float]  # phase -> seconds from its first step's start to its last one's end
    rpo_seconds: float
    rpo_revisions: int
    rpo_keys: int
    timeline: tuple[StepTime, ...]
    run: str
    directory: str

    def document(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        marks = {True: "proven", False: "NOT PROVEN"}
        rows = [f"{marks[proof.ok]:>10}  {proof.what}: {proof.detail}" for proof in self.proofs]
        split = [f"{seconds:10.1f}  {phase}" for phase, seconds in self.phases.items()]
        return [
            *rows,
            f"RTO {self.rto_seconds:.1f} s from the damage to the last proof, "
            f"of which the restore took {self.restore_seconds:.1f} s:",
            *split,
            f"RPO {self.rpo_seconds:.1f} s: {self.rpo_revisions} revisions and "
            f"{self.rpo_keys} keys as written after the backup are lost",
        ]


@dataclass(frozen=True)
class Product:
    """The product, as an operator uses it: its command line in a process of its own."""

    lab: Lab

    @property
    def state_dir(self) -> Path:
        """Where its runs are kept: inside the lab, so that they go with it."""
        return self.lab.directory / "state"

    def call(self, *arguments: str) -> str:
        """Run one command; what it tells the operator goes to our own stderr, live. Returns its
        stdout; StepFailed when it fails."""
        told = subprocess.run(
            [sys.executable, "-m", "drctl", *arguments],
            env=os.environ | {"DRCTL_STATE_DIR": str(self.state_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
        if told.returncode != 0:
            raise StepFailed(
                f"drctl {arguments[0]} ended with exit code {told.returncode}",
                hint="what it said stands above; --keep leaves the lab for a look",
            )
        return told.stdout

    def backup(self, folder: Path) -> Path:
        """Take a backup into `folder`; returns the snapshot's file."""
        self.call("backup", *self._inventory, "--to", str(folder))
        found = sorted(folder.glob("*.db"))
        if len(found) != 1:
            raise StepFailed(f"drctl backup left {len(found)} snapshots in {folder}, not one")
        return found[0]

    def restore(self, snapshot: Path, *, staged: bool, quorum: bool) -> str:
        """Restore `snapshot`, unattended; `quorum`: though the cluster still has one."""
        options = ["--staged"] * staged + ["--replace-healthy"] * quorum
        return self.call(
            "restore", "--snapshot", str(snapshot), *self._inventory, *options, "--yes"
        )

    def last_run(self) -> dict[str, Any]:
        """The latest run, as `runs show` tells it."""
        shown: dict[str, Any] = json.loads(
            self.call("runs", "show", *self._inventory, "--output", "json")
        )
        return shown

    @property
    def _inventory(self) -> tuple[str, str]:
        return "--inventory", str(self.lab.inventory)


def run_drill(
    directory: Path | None,
    *,
    scenario: str = breaks.DEFAULT,
    staged: bool,
    etcd: Path | None,
    say: Say,
    members: int = 3,
    keys: int = 200,
    value_size: int = _VALUE_BYTES,
    keep: bool = False,
) -> DrillReport:
    """Rehearse a restore in a lab of its own (in `directory`, else a temporary one).

    A failed proof is in the report (`proven`); a command of the product that fails is StepFailed.
    With `keep` the lab stays up afterwards.
    """
    place = directory or Path(tempfile.mkdtemp(prefix="drctl-drill-")) / "lab"
    made = None if directory else place.parent
    try:
        with _signals_as_errors():
            local.up(place, members=members, etcd=etcd, keys=keys, value_size=value_size, say=say)
            try:
                return _rehearse(layout.require(place), scenario, staged, say)
            finally:
                if not keep:
                    local.down(place, say)
    finally:
        if made and not keep:
            with contextlib.suppress(OSError):  # not empty when `down` has failed: it says so
                made.rmdir()


@contextlib.contextmanager
def _signals_as_errors() -> Iterator[None]:
    """SIGTERM and SIGHUP would end Python without its `finally`, and leave the lab running."""

    def stop(number: int, _frame: object) -> None:
        raise Aborted(f"the drill was ended by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _rehearse(lab: Lab, scenario: str, staged: bool, say: Say) -> DrillReport:
    product = Product(lab)
    say("backing up")
    before = proofs.look(lab.hosts[0])
    snapshot = product.backup(lab.directory / "backup")
    backed_up = time.monotonic()
    later = _write_later(lab, say)
    say(f"breaking the cluster: {scenario}")
    damaged = time.monotonic()
    struck = breaks.strike(lab, scenario, say=say)
    say(f"restoring {snapshot.name}{' (staged)' if staged else ''}")
    begun = time.monotonic()
    product.restore(snapshot, staged=staged, quorum=2 * len(struck) < len(lab.hosts))
    restored = time.monotonic()
    found = proofs.prove(lab, before, later)
    proven = time.monotonic()
    run = product.last_run()
    timeline = _timeline(run)
    return DrillReport(
        scenario=scenario,
        staged=staged,
        proven=all(proof.ok for proof in found),
        proofs=found,
        rto_seconds=proven - damaged,
        restore_seconds=restored - begun,
        phases=split_by_phase(timeline),
        rpo_seconds=damaged - backed_up,
        rpo_revisions=later.revision - before.revision,
        rpo_keys=len(proofs.differences(later.content, before.content)),
        timeline=timeline,
        run=str(run["run"]),
        directory=str(lab.directory),
    )


def _write_later(lab: Lab, say: Say) -> Sight:
    """Change the data after the backup: new keys, and the namespace's object replaced."""
    with data.gateway(lab.hosts[0]) as gateway:
        data.write_keys(gateway, "later", LATER_KEYS, _VALUE_BYTES)
        gateway.put_all([(data.NAMESPACE_KEY, data.namespace("written after the backup"))])
    say(f"{LATER_KEYS} keys written and one changed after the backup")
    return proofs.look(lab.hosts[0])


def _timeline(run: dict[str, Any]) -> tuple[StepTime, ...]:
    names = StepTime.__dataclass_fields__
    steps = [StepTime(**{name: step[name] for name in names}) for step in run["steps"]]
    return tuple(sorted(steps, key=lambda step: step.started))


def split_by_phase(timeline: Sequence[StepTime]) -> dict[str, float]:
    """Seconds between each phase's first start and last end, in order of the first start."""
    spans: dict[str, tuple[float, float]] = {}
    for step in timeline:
        if not step.started:
            continue
        begun = datetime.fromisoformat(step.started).timestamp()
        first, last = spans.get(step.phase, (begun, begun))
        spans[step.phase] = min(first, begun), max(last, begun + step.seconds)
    return {phase: last - first for phase, (first, last) in spans.items()}
