"""A run's journal as one document: what `drctl runs report --output json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from drctl import __version__
from drctl.evidence.checks import checks
from drctl.evidence.hosts import topology
from drctl.evidence.redact import redactor, secret_names
from drctl.evidence.sessions import sessions, split
from drctl.evidence.untested import not_tested
from drctl.evidence.verdict import verdict
from drctl.journal.diagnosis import exchanges, old_data
from drctl.journal.runstate import Event, RunState
from drctl.nodes.comparison import compared
from drctl.ui.documents import run_document

SCHEMA = 1
COUNTABLE = 1_000_000_000  # a restore raises revisions by at least this: no count of writes


def run_evidence(
    state: RunState,
    events: Sequence[Event],
    *,
    made_at: str,
    problem: str = "",
    holder: str = "",
) -> dict[str, Any]:
    """Everything that the journal proves of a run, as plain data without secrets.

    A superset of `runs show`, but for the values, of which only the names are given. `made_at` is
    now, ISO 8601 in UTC; `problem` and `holder` as for `verdict`.
    """
    hidden = secret_names(state.plan)
    redact = redactor({name: state.values.get(name) for name in hidden})
    steps = _steps(state)
    found = checks(steps, events, state, hidden)
    shown = run_document(state)
    del shown["values"], shown["findings"]
    whole: dict[str, Any] = redact(
        {
            "report": "run",
            "schema": SCHEMA,
            "made": {"at": made_at, "drctl": __version__},
            "verdict": verdict(state, problem=problem, holder=holder),
            **shown,
            "drctl": _drctl(events),
            "journal": {"events": len(events), "problem": problem, "holder": holder},
            "last_event": events[-1].at if events else "",
            "digests": _digests(state),
            "snapshot": _snapshot(state),
            "topology": topology(state.plan, events),
            "people": _people(events),
            "sessions": [session.document() for session in sessions(events)],
            "time": _time(state, events, steps),
            "loss": _loss(state),
            "checks": found,
            "not_tested": [*_not_seen(events), *not_tested(state, found), *compared(state)],
            "kept": _kept(state),
            "values": sorted(name for name in state.values),
        }
    )
    return whole


def _steps(state: RunState) -> list[dict[str, Any]]:
    """The plan's steps, then those that only a session's own plan knows (a rollback's)."""
    known: dict[str, dict[str, Any]] = {
        step["id"]: {**step, "hosts": list(step["tasks"])} for step in state.plan.get("steps", ())
    }
    return [*known.values(), *state.later.values()]


def _drctl(events: Sequence[Event]) -> list[str]:
    """The versions of drctl that worked on the run."""
    told = (event.body["drctl"] for event in events if "drctl" in event.body)
    return list(dict.fromkeys(told))


def _digests(state: RunState) -> dict[str, str]:
    snapshot = state.plan.get("facts", {}).get("snapshot") or {}
    return {
        "plan": state.plan.get("digest", ""),
        "snapshot": snapshot.get("sha256", ""),
        "cluster_id": str(state.values.get("cluster_id", "")),
    }


def _snapshot(state: RunState) -> dict[str, Any] | None:
    snapshot = state.plan.get("facts", {}).get("snapshot")
    if not snapshot:
        return None
    names = (
        "path",
        "sha256",
        "size",
        "revision",
        "records",
        "taken_at",
        "taken_at_proven",
        "cluster_id",
        "etcd_version",
        "cluster_version",
        "host",
    )
    return {name: snapshot[name] for name in names if name in snapshot}


def _people(events: Sequence[Event]) -> list[dict[str, str]]:
    """What people decided: each adoption, each answer to a question, each drift accepted."""
    who = ""
    found = []
    for event in events:
        if adopted := event.body.get("adopted"):
            nodes = f"from the records on {', '.join(adopted['nodes'])}"
            silent = f"; no answer from {', '.join(adopted['silent'])}" if adopted["silent"] else ""
            what = f"adopted the run {nodes}{silent}"
            found.append({"at": event.at, "who": adopted["by"], "what": what})
        elif event.kind == "session":
            who = event.body.get("who", "")
        elif event.kind == "confirmed":
            what = f"agreed ({event.body['step']}): {event.body['how']}"
            found.append({"at": event.at, "who": who, "what": what})
        elif event.kind == "drift-accepted":
            what = f"accepted a change of {', '.join(event.body['fields'])}"
            found.append({"at": event.at, "who": who, "what": what})
    return found


def _not_seen(events: Sequence[Event]) -> list[str]:
    """What an adopted run's journal cannot tell."""
    if not (events and events[0].body.get("adopted")):
        return []
    return [
        "the journal was rebuilt from the nodes' own records: what was done before the run was "
        "adopted is known from them alone, and how long it took is not"
    ]


def _time(
    state: RunState, events: Sequence[Event], steps: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    phases = {step["id"]: step["phase"] for step in steps}
    confirms = frozenset(step["id"] for step in steps if step["kind"] == "confirm")
    total = (events[-1].when - events[0].when).total_seconds() if events else 0.0
    return {
        "total_seconds": round(total, 3),
        "split": split(events, phases, confirms),
        "stopped_seconds": _stopped(state, events),
    }


def _stopped(state: RunState, events: Sequence[Event]) -> float | None:
    """From the first change that stops a service to the run's end; None where nothing was."""
    stopping = {step["id"] for step in state.plan.get("steps", ()) if step["want"] == "fenced"}
    first = next((e for e in events if e.kind == "intent" and e.body["step"] in stopping), None)
    if first is None or not state.finished:
        return None
    return round((datetime.fromisoformat(state.finished) - first.when).total_seconds(), 3)


def _loss(state: RunState) -> dict[str, Any]:
    """RPO as far as the run can know it: what was written after the snapshot. None is unknown, and
    `basis` says why. `lost` is `yes`, `no`, or `if resumed`."""
    snapshot = state.plan.get("facts", {}).get("snapshot")
    if not (snapshot and exchanges(state)):
        return _no_loss("the run restores no snapshot")
    if state.state == "rolled-back":
        return _no_loss("the run was rolled back, and the old data serves again")
    if not state.changed:
        return _no_loss("no node was changed")
    taken = datetime.fromisoformat(snapshot["taken_at"])
    age = (datetime.fromisoformat(state.started) - taken).total_seconds()
    revisions, basis = _revisions(state, int(snapshot["revision"]))
    return {
        "lost": "yes" if state.state == "done" else "if resumed",
        "seconds": age if age >= 0 else None,  # else a clock was wrong
        "revisions": revisions,
        "at_least": revisions is not None and not state.values.get("quorum"),
        "basis": basis,
    }


def _no_loss(basis: str) -> dict[str, Any]:
    return {"lost": "no", "seconds": None, "revisions": None, "at_least": False, "basis": basis}


def _revisions(state: RunState, taken: int) -> tuple[int | None, str]:
    live = state.values.get("live_revision")
    if live is None:
        return None, "no member of the old cluster answered: what it held is not known"
    lead = int(live) - taken
    if lead >= COUNTABLE:
        return None, "an earlier restore raised the revisions: they no longer count writes"
    answering = ", ".join(state.values.get("answering", ()))
    behind = "" if state.values.get("quorum") else "; without a quorum it may have been behind"
    return max(lead, 0), f"revision {live} on {answering}, {taken} in the snapshot{behind}"


def _kept(state: RunState) -> list[str]:
    ended = not state.unfinished and state.state != "done"
    if ended or not (state.changed and exchanges(state)):
        return []
    return old_data(state.plan.get("facts", {}), state)
