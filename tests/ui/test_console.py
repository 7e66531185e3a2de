"""The live terminal under many threads, and text that looks like markup."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from drctl.journal.runstate import Event
from drctl.plan.model import Plan, PlannedStep, Task
from drctl.ui.console import Watch, print_table

HOSTS = tuple(f"h{number}" for number in range(6))
STEP = PlannedStep("a", "1 look", "look around", "run", "x", tasks={host: Task() for host in HOSTS})


def event(kind: str, **body: str) -> Event:
    return Event(1, "2026-01-01T00:00:00+00:00", kind, {"step": "a", **body})


def test_drawing_and_printing_do_not_wait_for_each_other() -> None:
    out = io.StringIO()
    watch = Watch(Plan("r", "c", (STEP,)), Console(force_terminal=True, file=out))

    def work(host: str) -> None:
        for done in range(100):
            watch(event("intent", host=host))
            watch.progress(STEP, host, done, 100)
            watch(event("result", host=host, state="done"))

    threads = [threading.Thread(target=work, args=(host,), daemon=True) for host in HOSTS]
    with watch:
        watch(event("step-started"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "drawing and printing dead-locked"
    assert "look around" in out.getvalue()


def test_remote_text_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = "[/bold] no [red]SSH[/nothing] to [127.0.0.1]:22"
    print_table(("what",), [(nasty,)])
    assert nasty in capsys.readouterr().out
    out = io.StringIO()
    watch = Watch(Plan("r", "c", (STEP,)), Console(file=out, width=200))
    watch(event("result", host="h0", state="failed", detail=nasty))
    assert nasty in out.getvalue()
