"""Time limits that hold: a deadline, work that may be abandoned, and a watchdog that breaks the
connection, because a frozen peer blocks paramiko for ever whatever its own timeouts say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Countdown:
    """A deadline, given in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """Seconds that remain, not below zero, capped."""
        return max(0.0, min(self._end - time.monotonic(), at_most))


class AbandonedError(Exception):
    """Work that missed its deadline and continues without us, in its own thread."""


def bounded(work: Callable[[], T], seconds: float, abandon: Callable[[], None]) -> T:
    """The result of `work`, or AbandonedError after `seconds`, once `abandon` was called to end it.

    Name look-ups and ssh-agents take no timeout, so the work has a thread of its own.
    """
    future: Future[T] = Future()
    thread = threading.Thread(target=_settle, args=(future, work), daemon=True, name="drctl-ssh")
    thread.start()
    try:
        wait([future], seconds)
    finally:  # also when the operator interrupts the wait
        if not future.done():
            abandon()
        thread.join(1.0)
    if not future.done():
        raise AbandonedError
    return future.result()


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as e:
        future.set_exception(e)


LOOK = 0.5  # seconds between two looks at a watchdog: often enough for moved() and hurry()


class Watchdog:
    """Calls `expire` once, from another thread, when the countdown runs out or nothing has moved
    for `stall` seconds. Use it as a context manager; `fired` says why it did.
    """

    def __init__(
        self, countdown: Countdown, expire: Callable[[], None], stall: float = float("inf")
    ) -> None:
        self._countdown = countdown
        self._expire = expire
        self._stall = stall
        self._moved = time.monotonic()
        self._firing: threading.Thread | None = None
        self.fired = ""

    def moved(self) -> None:
        """Something got through: the stall is measured from here."""
        self._moved = max(self._moved, time.monotonic())

    def allow(self, seconds: float) -> None:
        """So long nothing needs to move: the other side is busy with what it has."""
        self._moved = time.monotonic() + seconds

    def no_stall(self) -> None:
        """From now on only the deadline counts: what is in the pipes can't be seen moving."""
        self._stall = float("inf")

    def hurry(self, seconds: float) -> None:
        """Bring the deadline forward: a call that is being abandoned may not take long."""
        if self._countdown.left() > seconds:
            self._countdown = Countdown(seconds)

    @property
    def left(self) -> float:
        """Seconds until it fires, if nothing happens."""
        stalled = self._moved + self._stall - time.monotonic()
        return max(0.0, min(self._countdown.left(), stalled))

    def fire(self) -> None:
        """Say why, and call `expire`, which may take its time, in a thread of its own."""
        late = self._countdown.left() == 0
        self.fired = (
            f"no answer within {self._countdown.seconds:g} s"
            if late
            else f"no data for {self._stall:g} s"
        )
        thread = threading.Thread(target=self._expire, daemon=True, name="drctl-expire")
        try:
            thread.start()
            self._firing = thread
        except RuntimeError:  # this machine lets us have no more threads
            self._expire()

    def __enter__(self) -> Self:
        _KEEPER.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _KEEPER.remove(self)
        if self._firing:
            self._firing.join(5.0)


class _Keeper:
    """One thread that looks at every watchdog: a call that has one starts no thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._dogs: set[Watchdog] = set()
        self._thread: threading.Thread | None = None

    def add(self, dog: Watchdog) -> None:
        with self._changed:
            self._dogs.add(dog)
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._keep, daemon=True, name="drctl-keeper")
                thread.start()
                self._thread = thread
            elif dog.left < LOOK:
                self._changed.notify()

    def remove(self, dog: Watchdog) -> None:
        """From now on it does not begin to fire."""
        with self._changed:
            self._dogs.discard(dog)

    def _keep(self) -> None:
        with self._changed:
            while True:
                for dog in [dog for dog in self._dogs if dog.left == 0]:
                    self._dogs.discard(dog)
                    with suppress(Exception):  # one that cannot end its call must not end the rest
                        dog.fire()
                self._changed.wait(min([LOOK, *(dog.left for dog in self._dogs)]))


_KEEPER = _Keeper()
