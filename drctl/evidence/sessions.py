"""Who worked on a run, when, and on what: the journal's events as sessions and bars of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from drctl.journal.runstate import Event

IDLE = "no drctl at work"
ASKING = "waiting for the operator's answer"
STARTING = "drctl starts"


@dataclass(frozen=True)
class Bar:
    """What one step did on one host in one session; times in seconds since the session's start.

    `state` is `done`, `failed`, `unreachable`, or `unfinished` where the session ended before the
    result was journalled. `found` says that the effect was there already (`after`), or not
    (`before`); "" where nothing was to be changed.
    """

    step: str
    host: str
    state: str
    begin: float
    end: float
    found: str = ""
    detail: str = ""


@dataclass
class ControllerSession:
    """One life of a controller. `ended` is "" where it ended abruptly (or still runs)."""

    epoch: int
    direction: str
    who: str
    process: int | None
    drctl: str
    digest: str
    started: str
    last: str  # the time of its last event
    ended: str = ""
    bars: list[Bar] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From its first event to its last."""
        return _between(self.started, self.last)

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "epoch": self.epoch,
            "direction": self.direction,
            "who": self.who,
            "process": self.process,
            "drctl": self.drctl,
            "plan_digest": self.digest,
            "started": self.started,
            "last_event": self.last,
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
            "bars": [
                {**vars(bar), "begin": round(bar.begin, 3), "end": round(bar.end, 3)}
                for bar in self.bars
            ],
        }


def sessions(events: Iterable[Event]) -> list[ControllerSession]:
    """Every session of the journal, in order, each with what it did."""
    found: list[ControllerSession] = []
    reader = _Reader()
    for event in events:
        if event.kind == "session":
            reader.close()
            found.append(_session(event))
            reader = _Reader(found[-1])
        reader.read(event)
    reader.close()
    return found


def _session(event: Event) -> ControllerSession:
    body = event.body
    return ControllerSession(
        epoch=body["epoch"],
        direction=body["direction"],
        who=body.get("who", ""),
        process=body.get("process"),
        drctl=body.get("drctl", ""),
        digest=body.get("digest", ""),
        started=event.at,
        last=event.at,
    )


def _between(first: str, then: str) -> float:
    return (datetime.fromisoformat(then) - datetime.fromisoformat(first)).total_seconds()


class _Reader:
    """Reads the events of one session into bars; before the first session there is none."""

    def __init__(self, session: ControllerSession | None = None) -> None:
        self.session = session
        self._step_began: dict[str, str] = {}
        self._open: dict[tuple[str, str], str] = {}
        self._acted: set[tuple[str, str]] = set()

    def read(self, event: Event) -> None:
        if self.session is None:
            return
        self.session.last = event.at
        body = event.body
        if event.kind == "step-started":
            self._step_began[body["step"]] = event.at
        elif event.kind in ("host-started", "intent"):
            key = (body["step"], body["host"])
            self._open.setdefault(key, event.at)
            if event.kind == "intent":
                self._acted.add(key)
        elif event.kind == "result":
            self._result(event)
        elif event.kind in ("finished", "withdrawn"):
            self.session.ended = body.get("state", "withdrawn")

    def _result(self, event: Event) -> None:
        body = event.body
        key = (body["step"], body["host"])
        # A gather that is asked again has no host-started: it began with its step.
        began = self._open.pop(key, self._step_began.get(body["step"], event.at))
        found = "before" if key in self._acted else body.get("seen", {}).get("state", "")
        self._bar(key, body["state"], began, event.at, found, body.get("detail", ""))

    def _bar(
        self,
        key: tuple[str, str],
        state: str,
        began: str,
        ended: str,
        found: str = "",
        detail: str = "",
    ) -> None:
        assert self.session is not None
        start = self.session.started
        self.session.bars.append(
            Bar(*key, state, _between(start, began), _between(start, ended), found, detail)
        )

    def close(self) -> None:
        """The session's events are over: what has no result stays unfinished."""
        for key, began in self._open.items():
            assert self.session is not None
            found = "before" if key in self._acted else ""
            self._bar(key, "unfinished", began, self.session.last, found)
        self._open.clear()


def split(
    events: Sequence[Event], phase_of: Mapping[str, str], confirms: frozenset[str]
) -> list[dict[str, Any]]:
    """Where the time between the first and the last event went: phase -> seconds, in the order of
    their first moments. Every moment is counted once, so that the parts add up to the whole.

    `phase_of` maps a step's id to its phase; `confirms` holds the ids of the questions.
    """
    spent: dict[str, float] = {}
    part = STARTING
    for event, following in pairwise(events):
        if event.kind == "session":
            part = STARTING
        elif event.kind == "step-started":
            step = event.body["step"]
            part = ASKING if step in confirms else phase_of.get(step, "rollback")
        elif event.kind == "confirmed":
            part = phase_of.get(event.body["step"], "rollback")
        elif event.kind in ("finished", "withdrawn"):
            part = IDLE
        now = IDLE if following.kind == "session" and event.kind != "run-started" else part
        spent[now] = spent.get(now, 0.0) + (following.when - event.when).total_seconds()
    return [{"phase": phase, "seconds": round(took, 3)} for phase, took in spent.items()]
