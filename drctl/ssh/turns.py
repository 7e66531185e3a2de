"""Taking turns, where an SSH server allows no more at once: logins (MaxStartups in sshd_config) and
sessions on one connection (MaxSessions)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from drctl.errors import Unreachable
from drctl.ssh.limits import Countdown
from drctl.ssh.route import Route


class Turns:
    """The sessions of one connection: as many at once as the server was seen to allow."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = 0
        self._refused_since: float | None = None  # with none of ours open, and none opened since
        self.most: int | None = None  # not known before one was refused

    def take(self, countdown: Countdown) -> bool:
        """Wait for room; whether there was any within the countdown."""
        with self._changed:
            if not self._changed.wait_for(self._room, timeout=countdown.left()):
                return False
            self._open += 1
            return True

    def _room(self) -> bool:
        return self.most is None or self._open < self.most

    def give(self) -> None:
        """The session is over."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def opened(self) -> None:
        """The server allowed the session whose turn it was."""
        with self._changed:
            self._refused_since = None

    def refused(self) -> float:
        """The server refused the session whose turn it was. Seconds for which it has refused all,
        with no other open on this connection: it may not have noticed yet that the last one is
        over, so the first refusals say little."""
        with self._changed:
            self._open -= 1
            self.most = max(1, self._open)
            self._changed.notify_all()
            now = time.monotonic()
            if self._open > 0:
                self._refused_since = None
                return 0.0
            self._refused_since = self._refused_since or now
            return now - self._refused_since


class Gate:
    """One login at a time on one way to a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed_at = float("-inf")
        self._failure: Unreachable | None = None

    @contextmanager
    def turn(self, countdown: Countdown) -> Iterator[None]:
        """Wait for those before us. Who waited for one that found nobody shares its Unreachable: a
        jump host that is down costs its hosts one wait, not one after the other."""
        asked = time.monotonic()
        if not self._lock.acquire(timeout=countdown.left()):
            raise Unreachable(f"no connection within {countdown.seconds:g} s")
        try:
            if self._failure and self._failed_at >= asked:
                raise Unreachable(self._failure.message, hint=self._failure.hint)
            yield
        except Unreachable as e:
            self._failed_at, self._failure = time.monotonic(), e
            raise
        finally:
            self._lock.release()


class Gates:
    """The gates of one transport, by the way to the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[tuple[tuple[str, int], ...], Gate] = {}

    def at(self, way: Route) -> Gate:
        """The gate of the last endpoint on `way`."""
        with self._lock:
            return self._gates.setdefault(tuple((e.hostname, e.port) for e in way), Gate())
