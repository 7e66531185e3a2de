"""Every check of a run with what it measured: the judged looks, and the effect of each change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drctl.journal.runstate import Event, RunState

HELD, FAILED, NOT_REACHED, UNKNOWN = "held", "failed", "not reached", "no result"


def checks(
    steps: Sequence[Mapping[str, Any]], events: Sequence[Event], state: RunState, hidden: set[str]
) -> list[dict[str, Any]]:
    """One check a step, in the order of the plan. `outcome` is `held`, `failed`, `not reached`,
    or `no result` where it was begun and nothing came of it. A step that was rolled back later
    still held: the steps that undid it follow."""
    return [
        {
            "step": step["id"],
            "phase": step["phase"],
            "title": step["title"],
            "kind": step["kind"],
            "judges": list(step.get("judges", ())),
            **_Told(step, events, state, hidden).document(),
        }
        for step in steps
        if step["kind"] in ("gather", "act")
    ]


class _Told:
    """What the journal knows of one step."""

    def __init__(
        self,
        step: Mapping[str, Any],
        events: Sequence[Event],
        state: RunState,
        hidden: set[str],
    ) -> None:
        self.planned = len(step["hosts"])
        self.changes = step["kind"] == "act"
        self.events = [event for event in events if event.body.get("step") == step["id"]]
        self.hosts = {
            host: known for (name, host), known in state.hosts.items() if name == step["id"]
        }
        self.hidden = hidden

    def document(self) -> dict[str, Any]:
        measured = self._effects() if self.changes else self._looks()
        return {
            "outcome": self.outcome,
            "measured": list(measured),
            "warnings": list(self._said("step-done", "warnings")),
        }

    @property
    def outcome(self) -> str:
        """By the step's last word; a step may be begun again in a later session."""
        words = [e.kind for e in self.events if e.kind in ("step-started", "judged", "step-done")]
        if not words:
            return NOT_REACHED
        failed = any(known.state == "failed" for known in self.hosts.values())
        last = {"step-done": HELD, "judged": FAILED}.get(words[-1], UNKNOWN)
        return FAILED if last == UNKNOWN and failed else last

    def _said(self, kind: str, name: str) -> Sequence[Any]:
        """A list in the body of the last event of that kind."""
        found = [event.body.get(name, ()) for event in self.events if event.kind == kind]
        return found[-1] if found else ()

    def _looks(self) -> Iterator[str]:
        if self.outcome == FAILED:
            for problem in self._said("judged", "problems"):
                yield _at(problem.get("host"), problem["message"])
            return
        measured = [*self._said("step-done", "findings")] or [
            line
            for event in self.events
            if event.kind == "value" and event.body["name"] not in self.hidden
            for line in _value(event.body["name"], event.body["value"])
        ]
        yield from measured
        if self.hosts and not measured:
            answered = [known for known in self.hosts.values() if known.state == "done"]
            yield f"{len(answered)} of {self.planned} hosts answered, nothing amiss"

    def _effects(self) -> Iterator[str]:
        """What was observed after the change, not what a command said of itself."""
        if not self.hosts:
            return
        done = [known for known in self.hosts.values() if known.state == "done"]
        already = len([known for known in done if not known.attempts])
        had = f" ({already} had it already)" if already else ""
        yield f"effect observed on {len(done)} of {self.planned} hosts{had}"
        for host, known in self.hosts.items():
            if known.state != "done":
                yield _at(host, known.detail or "started; no result was journalled")
            elif known.attempts > 1:
                yield _at(host, f"done by attempt {known.attempts}")


def _at(host: str | None, text: str) -> str:
    return f"{host}: {text}" if host else text


def _value(name: str, value: Any) -> Iterator[str]:
    """A single value that a judge yielded; lists and per-host values stand elsewhere."""
    words = {True: "yes", False: "no"}
    if isinstance(value, bool):
        yield f"{name.replace('_', ' ')}: {words[value]}"
    elif isinstance(value, int) or (isinstance(value, str) and value):
        yield f"{name.replace('_', ' ')}: {value}"
