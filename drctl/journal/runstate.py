"""What a run's journal adds up to: a pure fold over its events. Resume, rollback and every report
read nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from drctl.plan.model import meaning_digest

FORMAT = 1
"""Of a journal's events, and of what nodes keep of a run. It is raised when either is not read as
before; a run of another format is refused, and named with the drctl that can continue it."""

State = Literal["running", "failed", "done", "aborted", "rolled-back"]
UNFINISHED: tuple[State, ...] = ("running", "failed", "aborted")


@dataclass(frozen=True)
class Event:
    """One line of the journal; `at` is ISO 8601 in UTC, `body` plain JSON data."""

    seq: int
    at: str
    kind: str
    body: dict[str, Any]

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass
class HostState:
    """What the journal knows of one (step, host)."""

    state: str = "pending"  # pending, intended, done, failed, unreachable
    attempts: int = 0
    seen: dict[str, str] = field(default_factory=dict)  # the first observation, before any act
    started: str = ""
    finished: str = ""
    detail: str = ""

    @property
    def seconds(self) -> float:
        """Wall time from start to result; 0 where either is missing."""
        if not (self.started and self.finished):
            return 0.0
        begun, ended = (datetime.fromisoformat(t) for t in (self.started, self.finished))
        return (ended - begun).total_seconds()


@dataclass
class RunState:
    """The fold of a journal: everything that resume, rollback and reports need."""

    run: str = ""
    cluster: str = ""
    runbook: str = ""
    inventory: str = ""
    drctl: str = ""  # the version that began it
    plan: dict[str, Any] = field(default_factory=dict)
    state: State = "running"
    started: str = ""
    finished: str = ""
    epoch: int = 0
    direction: str = "forward"  # forward, undo, or clean (remove what an undo would need)
    journal: str = ""  # which journal this is: a run that was adopted has several
    adopted: dict[str, Any] = field(default_factory=dict)  # from which nodes, and what they had
    digests: list[str] = field(default_factory=list)  # of the plan's meaning, the newest last
    values_at: int = 0  # number of the event that last changed a value
    lost: list[dict[str, Any]] = field(default_factory=list)  # tails, with their heads on the nodes
    compared: dict[str, Any] = field(default_factory=dict)  # the last time with the nodes, and how
    cleaned: str = ""  # since when what an undo needs is being removed, or is gone
    before_undo: tuple[State, dict[str, Any] | None, str] = ("running", None, "")
    without: list[str] = field(default_factory=list)  # hosts that this undo does not go to
    left_out: list[str] = field(default_factory=list)  # where a finished rollback undid nothing
    later: dict[str, dict[str, Any]] = field(default_factory=dict)  # a rollback's steps, a clean's
    values: dict[str, Any] = field(default_factory=dict)
    hosts: dict[tuple[str, str], HostState] = field(default_factory=dict)
    intended: set[str] = field(default_factory=set)  # the steps that any node was to be changed by
    steps_done: set[str] = field(default_factory=set)
    first_stop: str = ""  # since when a service is being fenced
    ready: dict[tuple[str, str], str] = field(default_factory=dict)  # since when a start is done
    findings: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unreached: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    claimed: bool = False  # from the first lock's intent until the nodes were released
    # Hosts that could not be released then, and the record that each must still get. A run
    # that claims again has them again: what is left over is only known of one that holds nothing.
    unreleased: dict[str, str] = field(default_factory=dict)

    def of(self, step: str, host: str) -> HostState:
        return self.hosts.setdefault((step, host), HostState())

    def intend(self, step: str, host: str, attempt: int) -> HostState:
        """That `host` is to be changed by `step`, for the `attempt`-th time."""
        known = self.of(step, host)
        known.state, known.attempts = "intended", attempt
        self.intended.add(step)
        return known

    @property
    def seen_lines(self) -> dict[str, int]:
        """The last line of each node's history, as of when the journal was last compared."""
        return dict(self.compared.get("lines", {}))

    @property
    def followers(self) -> dict[str, dict[str, str]]:
        """Nodes on which the change of a later run stands: its run, who and at."""
        return dict(self.compared.get("followed", {}))

    @property
    def left_over(self) -> dict[str, str]:
        """What of `unreleased` no one works on."""
        return {} if self.claimed else self.unreleased

    @property
    def taking_back(self) -> bool:
        """Whether any step's undo was intended on any node."""
        undoing = {name for name, step in self.later.items() if step["undoes"]}
        return bool(self.intended & undoing)

    @property
    def tries(self) -> frozenset[str]:
        """The steps that make and remove things of no worth: they change nothing."""
        steps = self.plan.get("steps", ())
        return frozenset(s["id"] for s in steps if s["role"] in ("try", "untry"))

    @property
    def tried(self) -> bool:
        """Whether any try on any node was intended."""
        return bool(self.intended & self.tries)

    @property
    def attempted(self) -> bool:
        """Whether any change on any node was intended."""
        return bool(self.intended - self.tries)

    @property
    def changed(self) -> bool:
        """Whether any change of any node was intended; from here on errors say "after"."""
        return self.claimed or self.attempted

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED


def fold(events: Iterable[Event]) -> RunState:
    """Rebuild the state of a run from its events, in order."""
    state = RunState()
    for event in events:
        apply_event(state, event)
    return state


