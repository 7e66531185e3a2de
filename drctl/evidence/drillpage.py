"""A drill's document (`drill_evidence`) as one page, and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drctl.evidence import draw
from drctl.evidence.checks import HELD
from drctl.evidence.page import FUNCTIONS, by_phase, figure, session_view
from drctl.render import render_html
from drctl.ui.documents import human_seconds

_LEAD = ("what", "What, when, by whom")
_DONE = (
    ("broken", "What was done to break it"),
    ("proofs", "Proofs"),
    ("time", "Where the time went"),
    ("loss", "What was lost"),
)
_TAIL = (("history", "Earlier drills"),)
_HOSTS = (("hosts", "Hosts"),)


def drill_page(document: Mapping[str, Any]) -> str:
    """The page of a drill's document."""
    return render_html("report/drill", doc=document, view=drill_view(document), p=FUNCTIONS)


def drill_text(doc: Mapping[str, Any]) -> str:
    """The same in a few lines, for a terminal."""
    proofs = (f"  {'holds' if p['ok'] else 'NOT PROVEN'}: {p['what']}" for p in doc["proofs"])
    return "\n".join(
        [
            f"drill {doc['drill']}: {doc['verdict']['title']}",
            f"  {doc['verdict']['detail']}",
            *(f"{each['label']:<21}{each['value']:<14}{each['note']}" for each in _figures(doc)),
            *proofs,
            "not tested:",
            *(f"  {line}" for line in doc["not_tested"]),
        ]
    )


def drill_view(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows that is not in the document as such: words and drawings."""
    done = () if doc["verdict"]["word"] == "skipped" else _DONE
    runs = [_run(run) for run in doc["runs"]]
    numbered = [(f"run-{n}", f"Run {n}") for n, _ in enumerate(runs, start=1)]
    return {
        "figures": list(_figures(doc)),
        "sections": [_LEAD, *done, *numbered, *_TAIL, *(_HOSTS if doc["topology"] else ())],
        "commands": [_command(each) for each in doc["commands"]],
        "lost": list(_lost(doc)),
        "runs": runs,
        "trend": draw.trend(doc["history"]),
    }


def _figures(doc: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if doc["rto_seconds"] is not None:
        rto, restore = doc["rto_seconds"], human_seconds(doc["restore_seconds"])
        note = f"from the damage to the last proof; drctl's commands took {restore}"
        yield figure("rto", "Recovery time (RTO)", rto, human_seconds(rto), note)
    if doc["rpo_seconds"] is not None:
        counts = ", ".join(f"{count} {name}" for name, count in _lost(doc))
        rpo = doc["rpo_seconds"]
        yield figure("rpo", "Data lost (RPO)", rpo, human_seconds(rpo), counts)
    if doc["proofs"]:
        held = sum(proof["ok"] for proof in doc["proofs"])
        yield figure("proofs", "Proofs that hold", held, f"{held} of {len(doc['proofs'])}")
    if doc["commands"]:
        fine = sum(_as_expected(command) for command in doc["commands"])
        value = f"{fine} of {len(doc['commands'])}"
        yield figure("commands", "Commands as expected", fine, value)


def _lost(doc: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    if doc["rpo_seconds"] is None:
        return
    for name in ("revisions", "keys"):
        if (count := doc[f"rpo_{name}"]) is not None:
            yield name, count
    yield from sorted(doc["rpo_objects"].items())


def _as_expected(command: Mapping[str, Any]) -> bool:
    return bool(command["exit_code"] == command["expected"])


def _command(command: Mapping[str, Any]) -> dict[str, Any]:
    def ended(code: int | None) -> str:
        return "killed" if code is None else f"exit {code}"

    moment = command["killed_at"]
    return {
        **command,
        "ok": _as_expected(command),
        "ended": ended(command["exit_code"]) + (f" at “{moment}”" if moment else ""),
        "wanted": ended(command["expected"]),
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    """One run of the drill. A record may hold no more of it than `runs show` does."""
    verdict = run.get("verdict") or {"title": run["state"], "detail": ""}
    checks = run.get("checks", ())
    held = sum(check["outcome"] == HELD for check in checks)
    return {
        "doc": run,
        "title": verdict["title"],
        "detail": verdict["detail"],
        "checks": by_phase(checks),
        "checked": f"{held} of {len(checks)} held",
        "sessions": [session_view(session, run) for session in run.get("sessions", ())],
    }
