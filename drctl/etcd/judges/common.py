"""What several judges share: reading all hosts' reports, and what members say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from drctl.answer import LOOK, Answer, AnswerError, parse
from drctl.etcd.answers import (
    Alarm,
    EndpointStatus,
    HashKV,
    MemberList,
    parse_alarms,
    parse_hashkv,
    parse_members,
    parse_status,
    version_tuple,
)
from drctl.etcd.complaints import reason
from drctl.verdict import Gathered, Kind, Problem

LATEST = 253_402_300_799
"""Of a clock, in seconds since the epoch: the end of 9999, the last year that Python has."""

Reports = Mapping[str, Answer]
"""What each host answered."""
S = TypeVar("S")
T = TypeVar("T")


def reports(gathered: Gathered, kind: Kind = "missing") -> tuple[dict[str, Answer], list[Problem]]:
    """({host: answer}, problems). Silent and garbled hosts are problems of `kind`."""
    found, garbled = readable(gathered, kind)
    return found, [*silences(gathered, kind), *garbled]


def readable(gathered: Gathered, kind: Kind) -> tuple[dict[str, Answer], list[Problem]]:
    """({host: answer}, a problem for each host that answered something else than an answer)."""
    return read(gathered.answers, lambda host, text: parse(text, host), kind)


def silences(gathered: Gathered, kind: Kind) -> list[Problem]:
    """Hosts that gave no answer."""
    hint = "make sure the host is reachable, then try again"
    return [
        Problem(f"no answer: {reason}", host, hint, kind)
        for host, reason in gathered.silent.items()
    ]


def read(
    given: Mapping[str, S], reader: Callable[[str, S], T], kind: Kind = "missing"
) -> tuple[dict[str, T], list[Problem]]:
    """What `reader(host, what it gave)` makes of each host, and a problem of each whose answer is
    not what it must be: one host's answer never counts for another, nor blocks it."""
    found: dict[str, T] = {}
    problems = []
    for host, what in given.items():
        try:
            found[host] = reader(host, what)
        except AnswerError as error:
            message = f"invalid answer: {error.reason}"
            problems.append(Problem(message, host, LOOK, kind))
    return found, problems


def expected_members(gathered: Gathered) -> Mapping[str, Mapping[str, Any]]:
    """{host: member's facts} of the plan."""
    members: Mapping[str, Mapping[str, Any]] = gathered.facts.get("members", {})
    return members


def forgotten(gathered: Gathered, kind: Kind) -> list[Problem]:
    """Members of the plan that were not even asked."""
    heard = {*gathered.answers, *gathered.silent}
    return [
        Problem("was not asked", host, None, kind)
        for host in expected_members(gathered)
        if host not in heard
    ]


@dataclass(frozen=True)
class Voice:
    """What one member's own endpoint says. None: it did not answer that question."""

    status: EndpointStatus | None = None
    members: MemberList | None = None
    alarms: tuple[Alarm, ...] | None = None
    hash: HashKV | None = None
    local: MemberList | None = None  # by its own knowledge: proves no quorum
    why: Mapping[str, str] = field(default_factory=dict)  # question -> why it was not answered

    @property
    def has_quorum(self) -> bool:
        """Whether it read the list of members through a leader; before 3.5 it told its own."""
        told = version_tuple(self.status.version) if self.status else None
        return self.members is not None and (told is None or told >= (3, 5, 0))


QUESTIONS = {
    "status": "endpoint status",
    "members": "member list",
    "alarms": "alarm list",
    "hashkv": "hashkv",
    "root": "hashkv",
}
"""What a member is asked: the name in its answer, and what it is called for people."""


def voices(found: Reports, kind: Kind = "missing") -> tuple[dict[str, Voice], list[Problem]]:
    """({host: what its member says}, problems); who says something else than etcdctl prints is not
    among them."""
    return read(found, lambda _, answer: voice(answer), kind)


def members_heard(
    gathered: Gathered, kind: Kind = "missing"
) -> tuple[dict[str, Voice], list[Problem]]:
    """What members say, and who answers something else. Silence is no problem here."""
    found, problems = readable(gathered, kind)
    heard, garbled = voices(found, kind)
    return heard, problems + garbled


def voice(answer: Answer) -> Voice:
    """Read a member's answers. Raises AnswerError."""
    return Voice(
        status=_only(_said(answer, "status_json", parse_status)),
        members=_said(answer, "members_json", parse_members),
        alarms=_said(answer, "alarms_json", parse_alarms),
        hash=_only(_said(answer, "hashkv_json", parse_hashkv)),
        local=_said(answer, "local_json", parse_members),
        why={name: why for name in QUESTIONS if (why := reason(answer.get(f"{name}_said", "")))},
    )


def silence(one: Voice) -> str:
    """What of status, members, alarms and hash it did not answer, and why; "" where it did."""
    parts = {"status": one.status, "members": one.members, "alarms": one.alarms, "hashkv": one.hash}
    missing = [name for name, part in parts.items() if part is None]
    if "status" in missing:
        return "its etcd does not answer" + (f": {why}" if (why := one.why.get("status")) else "")
    told = [QUESTIONS[n] + (f" ({why})" if (why := one.why.get(n)) else "") for n in missing]
    return f"its etcd does not answer: {', '.join(told)}" if told else ""


def _said(answer: Answer, name: str, parser: Callable[[str], T]) -> T | None:
    """None where it was not asked, or etcdctl printed nothing."""
    if not answer.get(name):
        return None
    try:
        return parser(answer[name])
    except AnswerError as error:
        raise AnswerError(f"{name}: {error.reason}", host=answer.host) from error


def _only(entries: tuple[T, ...] | None) -> T | None:
    """The one entry; there is none for an endpoint that failed."""
    return entries[0] if entries and len(entries) == 1 else None


def agreed(values: Mapping[str, T]) -> T | None:
    """The value that all hosts share, None where they differ or there are none."""
    distinct = set(values.values())
    return distinct.pop() if len(distinct) == 1 else None


def spelled(values: Mapping[str, object]) -> str:
    """`a: 1, b: 2`, for messages."""
    return ", ".join(f"{host}: {value}" for host, value in sorted(values.items()))
