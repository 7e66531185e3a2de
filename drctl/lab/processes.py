"""Processes of a lab: started detached, found again by pid and start time, ended within bounds.

A pid alone is never trusted, for the kernel reuses it. What belongs to a lab is a recorded process
whose boot and start time still match, whatever descends from one, and whatever carries the lab's
random id in its environment (jobs that left their session behind, a process that was started
just before the lab's own record could be written).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MARKER = "DRCTL_LAB"
NODE_MARKER = "DRCTL_LAB_NODE"
TERM_SECONDS = 1.5
KILL_SECONDS = 10.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessRecord:
    """A process that the lab started: `what` for people, `started` is boot id and start ticks."""

    what: str
    pid: int
    started: str

    def alive(self) -> bool:
        """True while this very process, not another one with its pid, runs."""
        return bool(self.started) and started(self.pid) == self.started


def spawn(what: str, argv: list[str], environment: Mapping[str, str], log: Path) -> ProcessRecord:
    """Start `argv` in a session of its own, stdin closed, output appended to `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True)
    return ProcessRecord(what, pid, started(pid))


def started(pid: int) -> str:
    """Boot id and start time of a running process; empty for none, and for one that has ended."""
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return ""
    return f"{_boot_id()}:{fields[19]}"


def belonging(records: Collection[ProcessRecord], value: str, *, marker: str = MARKER) -> set[int]:
    """The pids of everything alive that belongs to the lab (or, with NODE_MARKER, to one host of
    it), this process excepted."""
    everyone = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()}
    parents = {pid: int(fields[1]) for pid in everyone if (fields := _stat(pid))}
    found = {record.pid for record in records if record.alive()}
    found |= {pid for pid in parents if _carries(pid, f"{marker}={value}")}
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found}
        grown = not children <= found
        found |= children
    return {pid for pid in found if started(pid)} - {os.getpid()}


def end(record: ProcessRecord) -> None:
    """SIGTERM to one process; returns when it has ended, or after KILL_SECONDS."""
    deadline = time.monotonic() + KILL_SECONDS
    while record.alive() and time.monotonic() < deadline:
        _signal([record.pid], signal.SIGTERM)
        time.sleep(0.05)
        _reap([record])


def end_all(records: Collection[ProcessRecord], lab_id: str) -> set[int]:
    """SIGTERM, then SIGKILL, to all that belongs to the lab; returns the pids still alive."""
    begun = time.monotonic()
    _signal((r.pid for r in records if r.alive()), signal.SIGTERM)  # supervisors stop restarting
    told: set[int] = set()
    while left := belonging(records, lab_id):
        elapsed = time.monotonic() - begun
        if elapsed > TERM_SECONDS + KILL_SECONDS:
            break
        if elapsed > TERM_SECONDS:
            _signal(left, signal.SIGKILL)
        else:
            _signal(left - told, signal.SIGTERM)
            told |= left
        time.sleep(0.05)
        _reap(records)
    _reap(records)
    return left


def kill_all(records: Collection[ProcessRecord], value: str, marker: str) -> None:
    """SIGKILL to all that `belonging` finds, until nothing is left or KILL_SECONDS passed."""
    deadline = time.monotonic() + KILL_SECONDS
    while left := belonging(records, value, marker=marker):
        _signal(left, signal.SIGKILL)
        _reap(records)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    _reap(records)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap(records: Collection[ProcessRecord]) -> None:
    """A child of this very process stays a zombie until it is waited for."""
    for record in records:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: state, parent, ... start time."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _carries(pid: int, variable: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return variable.encode() in environment.split(b"\0")


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
