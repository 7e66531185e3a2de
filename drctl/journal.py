"""The journal: what a run meant to do and did, durable before each act and after it.

One SQLite file per run, one append-only table. Each event carries the hash of the one before, so
a damaged or edited journal is noticed (SQLite's own check is not enough: most single flipped bits
pass it). A lost tail cannot be seen from here; the nodes' own records decide, which is why every
step observes before it acts. `RunState` is a pure fold over the events.

    STATE_DIR/<cluster>/lock                   held while a controller works on this cluster
    STATE_DIR/<cluster>/<run>/journal.sqlite   0600 in a 0700 folder
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from drctl.errors import LockHeld, Refused

Clock = Callable[[], datetime]
State = Literal["running", "failed", "done", "aborted", "rolled-back"]
UNFINISHED: tuple[State, ...] = ("running", "failed", "aborted")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """One line of the journal; `at` is ISO 8601 in UTC, `body` plain JSON data."""

    seq: int
    at: str
    kind: str
    body: dict[str, Any]

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.at)


def chain_hash(previous: str, seq: int, at: str, kind: str, body: str) -> str:
    """sha256 over the predecessor's hash and this event's own fields."""
    return hashlib.sha256("\x00".join([previous, str(seq), at, kind, body]).encode()).hexdigest()


class Journal:
    """Append-only events of one run. `subscribe` hears each event after it is on disk."""

    def __init__(self, path: Path | None, clock: Clock = now) -> None:
        """Open or make the journal at `path`; None keeps it in memory, for what changes nothing.

        Raises Refused when the file is damaged.
        """
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Event], None]] = []
        self._events: list[Event] = []
        self._last = ""
        self._open()

    def _open(self) -> None:
        if self.path:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            self._db = sqlite3.connect(
                self.path or ":memory:", isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA synchronous=EXTRA")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, at TEXT NOT NULL,"
                " kind TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL)"
            )
            rows = self._db.execute("SELECT seq, at, kind, body, hash FROM events ORDER BY seq")
            for row in rows:
                self._replay(*row)
        except (sqlite3.DatabaseError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _replay(self, seq: int, at: str, kind: str, body: str, digest: str) -> None:
        if seq != len(self._events) + 1 or digest != chain_hash(self._last, seq, at, kind, body):
            raise self._damaged(f"event {seq} does not follow from the one before")
        self._events.append(Event(seq, at, kind, json.loads(body)))
        self._last = digest

    def _damaged(self, why: str) -> Refused:
        return Refused(
            f"the journal {self.path} is damaged: {why}",
            hint="nothing was changed by this command; copy the file aside, and look at what the "
            "nodes keep under their work_dir before deciding",
        )

    @property
    def events(self) -> tuple[Event, ...]:
        with self._lock:
            return tuple(self._events)

    def subscribe(self, hear: Callable[[Event], None]) -> None:
        self._subscribers.append(hear)

    def append(self, kind: str, **body: Any) -> Event:
        """Write one event; when this returns it is on disk. Raises Refused when it cannot be."""
        text = json.dumps(body, sort_keys=True, ensure_ascii=False)
        with self._lock:
            seq = len(self._events) + 1
            at = self._clock().isoformat()
            digest = chain_hash(self._last, seq, at, kind, text)
            try:
                self._db.execute("INSERT INTO events VALUES (?,?,?,?,?)", (seq, at, kind, text, digest))
            except sqlite3.Error as error:
                raise Refused(
                    f"the journal {self.path} cannot be written: {error}",
                    hint="free space or mend permissions there, then resume",
                ) from error
            event = Event(seq, at, kind, json.loads(text))
            self._events.append(event)
            self._last = digest
        for hear in self._subscribers:
            hear(event)
        return event

    def close(self) -> None:
        self._db.close()


@dataclass
class HostState:
    """What the journal knows of one (step, host)."""

    state: str = "pending"  # pending, intended, done, failed, unreachable
    attempts: int = 0
    seen: dict[str, str] = field(default_factory=dict)  # the first observation, before any act
    started: str = ""
    finished: str = ""
    detail: str = ""

    @property
    def seconds(self) -> float:
        """Wall time from start to result; 0 where either is missing."""
        if not (self.started and self.finished):
            return 0.0
        begun, ended = (datetime.fromisoformat(t) for t in (self.started, self.finished))
        return (ended - begun).total_seconds()


@dataclass
class RunState:
    """The fold of a journal: everything that resume, rollback and reports need."""

    run: str = ""
    cluster: str = ""
    runbook: str = ""
    inventory: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    state: State = "running"
    started: str = ""
    finished: str = ""
    epoch: int = 0
    direction: str = "forward"
    values: dict[str, Any] = field(default_factory=dict)
    hosts: dict[tuple[str, str], HostState] = field(default_factory=dict)
    steps_done: set[str] = field(default_factory=set)
    findings: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    claimed: bool = False  # from the first claim's intent until the nodes were given back

    def of(self, step: str, host: str) -> HostState:
        return self.hosts.setdefault((step, host), HostState())

    @property
    def changed(self) -> bool:
        """Whether any change of any node was intended; from here on errors say "after"."""
        return self.claimed or any(host.attempts for host in self.hosts.values())

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED


def fold(events: Iterable[Event]) -> RunState:
    """Rebuild the state of a run from its events, in order."""
    state = RunState()
    for event in events:
        apply_event(state, event)
    return state


def apply_event(state: RunState, event: Event) -> None:
    """Add one event to `state`. Unknown kinds are left alone: an older drctl may read a newer run."""
    change = _CHANGES.get(event.kind)
    if change:
        change(state, event)


def _run_started(state: RunState, event: Event) -> None:
    body = event.body
    state.run, state.cluster, state.runbook = body["run"], body["cluster"], body["runbook"]
    state.inventory, state.plan, state.started = body["inventory"], body["plan"], event.at


def _session(state: RunState, event: Event) -> None:
    state.epoch, state.direction = event.body["epoch"], event.body["direction"]
    state.state, state.error, state.finished = "running", None, ""


def _value(state: RunState, event: Event) -> None:
    state.values[event.body["name"]] = event.body["value"]


def _host_started(state: RunState, event: Event) -> None:
    host = state.of(event.body["step"], event.body["host"])
    if host.state != "intended":  # after a kill the first start counts
        host.started, host.finished = event.at, ""


def _intent(state: RunState, event: Event) -> None:
    host = state.of(event.body["step"], event.body["host"])
    host.state, host.attempts = "intended", event.body["attempt"]
    host.seen = host.seen or event.body["seen"]
    host.started = host.started or event.at


def _result(state: RunState, event: Event) -> None:
    body = event.body
    host = state.of(body["step"], body["host"])
    host.state, host.finished, host.detail = body["state"], event.at, body.get("detail", "")
    host.seen = host.seen or body.get("seen", {})
    if body["state"] == "unreachable":
        state.unreached[body["host"]] = host.detail


def _step_done(state: RunState, event: Event) -> None:
    step = event.body["step"]
    state.steps_done.add(step)
    state.findings[step] = event.body.get("findings", [])
    state.warnings.extend(w for w in event.body.get("warnings", []) if w not in state.warnings)


def _claiming(state: RunState, _event: Event) -> None:
    state.claimed = True


def _released(state: RunState, _event: Event) -> None:
    state.claimed = False


def _finished(state: RunState, event: Event) -> None:
    state.state, state.finished = event.body["state"], event.at
    state.error = event.body.get("error")


_CHANGES: dict[str, Callable[[RunState, Event], None]] = {
    "run-started": _run_started,
    "session": _session,
    "value": _value,
    "host-started": _host_started,
    "intent": _intent,
    "result": _result,
    "step-done": _step_done,
    "claiming": _claiming,
    "released": _released,
    "finished": _finished,
}


@dataclass(frozen=True)
class Store:
    """The folder that holds the runs of all clusters."""

    folder: Path

    def cluster_folder(self, cluster: str) -> Path:
        path = self.folder / cluster
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    @contextmanager
    def lock(self, cluster: str, who: str) -> Iterator[None]:
        """Hold the cluster's lock on this machine; raises LockHeld naming who holds it since when."""
        path = self.cluster_folder(cluster) / "lock"
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise LockHeld(
                    f"another drctl works on {cluster}: {holder}",
                    hint="wait for it, or end it and resume: drctl runs list",
                ) from None
            file.truncate(0)
            file.write(f"{who}, process {os.getpid()}, since {now():%Y-%m-%dT%H:%M:%SZ}\n")
            file.flush()
            yield

    def create(self, cluster: str, run: str, clock: Clock = now) -> Journal:
        folder = self.cluster_folder(cluster) / run
        folder.mkdir(mode=0o700)
        return Journal(folder / "journal.sqlite", clock)

    def runs(self, cluster: str | None = None) -> list[tuple[str, str]]:
        """(cluster, run) of every run, oldest first."""
        found = self.folder.glob(f"{cluster or '*'}/*/journal.sqlite")
        names = [(path.parent.parent.name, path.parent.name) for path in found]
        return sorted(names, key=lambda pair: pair[1])

    def open(self, cluster: str, run: str, clock: Clock = now) -> Journal:
        path = self.folder / cluster / run / "journal.sqlite"
        if not path.is_file():
            raise Refused(f"no run {run!r} of cluster {cluster!r}", hint="drctl runs list")
        return Journal(path, clock)

    def state(self, cluster: str, run: str) -> RunState:
        with closing(self.open(cluster, run)) as journal:
            return fold(journal.events)
