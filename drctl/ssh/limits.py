"""Time limits that hold: a deadline, work that may be abandoned, and a watchdog that breaks the
connection, because a frozen peer blocks paramiko for ever whatever its own timeouts say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
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


class Watchdog:
    """Calls `expire` once, from a thread of its own, when the countdown runs out or nothing has
    moved for `stall` seconds. Use it as a context manager; `fired` says why it did.
    """

    def __init__(
        self, countdown: Countdown, expire: Callable[[], None], stall: float = float("inf")
    ) -> None:
        self._countdown = countdown
        self._expire = expire
        self._stall = stall
        self._moved = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="drctl-watchdog")
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

    def _left(self) -> float:
        stalled = self._moved + self._stall - time.monotonic()
        return max(0.0, min(self._countdown.left(), stalled))

    def _watch(self) -> None:
        # Woken often enough for moved() and hurry() to need no signal.
        while not self._done.wait(min(self._left(), 0.5)):
            if self._left() > 0:
                continue
            late = self._countdown.left() == 0
            self.fired = (
                f"no answer within {self._countdown.seconds:g} s"
                if late
                else f"no data for {self._stall:g} s"
            )
            self._expire()
            return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join(5.0)
