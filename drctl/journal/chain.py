"""The journal: what a run meant to do and did, durable before each act and after it.

One SQLite file per run, one append-only table. Each event carries the hash of the one before, so
a damaged journal is noticed (SQLite's own check is not enough: most single flipped bits pass it).
Anyone who edits it can redo the chain, and a lost tail cannot be seen here: the nodes keep the
newest hash with each lock and release (`drctl.nodes.history`), and `drctl.nodes.comparison` holds
this journal against them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from drctl import __version__
from drctl.errors import OtherVersion, Refused
from drctl.journal.runstate import FORMAT, Event

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


def chain_hash(previous: str, seq: int, at: str, kind: str, body: str) -> str:
    """sha256 over the predecessor's hash and this event's own fields."""
    return hashlib.sha256("\x00".join([previous, str(seq), at, kind, body]).encode()).hexdigest()


TABLE = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, at TEXT NOT NULL,"
    " kind TEXT NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL)"
)
NOT_THE_FILE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""What SQLite says of the place where a journal lies. All else it says of the journal itself."""


class Journal:
    """Append-only events of one run. `subscribe` hears each event after it is on disk."""

    def __init__(self, path: Path | None, clock: Clock = now) -> None:
        """The journal at `path`, to be made with its first event where there is none; None keeps
        it in memory, for what changes nothing.

        Raises Refused when the file is damaged.
        """
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Event], None]] = []
        self._events: list[Event] = []
        self._hashes = [""]  # of the event with that number
        self._db: sqlite3.Connection | None = None
        if path is None:
            self._db = _connect(":memory:")
            self._db.execute(TABLE)
        elif os.path.lexists(path):
            self._replay_all(path)

    def _replay_all(self, path: Path) -> None:
        try:
            path.open("r+b").close()  # SQLite would open a file that may not be written read-only
            self._db = _connect(path)
            for row in self._db.execute(SELECT).fetchall():
                self._replay(*row)
            # What the chain cannot see: pages in disorder, onto which no event could be put.
            (verdict,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        except OSError as error:
            raise unwritable(path, error) from error
        except (sqlite3.Error, ValueError, TypeError) as error:
            self.close()
            code = getattr(error, "sqlite_errorcode", None)  # primary code in its lowest byte
            if code is not None and code & 0xFF in NOT_THE_FILE and not _is_short(code):
                raise unwritable(path, error) from error
            raise self._damaged(str(error)) from error
        if verdict != "ok":
            raise self._damaged(f"its database is corrupt: {verdict}".replace("\n", " "))
        if not self._events:
            raise self._damaged(
                "it has no events, and drctl never creates one without its first event"
            )
        if other := other_version(self._events[0]):
            self.close()
            raise OtherVersion(
                f"run {path.parent.name}: {other}", hint="use that version for this run"
            )

    def _replay(self, seq: int, at: str, kind: str, body: str, digest: str) -> None:
        before = self._hashes[-1]
        if seq != len(self._events) + 1 or digest != chain_hash(before, seq, at, kind, body):
            raise self._damaged(f"event {seq} does not match the one before")
        self._events.append(Event(seq, at, kind, json.loads(body)))
        self._hashes.append(digest)

    def _damaged(self, why: str) -> Refused:
        self.close()
        return Refused(
            f"the journal {self.path} is damaged: {why}",
            hint="rebuild it from the nodes: drctl runs adopt -i INVENTORY (this file is kept); "
            "nothing was changed",
        )

    @property
    def events(self) -> tuple[Event, ...]:
        with self._lock:
            return tuple(self._events)

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the newest event; the hash stands for all events up to it."""
        with self._lock:
            return len(self._events), self._hashes[-1]

    def hash_of(self, seq: int) -> str:
        """The hash of an event of this journal, `head` when it was the newest."""
        with self._lock:
            return self._hashes[seq]

    def subscribe(self, hear: Callable[[Event], None]) -> None:
        self._subscribers.append(hear)

    def append(self, kind: str, **body: Any) -> Event:
        """Write one event; when this returns it is on disk. Raises Refused when it cannot be."""
        (event,) = self.append_all([(kind, body)])
        return event

    def append_all(self, noted: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Event]:
        """Write events with one wait for the disk: all of them are on it when this returns, or
        none. Raises Refused when they cannot be."""
        rows: list[Row] = []
        with self._lock:
            seq, digest = len(self._events), self._hashes[-1]
            for kind, body in noted:
                text = json.dumps(body, sort_keys=True)  # in ASCII: SQLite takes no lone surrogate
                seq, at = seq + 1, self._clock().isoformat()
                digest = chain_hash(digest, seq, at, kind, text)
                rows.append((seq, at, kind, text, digest))
            if rows:
                self._write(rows)
            events = [Event(seq, at, kind, json.loads(text)) for seq, at, kind, text, _ in rows]
            self._events += events
            self._hashes += [digest for *_, digest in rows]
        for event in events:
            for hear in self._subscribers:
                hear(event)
        return events

    def _write(self, rows: Sequence[Row]) -> None:
        try:
            if self._db is None:
                assert self.path is not None
                self._db = _made(self.path, rows)
            else:
                _insert(self._db, rows)
        except (OSError, sqlite3.Error) as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        if self._db is not None:
            self._db.close()


SELECT = "SELECT seq, at, kind, body, hash FROM events ORDER BY seq"
Row = tuple[int, str, str, str, str]
"""What SELECT finds and INSERT takes."""
INSERT = "INSERT INTO events VALUES (?,?,?,?,?)"


def _connect(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous=EXTRA")
    return db


def _insert(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """All of them or none: what could not be committed must not be left open, or what comes later
    would be a part of it."""
    try:
        db.execute("SAVEPOINT rows")
        db.executemany(INSERT, rows)
        db.execute("RELEASE rows")
    except BaseException:
        if db.in_transaction:  # on a full disk SQLite has taken it back itself
            db.execute("ROLLBACK")
        raise


def _made(path: Path, rows: Sequence[Row]) -> sqlite3.Connection:
    """A new journal with its first events. It gets its name last: a journal without any event is
    a damaged one, never one that was just being begun."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(_connect(new)) as db:
        db.execute(TABLE)
        _insert(db, rows)
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _connect(path)


def other_version(first: Event) -> str:
    """Which drctl can read a journal that begins like this, if this one cannot; else ""."""
    if first.kind != "run-started" or first.body.get("format") == FORMAT:
        return ""
    written = f"its journal was written by drctl {first.body.get('drctl', '?')}"
    return f"{written} (format {first.body.get('format', 0)}); drctl {__version__} reads {FORMAT}"


def _is_short(code: int) -> bool:
    """The file ends before its content does."""
    return code == sqlite3.SQLITE_IOERR_SHORT_READ


@dataclass(frozen=True)
class Reading:
    """A journal as far as it can be believed; `problem` says what is wrong after `events`, "" where
    nothing is. (A lost tail cannot be seen in the file itself.)"""

    events: tuple[Event, ...]
    problem: str = ""


def read(path: Path) -> Reading:
    """Read a journal and leave it as it is: for reports, of damaged ones and runs under way too."""
    events: list[Event] = []
    last, problem = "", ""
    try:
        with _opened_to_read(path) as db:
            for seq, at, kind, body, digest in db.execute(SELECT):
                if seq != len(events) + 1 or digest != chain_hash(last, seq, at, kind, body):
                    problem = "the next event does not match it"
                    break
                events.append(Event(seq, at, kind, json.loads(body)))
                last = digest
            else:
                (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
                problem = "" if verdict == "ok" else str(verdict).replace("\n", " ")
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:
        problem = str(error)
    if not events:
        problem = problem or "it has no events"
    elif other := other_version(events[0]):
        return Reading((), other)
    return Reading(tuple(events), problem and f"intact up to event {len(events)}, then: {problem}")


@contextmanager
def _opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A write that a kill cut short has to be undone before anybody can read: in a copy then."""
    with TemporaryDirectory() as folder:
        where = f"{path.absolute().as_uri()}?mode=ro"
        if _is_cut_short(where):
            for each in path.parent.glob(path.name + "*"):
                shutil.copy(each, folder)
            where = (Path(folder) / path.name).as_uri()
        with closing(sqlite3.connect(where, uri=True)) as db:
            yield db


def _is_cut_short(where: str) -> bool:
    with closing(sqlite3.connect(where, uri=True)) as db:
        try:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF
            return code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return False


def unwritable(path: Path | None, error: Exception) -> Refused:
    """The refusal for a state directory that cannot take the journal."""
    return Refused(
        f"the journal {path} cannot be written: {error}",
        hint="free space or fix permissions there, then retry or resume",
    )
