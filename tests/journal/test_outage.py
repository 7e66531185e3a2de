"""From the first stop to the last service that was ready again."""

from __future__ import annotations

from typing import Any

from drctl.journal.outage import outage
from drctl.journal.runstate import Event, RunState, fold

STEPS = [
    {"id": step, "want": want, "tasks": {"a": {}, "b": {}}, "tolerate": False, "role": ""}
    for step, want in (("stop", "fenced"), ("hold", "fenced"), ("start", "running"))
]
STEPS.append({"id": "kubelets", "want": "restarted", "tasks": {"w": {}}, "tolerate": True})


def told(*events: tuple[int, str, str, str]) -> RunState:
    begun = {"run": "r", "cluster": "c", "runbook": "b", "inventory": "i", "values": {}}
    first = Event(
        1, "2026-01-01T00:00:00+00:00", "run-started", {**begun, "plan": {"steps": STEPS}}
    )
    return fold([first, *(_event(n, *event) for n, event in enumerate(events, 2))])


def _event(seq: int, second: int, kind: str, step: str, host: str) -> Event:
    body: dict[str, Any] = {"step": step, "host": host, "state": "done", "attempt": 1, "seen": {}}
    return Event(seq, f"2026-01-01T00:00:{second:02}+00:00", kind, body)


STOPPED = ((10, "intent", "stop", "b"), (12, "result", "stop", "b"), (20, "intent", "hold", "a"))
A = (30, "result", "start", "a")
B = (33, "result", "start", "b")


def test_from_the_first_stop_to_the_last_start() -> None:
    assert outage(told(*STOPPED, A, B, (50, "result", "kubelets", "w"))) == 23


def test_until_all_are_back_it_is_not_known() -> None:
    assert outage(told(*STOPPED, A)) is None
    assert outage(told(A, B)) is None  # nothing was stopped: there was no outage


def test_what_a_resume_finds_running_is_not_counted_again() -> None:
    assert outage(told(*STOPPED, A, B, (59, "result", "start", "a"))) == 23
