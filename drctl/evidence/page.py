"""A document as one page of HTML: no script, no other file. The words and the arithmetic are here,
the layout is in templates/report/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import SimpleNamespace
from typing import Any

from drctl.evidence import draw
from drctl.evidence.checks import FAILED, HELD
from drctl.journal.abandoned import back_again_lines
from drctl.render import render_html
from drctl.ui.documents import human_bytes, human_seconds

_TONES = {
    "done": "good",
    "held": "good",
    "passed": "good",
    "failed": "bad",
    "unfinished": "bad",
    "no result": "bad",
}
_WORDS = {"unfinished": "no result", "unreachable": "not reached"}
_ENDED = {
    "": "ended abruptly",
    "done": "done",
    "failed": "failed",
    "aborted": "stopped by the operator",
    "rolled-back": "rolled back",
    "withdrawn": "refused before it rolled anything back",
}
_DIRECTIONS = {"forward": "forward", "undo": "rolling back"}
SECTIONS = (
    ("what", "What, when, by whom"),
    ("time", "Where the time went"),
    ("loss", "What was lost"),
    ("checks", "Checks"),
    ("timeline", "Timeline"),
    ("hosts", "Hosts"),
)


def run_page(document: Mapping[str, Any]) -> str:
    """The page of a run's document (`run_evidence`)."""
    return render_html("report/run", doc=document, view=run_view(document), p=FUNCTIONS)


def run_text(doc: Mapping[str, Any]) -> str:
    """The same in a few lines, for a terminal."""
    view = run_view(doc)
    verdict = doc["verdict"]
    return "\n".join(
        [
            f"run {doc['run']} of {doc['cluster']}: {verdict['title']}",
            *(f"  {line}" for line in verdict["detail"].splitlines()),
            *(f"{each['label']:<21}{each['value']:<14}{each['note']}" for each in view["figures"]),
            view["loss"],
            "not tested:",
            *(f"  {line}" for line in doc["not_tested"]),
            *back_again_lines(doc["bring_back"]),
        ]
    )