def apply_event(state: RunState, event: Event) -> None:
    """Add one event to `state`. What only a report tells of (an answer, a judge's words) is passed
    over."""
    change = _CHANGES.get(event.kind)
    if change:
        change(state, event)


def _run_started(state: RunState, event: Event) -> None:
    body = event.body
    state.run, state.cluster, state.runbook = body["run"], body["cluster"], body["runbook"]
    state.inventory, state.plan = body["inventory"], body["plan"]
    state.drctl = body.get("begun_with") or body.get("drctl", "")
    state.started = body.get("started", event.at)  # an adopted run began earlier
    state.values.update(body["values"])
    state.values_at = event.seq
    state.journal, state.adopted = body.get("journal_id", ""), body.get("adopted", {})
    state.digests = [*body.get("digests", ()), meaning_digest(body["plan"].get("meaning", {}))]


def _session(state: RunState, event: Event) -> None:
    turned = state.direction == "forward" and event.body["direction"] != "forward"
    if turned or state.state == "rolled-back":
        state.before_undo = (state.state, state.error, state.finished)
    state.epoch, state.direction = event.body["epoch"], event.body["direction"]
    state.without = event.body.get("without", [])
    own = {step["id"] for step in state.plan.get("steps", ())}
    state.later |= {s["id"]: s for s in event.body["steps"] if s["id"] not in own}
    if state.direction != "clean":  # which leaves the run what it is: done
        state.state, state.error, state.finished = "running", None, ""


def _withdrawn(state: RunState, _event: Event) -> None:
    """An undo (or a clean) was refused before it changed anything: the run is what it was."""
    state.direction = "forward"
    state.state, state.error, state.finished = state.before_undo


def _drift_accepted(state: RunState, event: Event) -> None:
    """From here on the run means what was accepted."""
    state.plan["meaning"] = event.body["meaning"]
    state.digests.append(meaning_digest(event.body["meaning"]))


def _value(state: RunState, event: Event) -> None:
    state.values[event.body["name"]] = event.body["value"]
    state.values_at = event.seq


def _host_started(state: RunState, event: Event) -> None:
    host = state.of(event.body["step"], event.body["host"])
    if host.state != "intended":  # after a kill the first start counts
        host.started, host.finished = event.at, ""


def _intent(state: RunState, event: Event) -> None:
    host = state.intend(event.body["step"], event.body["host"], event.body["attempt"])
    host.seen = host.seen or event.body["seen"]
    host.started = host.started or event.at
    if state.direction == "clean":
        state.cleaned = state.cleaned or event.at
    if _wants(state, event) == "fenced":
        state.first_stop = state.first_stop or event.at


def _result(state: RunState, event: Event) -> None:
    body = event.body
    host = state.of(body["step"], body["host"])
    host.state, host.finished, host.detail = body["state"], event.at, body.get("detail", "")
    host.seen = host.seen or body.get("seen", {})
    if body["state"] == "done" and _wants(state, event) == "running":
        state.ready.setdefault((body["step"], body["host"]), event.at)
    if body["state"] == "unreachable":
        state.unreached[body["host"]] = host.detail


def _wants(state: RunState, event: Event) -> str:
    """The state in which a step of the run's own plan wants its service."""
    steps = state.plan.get("steps", ())
    return next((s["want"] for s in steps if s["id"] == event.body["step"]), "")


def _step_done(state: RunState, event: Event) -> None:
    step = event.body["step"]
    state.steps_done.add(step)
    state.findings[step] = event.body.get("findings", [])
    state.warnings.extend(w for w in event.body.get("warnings", []) if w not in state.warnings)


def _tail_lost(state: RunState, event: Event) -> None:
    state.lost.append(event.body)


def _compared(state: RunState, event: Event) -> None:
    state.compared = {"at": event.at, **event.body}
    told = [f"{host}: {why}" for host, why in event.body["differ"].items()]
    state.warnings.extend(w for w in told if w not in state.warnings)


def _claiming(state: RunState, _event: Event) -> None:
    state.claimed = True


def _unreleased(state: RunState, event: Event) -> None:
    state.unreleased[event.body["host"]] = event.body.get("record", "{}")


def _given_back(state: RunState, event: Event) -> None:
    state.unreleased.pop(event.body["host"], None)


def _released(state: RunState, _event: Event) -> None:
    state.claimed = False
    if not state.attempted:
        state.steps_done -= state.tries  # what was tried is gone, and tried again the next time


def _finished(state: RunState, event: Event) -> None:
    state.error = event.body.get("error")
    if state.direction != "clean":
        state.state, state.finished = event.body["state"], event.at
        if state.state == "rolled-back":
            state.left_out = state.without
    elif not state.error:
        state.direction = "forward"


_CHANGES: dict[str, Callable[[RunState, Event], None]] = {
    "run-started": _run_started,
    "session": _session,
    "value": _value,
    "host-started": _host_started,
    "intent": _intent,
    "result": _result,
    "step-done": _step_done,
    "tail-lost": _tail_lost,
    "compared": _compared,
    "claiming": _claiming,
    "unreleased": _unreleased,
    "given-back": _given_back,
    "released": _released,
    "finished": _finished,
    "withdrawn": _withdrawn,
    "drift-accepted": _drift_accepted,
}
