"""What several judges share: reading all hosts' reports, and what members say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from drctl.etcd.answers import (
    Alarm,
    AnswerError,
    EndpointStatus,
    HashKV,
    MemberList,
    parse_alarms,
    parse_hashkv,
    parse_members,
    parse_status,
)
from drctl.etcd.reports import ReportError, parse_report
from drctl.verdict import Evidence, Kind, Problem

T = TypeVar("T")


def reports(
    evidence: Evidence, kind: Kind = "missing"
) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    """({host: report}, problems). Silent, garbled and forgotten hosts are problems of `kind`."""
    found: dict[str, dict[str, str]] = {}
    problems = [
        Problem(
            f"no answer: {reason}", host, "see that the host is reachable, then try again", kind
        )
        for host, reason in evidence.silent.items()
    ]
    for host, text in evidence.answers.items():
        try:
            found[host] = parse_report(text)
        except ReportError as error:
            problems.append(Problem(f"its answer cannot be used: {error}", host, None, kind))
    return found, problems


def expected_members(evidence: Evidence) -> Mapping[str, Mapping[str, Any]]:
    """{host: member's facts} of the plan."""
    members: Mapping[str, Mapping[str, Any]] = evidence.facts.get("members", {})
    return members


def forgotten(evidence: Evidence, kind: Kind) -> list[Problem]:
    """Members of the plan that were not even asked."""
    heard = {*evidence.answers, *evidence.silent}
    return [
        Problem("was not asked", host, None, kind)
        for host in expected_members(evidence)
        if host not in heard
    ]


@dataclass(frozen=True)
class Voice:
    """What one member's own endpoint says. None: it did not answer that question."""

    status: EndpointStatus | None = None
    members: MemberList | None = None
    alarms: tuple[Alarm, ...] | None = None
    hash: HashKV | None = None


def voice(report: Mapping[str, str]) -> Voice:
    """Read a member's answers; one that cannot be parsed counts as not given."""
    return Voice(
        status=_only(_try(parse_status, report.get("status_json", ""))),
        members=_try(parse_members, report.get("members_json", "")),
        alarms=_try(parse_alarms, report.get("alarms_json", "")),
        hash=_only(_try(parse_hashkv, report.get("hashkv_json", ""))),
    )


def _try(parse: Callable[[str], T], text: str) -> T | None:
    if not text.strip():
        return None
    try:
        return parse(text)
    except AnswerError:
        return None


def _only(entries: tuple[T, ...] | None) -> T | None:
    """The one entry; etcdctl prints `[]` for an endpoint that failed."""
    return entries[0] if entries and len(entries) == 1 else None


def agreed(values: Mapping[str, T]) -> T | None:
    """The value that all hosts share, None where they differ or there are none."""
    distinct = set(values.values())
    return distinct.pop() if len(distinct) == 1 else None


def spelled(values: Mapping[str, object]) -> str:
    """`a: 1, b: 2`, for messages."""
    return ", ".join(f"{host}: {value}" for host, value in sorted(values.items()))