def run_view(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a run that is not in the document as such: words and drawings."""
    return {
        "figures": [*_time_figures(doc), *_loss_figures(doc["loss"]), *_count_figures(doc)],
        "sections": SECTIONS,
        "who": ", ".join(dict.fromkeys(session["who"] for session in doc["sessions"])),
        "loss": loss_words(doc["loss"]),
        "checks": by_phase(doc["checks"]),
        "sessions": [session_view(session, doc) for session in doc["sessions"]],
    }


# -- figures ------------------------------------------------------------------------------------


def figure(name: str, label: str, raw: object, value: str, note: str = "") -> dict[str, Any]:
    """One of the large numbers under the verdict."""
    return {"id": name, "label": label, "raw": raw, "value": value, "note": note}


def _time_figures(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    total, stopped = doc["time"]["total_seconds"], doc["time"]["stopped_seconds"]
    note = f"from the first to the last of {doc['journal']['events']} events"
    found = [figure("total", "The run took", total, human_seconds(total), note)]
    if stopped is not None:
        note = "from the first service stopped to the end"
        found.append(figure("stopped", "Services stopped", stopped, human_seconds(stopped), note))
    return found


def _loss_figures(loss: Mapping[str, Any]) -> list[dict[str, Any]]:
    if loss["seconds"] is None:
        return []
    count = loss["revisions"]
    least = "at least " if loss["at_least"] else ""
    note = "revisions lost: not known" if count is None else f"{least}{count} revisions"
    value = human_seconds(loss["seconds"])
    return [figure("loss", "Snapshot older by", loss["seconds"], value, note)]


def _count_figures(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    outcomes = [check["outcome"] for check in doc["checks"]]
    held, failed = outcomes.count(HELD), outcomes.count(FAILED)
    note = f"{failed} failed, {len(outcomes) - held - failed} without a result"
    reached = {bar["host"] for session in doc["sessions"] for bar in session["bars"]}
    reached -= set(doc["unreached"])
    return [
        figure("checks", "Checks that held", held, f"{held} of {len(outcomes)}", note),
        figure("hosts", "Hosts reached", len(reached), f"{len(reached)} of {len(doc['topology'])}"),
    ]


def loss_words(loss: Mapping[str, Any]) -> str:
    """What the restore of an older state cost, as far as it is known."""
    if loss["lost"] == "no":
        return f"Nothing by this run: {loss['basis']}."
    when = "" if loss["lost"] == "yes" else "Nothing is lost yet; if the run is resumed, it is: "
    age = "which was of unknown age (its time is after the run began: a clock was wrong)"
    if loss["seconds"] is not None:
        age = f"which was {human_seconds(loss['seconds'])} old when the run began"
    count = loss["revisions"]
    if count is None:
        counted = f"How many changes that are is not known: {loss['basis']}."
    else:
        least = "at least " if loss["at_least"] else ""
        plural = "" if count == 1 else "s"
        counted = f"That is {least}{count} revision{plural} of etcd ({loss['basis']})."
    what = f"all that was written after the snapshot, {age}"
    return f"{when}{what if when else what.capitalize()}. {counted}"


# -- sections -----------------------------------------------------------------------------------


def by_phase(checks: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return [(phase, list(each)) for phase, each in groupby(checks, key=lambda c: c["phase"])]


def session_view(session: Mapping[str, Any], doc: Mapping[str, Any]) -> dict[str, Any]:
    checks = {check["step"]: check for check in doc["checks"]}
    phases = {step: check["phase"] for step, check in checks.items()}
    kinds = {step: check["kind"] for step, check in checks.items()}
    hosts = [each["host"] for each in doc["topology"]]
    hosts += sorted({bar["host"] for bar in session["bars"]} - set(hosts))
    short = short_names(hosts)
    session = {
        **session,
        "bars": [
            {**bar, "kind": kinds.get(bar["step"], "gather"), "short": short[bar["host"]]}
            for bar in session["bars"]
        ],
    }
    drawn = draw.lanes(session, phases, hosts)
    for lane in drawn["hosts"]:
        lane["words"] = _lane_words(lane)
        lane["short"] = short[lane["host"]]
    for band in drawn["bands"]:
        word = band["phase"].partition(" ")[0]
        band["short"] = word if word.isdigit() else ""
    groups = draw.by_step(session, phases, hosts)
    for group in groups:
        group["title"] = checks[group["step"]]["title"] if group["step"] in checks else ""
    return {
        "title": _session_title(session, doc),
        "note": _session_note(session),
        "drawn": drawn,
        "groups": groups,
        "count": len(session["bars"]),
    }


def short_names(hosts: Sequence[str]) -> dict[str, str]:
    """Names without their domain, for drawings, where that tells the hosts apart."""
    first = {host: host.partition(".")[0] for host in hosts}
    apart = len(set(first.values())) == len(first) and not any(map(str.isdigit, first.values()))
    return first if apart else {host: host for host in hosts}


def _session_title(session: Mapping[str, Any], doc: Mapping[str, Any]) -> str:
    ended = _ENDED.get(session["ended"], session["ended"])
    if not session["ended"] and doc["journal"]["holder"] and session is doc["sessions"][-1]:
        ended = "still running"
    return f"Session {session['epoch']}, {_DIRECTIONS[session['direction']]}: {ended}"


def _session_note(session: Mapping[str, Any]) -> str:
    return (
        f"{session['who']}, process {session['process']}, drctl {session['drctl']}; "
        f"{moment(session['started'])}, {human_seconds(session['seconds'])}"
    )


def _lane_words(lane: Mapping[str, Any]) -> str:
    """The lane for those who do not see it."""
    bad = [bar for bar in lane["bars"] if bar["state"] != "done"]
    words = f"{lane['host']}: {len(lane['bars'])} steps"
    return words + "".join(f"; {bar['step']} {_words(bar['state'])}" for bar in bad)


# -- what the templates call --------------------------------------------------------------------


def moment(text: str) -> str:
    """ISO 8601 as people read it, in UTC: 24 Nov 2026, 05:45:02."""
    if not text:
        return "never"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%-d %b %Y, %H:%M:%S")


def _words(state: str) -> str:
    return _WORDS.get(state, state)


def _mark(seconds: float) -> str:
    """A mark of an axis: round, without needless zeros."""
    if seconds >= 600:
        return human_seconds(seconds)
    return f"{seconds:g} s"


def _clock(text: str) -> str:
    """The time of day alone, where the day stands above."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%H:%M:%S")


def _plain(value: Any) -> str:
    """A measured value, be it a list or a mapping, in a few words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""


FUNCTIONS = SimpleNamespace(
    seconds=human_seconds,
    bytes=human_bytes,
    moment=moment,
    clock=_clock,
    plain=_plain,
    mark=_mark,
    words=_words,
    tone=lambda state: _TONES.get(state, "warn"),
    percent=_percent,
    largest=lambda parts: max(part["seconds"] for part in parts),
    share=lambda part, whole: round(100 * part / whole, 3) if whole else 0,
)
