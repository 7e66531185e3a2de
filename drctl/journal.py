"""The journal: what a run meant to do and did, durable before each act and after it.

One SQLite file per run, one append-only table. Each event carries the hash of the one before, so
a damaged or edited journal is noticed (SQLite's own check is not enough: most single flipped bits
pass it). A lost tail cannot be seen from here; the nodes' own records decide, which is why every
step observes before it acts.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drctl.errors import Refused
from drctl.runstate import Event

Clock = Callable[[], datetime]


def now() -> datetime:
    return datetime.now(UTC)


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
        try:
            if self.path:
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
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
        except OSError as error:
            raise unwritable(self.path, error) from error
        except sqlite3.OperationalError as error:
            if "decode" in str(error):  # text that is no UTF-8
                raise self._damaged(str(error)) from error
            raise unwritable(self.path, error) from error
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
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
                self._db.execute(
                    "INSERT INTO events VALUES (?,?,?,?,?)", (seq, at, kind, text, digest)
                )
            except sqlite3.Error as error:
                raise unwritable(self.path, error) from error
            event = Event(seq, at, kind, json.loads(text))
            self._events.append(event)
            self._last = digest
        for hear in self._subscribers:
            hear(event)
        return event

    def close(self) -> None:
        self._db.close()


def unwritable(path: Path | None, error: Exception) -> Refused:
    """The refusal for a state directory that cannot take the journal."""
    return Refused(
        f"the journal {path} cannot be written: {error}",
        hint="free space or mend permissions there, then try again or resume",
    )
