"""Watchdogs: one thread looks at all of them."""

from __future__ import annotations

import threading

import pytest

from drctl.ssh.limits import Countdown, Watchdog


def test_each_fires_for_itself_and_once() -> None:
    fired = [threading.Event() for _ in range(3)]
    calls: list[int] = []

    def expire(number: int) -> None:
        calls.append(number)
        fired[number].set()

    dogs = [
        Watchdog(Countdown(seconds), lambda n=number: expire(n))  # type: ignore[misc]  # mypy infers no lambda with a default
        for number, seconds in enumerate((60, 0.05, 60))
    ]
    with dogs[0], dogs[1], dogs[2]:
        assert fired[1].wait(30)
        dogs[2].hurry(0)
        assert fired[2].wait(30)
    assert sorted(calls) == [1, 2]
    assert (dogs[0].fired, dogs[1].fired) == ("", "no answer within 0.05 s")


def test_what_moves_does_not_stall() -> None:
    ended = threading.Event()
    dog = Watchdog(Countdown(60), ended.set, stall=0.2)
    with dog:
        dog.allow(60)
        assert not ended.wait(0.5)
        dog.allow(-60)
        dog._moved = 0.0
        assert ended.wait(30)
    assert dog.fired == "no data for 0.2 s"


def test_one_that_takes_its_time_holds_up_no_other() -> None:
    busy, goes_on, second = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        goes_on.wait(30)

    with Watchdog(Countdown(0), slow), Watchdog(Countdown(0.1), second.set):
        assert busy.wait(30) and second.wait(30)
        goes_on.set()


def test_a_call_with_one_starts_no_thread() -> None:
    with Watchdog(Countdown(60), lambda: None):
        before = threading.active_count()
        with Watchdog(Countdown(60), lambda: None), Watchdog(Countdown(60), lambda: None):
            assert threading.active_count() == before


def test_a_machine_without_room_for_threads_keeps_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, start = threading.Event(), threading.Event(), threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name == "drctl-expire":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with Watchdog(Countdown(0), first.set) as dog:
        assert first.wait(30)
    assert dog.fired
    with Watchdog(Countdown(0), second.set):
        assert second.wait(30)


def test_one_that_fails_ends_no_other() -> None:
    second = threading.Event()

    class Broken(Watchdog):
        def fire(self) -> None:
            raise ValueError("broken")

    with Broken(Countdown(0), lambda: None), Watchdog(Countdown(0.1), second.set):
        assert second.wait(30)
