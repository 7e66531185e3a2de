"""A drill's record as one document: what was broken, what it cost, what is proven and what is not.

It takes the record as plain data (`DrillRecord.document()`), so that records of other machines and
of earlier days are read alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drctl import __version__
from drctl.evidence.document import SCHEMA

Record = Mapping[str, Any]
OUTSIDE = "outside of drctl's runs: noticing, typing, proving"
ALIKE = ("scenario", "driver", "flavour", "staged")
"""Drills that agree in these are comparable: one line in the history."""

_TITLES = {"passed": "Passed", "failed": "Failed", "skipped": "Skipped, not passed"}
_TONES = {"passed": "good", "failed": "bad", "skipped": "warn"}


def drill_evidence(record: Record, drills: Sequence[Record], *, made_at: str) -> dict[str, Any]:
    """The record and what follows from it; `drills` are all records, this one may be among them.

    The parts of `time.split` add up to the RTO where `time.adds_up` says so.
    """
    return {
        **record,
        "report": "drill",
        "schema": SCHEMA,
        "made": {"at": made_at, "drctl": __version__},
        "verdict": _verdict(record),
        "time": _time(record),
        "not_tested": [*_left_open(record), *_by_reason(record["not_tested"])],
        "history": history(record, drills),
    }


def _verdict(record: Record) -> dict[str, str]:
    word = record["verdict"]
    return {
        "word": word,
        "title": f"{_TITLES[word]}: {record['title']}",
        "detail": record["reason"] or _sum_up(record),
        "tone": _TONES[word],
    }


def _sum_up(record: Record) -> str:
    proofs = len(record["proofs"])
    commands = len(record["commands"])
    return (
        f"{commands} command{'s' * (commands != 1)} of drctl ended as the scenario expects, and "
        f"{proofs} proof{'s' * (proofs != 1)} taken from outside it hold"
    )


def _time(record: Record) -> dict[str, Any]:
    """The runs' own parts, summed over the runs, and what is left of the RTO. `adds_up` is false
    where runs continued after the last proof."""
    total = record["rto_seconds"]
    if total is None:
        return {"total_seconds": None, "adds_up": False, "split": []}
    spent: dict[str, float] = {}
    for run in record["runs"]:
        for part in run.get("time", {}).get("split", ()):
            spent[part["phase"]] = spent.get(part["phase"], 0.0) + part["seconds"]
    spent = spent or dict(record["phases"])
    left = total - sum(spent.values())
    if left >= 0:
        spent[OUTSIDE] = left
    parts = [{"phase": phase, "seconds": round(took, 3)} for phase, took in spent.items()]
    return {"total_seconds": total, "adds_up": left >= 0, "split": parts}


def _left_open(record: Record) -> list[str]:
    """What follows from the record itself, beyond what the scenario says of itself."""
    if record["verdict"] == "skipped":
        return [f"anything at all: {record['reason']}"]
    machine = record["machine"]
    shared = (
        f"all hosts shared one machine ({machine['cpus']} CPUs, {machine['memory_bytes'] // 2**30} "
        "GiB), and its times say nothing about other disks, networks or sizes of data"
    )
    if record["versions"]["kubernetes"]:
        return [shared]
    return ["Kubernetes itself; only etcd's own clients were there", shared]


def _by_reason(lines: Sequence[str]) -> list[str]:
    """Lines `WHAT: REASON` with one reason become one line; the others stay as they are."""
    by_reason: dict[str, list[str]] = {}
    for line in lines:
        what, colon, reason = line.rpartition(": ")
        by_reason.setdefault(reason if colon else "", []).append(what if colon else line)
    return [
        line
        for reason, whats in by_reason.items()
        for line in (
            [f"{reason}: {'; '.join(whats)}"]
            if reason and len(whats) > 1
            else [f"{what}: {reason}" if reason else what for what in whats]
        )
    ]


def history(record: Record, drills: Sequence[Record]) -> list[dict[str, Any]]:
    """This drill among those that are comparable with it, up to it, oldest first."""
    alike = {
        each["drill"]: each
        for each in [*drills, record]
        if all(each[name] == record[name] for name in ALIKE)
        and each["started"] <= record["started"]
    }
    return [
        {**point(each), "this": each["drill"] == record["drill"]}
        for each in sorted(alike.values(), key=lambda one: one["started"])
    ]


def point(record: Record) -> dict[str, Any]:
    """One drill as a line of a history."""
    names = (
        "drill",
        "scenario",
        "driver",
        "flavour",
        "staged",
        "started",
        "verdict",
        "reason",
        "rto_seconds",
        "rpo_seconds",
        "rpo_revisions",
        "rpo_keys",
    )
    return {
        **{name: record[name] for name in names},
        "drctl": record["versions"]["drctl"],
        "etcd": record["versions"]["etcd"],
        "operator": record["operator"],
    }
