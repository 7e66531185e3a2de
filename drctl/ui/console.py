"""What a person watches: which host does what, since when. The one owner of Rich.

On a terminal a live table stands below the finished lines; elsewhere there are plain lines only.
Everything goes to stderr: stdout is for data. Nothing is written to a terminal but from here.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from drctl.journal.runstate import Event
from drctl.plan.model import Plan, PlannedStep
from drctl.printable import json_text, one_line, printable
from drctl.ui.documents import human_bytes, human_seconds

_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "unreachable": ("–", "yellow")}
_PROGRESS_EVERY = 0.2  # seconds


class Watch:
    """Subscribes to a journal and listens to an engine; shows both."""

    def __init__(self, plan: Plan, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._steps = {step.id: step for step in plan.steps}
        self._rows: dict[str, tuple[str, float]] = {}
        self._phase = ""
        self._quiet = quiet
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._shown = 0.0
        self._begun: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Watch:
        if self.console.is_terminal and not self._quiet:
            self._live = Live(
                console=self.console,
                get_renderable=self._table,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the live table away, as before a question."""
        if self._live:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        """What Rich draws, from its own thread and under its own lock: so ours is not taken here
        (a printing thread holds ours and waits for Rich's). Copying a dict is one step."""
        table = Table.grid(padding=(0, 2))
        for host, (what, since) in self._rows.copy().items():
            elapsed = human_seconds(time.monotonic() - since)
            table.add_row(_cell(host, "bold"), _cell(what), _cell(elapsed, "dim"))
        return table

    def say(self, text: str, style: str = "") -> None:
        if not self._quiet:
            self.console.print(Text(_shown(text), style=style), soft_wrap=True)

    def __call__(self, event: Event) -> None:
        with self._lock:
            show = getattr(self, "_on_" + event.kind.replace("-", "_"), None)
            if show:
                show(event.body)

    # -- journal events -------------------------------------------------------------------

    def _on_step_started(self, body: Mapping[str, Any]) -> None:
        step = self._steps.get(body["step"])
        if step is None:
            return
        if step.phase != self._phase:
            self._phase = step.phase
            self.say(step.phase, "bold")
        self._rows = {host: (step.title, time.monotonic()) for host in step.hosts}
        for host in step.hosts:
            self._begun[step.id, host] = time.monotonic()
        if step.kind != "gather":
            self.say(f"  {step.title} …" if step.kind == "act" else f"  {step.title}")

    def _on_intent(self, body: Mapping[str, Any]) -> None:
        step = self._steps.get(body["step"])
        if step:
            self._rows[body["host"]] = (step.title, time.monotonic())

    def _on_result(self, body: Mapping[str, Any]) -> None:
        step, host, state = self._steps.get(body["step"]), body["host"], body["state"]
        self._rows.pop(host, None)
        if step is None or (step.kind == "gather" and state == "done"):
            return
        mark, style = _MARKS.get(state, ("?", "yellow"))
        seconds = time.monotonic() - self._begun.get((step.id, host), time.monotonic())
        detail = f"  {body['detail']}" if body.get("detail") else ""
        self.say(f"    {mark} {host:<12} {human_seconds(seconds)}{indented(detail, 8)}", style)

    def _on_step_done(self, body: Mapping[str, Any]) -> None:
        step = self._steps.get(body["step"])
        if step is None:
            return
        if step.kind == "gather":
            found = "; ".join(map(one_line, body.get("findings", ())))
            self.say(f"  ✓ {step.title}" + (f": {found}" if found else ""))
        for warning in body.get("warnings", ()):
            self.say(f"    warning: {one_line(warning)}", "yellow")

    # -- what is not journalled -----------------------------------------------------------

    def progress(self, step: PlannedStep, host: str, done: int, total: int) -> None:
        now = time.monotonic()
        with self._lock:
            if done < total and now - self._shown < _PROGRESS_EVERY:
                return
            self._shown = now
            taken = max(now - self._begun.get((step.id, host), now), 0.001)
            rate = done / taken
            left = human_seconds((total - done) / rate) if rate else "unknown"
            share = f"{100 * done / total:.0f} %" if total else "all"
            what = (
                f"{step.title}: {share} of {human_bytes(total)}, {human_bytes(rate)}/s, {left} left"
            )
            since = self._rows.get(host, ("", now))[1]
            self._rows[host] = (what, since)

    def waiting(self, step: PlannedStep, why: str) -> None:
        with self._lock:
            for host in step.hosts:
                since = self._rows.get(host, ("", time.monotonic()))[1]
                self._rows[host] = (f"{step.title}: {why}", since)


_hiding: list[Callable[[str], str]] = []


def keep_out(hide: Callable[[str], str]) -> None:
    """From here on every text goes through `hide` on its way to the terminal."""
    _hiding.append(hide)


def _shown(text: str) -> str:
    for hide in _hiding:
        text = hide(text)
    return printable(text)


def tell(text: str) -> None:
    """For the person at the terminal, on stderr; a line of its own."""
    sys.stderr.write(_shown(text) + "\n")
    sys.stderr.flush()


def print_text(text: str, end: str = "\n") -> None:
    """What was asked for, on stdout."""
    sys.stdout.write(_shown(text) + end)
    sys.stdout.flush()


def print_json(document: object) -> None:
    """What was asked for, as one JSON document on stdout."""
    print_text(json_text(document))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table on stdout; plain columns where stdout is not a terminal."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell("" if cell is None else str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 200
    Console(highlight=False, width=width).print(table)


def indented(text: str, columns: int) -> str:
    """`text` with every line but the first set in by `columns`: what a node said in many lines
    cannot pass for one of ours."""
    first, *more = text.split("\n")
    return "\n".join([first, *(f"{'':{columns}}{line.strip()}" for line in more)])


def _cell(text: str, style: str = "") -> Text:
    """One line, and no markup."""
    return Text(one_line(_shown(text)), style=style)
