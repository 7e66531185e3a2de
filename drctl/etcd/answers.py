"""What etcd's tools print, as small values: etcdctl `-w json` of 3.5 and 3.6, versions, help texts.

protobuf's JSON omits zeros, so every missing number is 0. Ids are uint64, printed as decimals.
Anything that cannot be parsed raises `AnswerError`: a garbled answer is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
Version = tuple[int, int, int]


class AnswerError(ValueError):
    """A tool's output that does not mean what it should."""


@dataclass(frozen=True)
class EndpointStatus:
    """One entry of `etcdctl endpoint status -w json`. Sizes in bytes; `leader` 0 means none."""

    endpoint: str
    cluster_id: int
    member_id: int
    revision: int
    version: str
    db_size: int
    leader: int
    raft_term: int
    is_learner: bool
    errors: tuple[str, ...]


@dataclass(frozen=True)
class HashKV:
    """One entry of `etcdctl endpoint hashkv -w json`; `compact_revision` -1: never compacted."""

    endpoint: str
    cluster_id: int
    member_id: int
    revision: int
    hash: int
    compact_revision: int


@dataclass(frozen=True)
class MemberInfo:
    """One member of `etcdctl member list -w json`; an empty `name` means it never started."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True)
class MemberList:
    cluster_id: int
    members: tuple[MemberInfo, ...]


@dataclass(frozen=True)
class Alarm:
    """`kind` is NOSPACE, CORRUPT, or the number where etcd knows one that we do not."""

    member_id: int
    kind: str


def alarm_name(number: int) -> str:
    return _ALARMS.get(number, str(number))


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise AnswerError(f"no JSON: {text[:80]!r}") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"expected a JSON object, got {str(value)[:80]!r}")
    return value


def _number(fields: Mapping[str, Any], name: str) -> int:
    try:
        return int(fields.get(name) or 0)
    except (TypeError, ValueError) as error:
        raise AnswerError(f"{name} is no number") from error


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = fields.get(name) or []
    if not isinstance(value, list):
        raise AnswerError(f"{name} is no list")
    return tuple(str(item) for item in value)


def _entries(text: str, body: str) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(endpoint, body, header) of each entry of an `etcdctl endpoint …` answer.

    Where no endpoint answered etcdctl 3.5 prints `[]`, 3.6 `null`.
    """
    loaded = _load(text)
    if loaded is None:
        return []
    if not isinstance(loaded, list):
        raise AnswerError("expected a JSON list of endpoints")
    found = []
    for item in map(_mapping, loaded):
        fields = _mapping(item.get(body))
        found.append((str(item.get("Endpoint", "")), fields, _mapping(fields.get("header") or {})))
    return found


def parse_status(text: str) -> tuple[EndpointStatus, ...]:
    """`etcdctl endpoint status -w json`. An endpoint that failed is simply not in the list."""
    return tuple(
        EndpointStatus(
            endpoint=endpoint,
            cluster_id=_number(header, "cluster_id"),
            member_id=_number(header, "member_id"),
            revision=_number(header, "revision"),
            version=str(fields.get("version", "")),
            db_size=_number(fields, "dbSize"),
            leader=_number(fields, "leader"),
            raft_term=_number(fields, "raftTerm"),
            is_learner=bool(fields.get("isLearner", False)),
            errors=_texts(fields, "errors"),
        )
        for endpoint, fields, header in _entries(text, "Status")
    )


def parse_hashkv(text: str) -> tuple[HashKV, ...]:
    """`etcdctl endpoint hashkv -w json`. 3.6 adds hash_revision, which then is what was hashed."""
    return tuple(
        HashKV(
            endpoint=endpoint,
            cluster_id=_number(header, "cluster_id"),
            member_id=_number(header, "member_id"),
            revision=_number(fields, "hash_revision") or _number(header, "revision"),
            hash=_number(fields, "hash"),
            compact_revision=_number(fields, "compact_revision"),
        )
        for endpoint, fields, header in _entries(text, "HashKV")
    )


def _member(fields: Mapping[str, Any]) -> MemberInfo:
    return MemberInfo(
        id=_number(fields, "ID"),
        name=str(fields.get("name", "")),
        peer_urls=tuple(sorted(_texts(fields, "peerURLs"))),
        client_urls=tuple(sorted(_texts(fields, "clientURLs"))),
        is_learner=bool(fields.get("isLearner", False)),
    )


def parse_members(text: str) -> MemberList:
    """`etcdctl member list -w json`; needs a quorum, so an answer proves one. Sorted by id."""
    loaded = _mapping(_load(text))
    raw = loaded.get("members") or []
    if not isinstance(raw, list):
        raise AnswerError("members is no list")
    members = sorted((_member(_mapping(item)) for item in raw), key=lambda member: member.id)
    return MemberList(_number(_mapping(loaded.get("header") or {}), "cluster_id"), tuple(members))


def parse_alarms(text: str) -> tuple[Alarm, ...]:
    """`etcdctl alarm list -w json`; needs a quorum too."""
    raw = _mapping(_load(text)).get("alarms") or []
    if not isinstance(raw, list):
        raise AnswerError("alarms is no list")
    alarms = [_mapping(item) for item in raw]
    return tuple(
        Alarm(_number(alarm, "memberID"), alarm_name(_number(alarm, "alarm")))
        for alarm in alarms
        if alarm.get("alarm")  # 0 is NONE
    )


def parse_version(text: str) -> str:
    """The version in `etcd --version`, `etcdctl version`, `etcdutl version`; '' where none is."""
    found = re.search(r"(?:[Vv]ersion:?\s*|^\s*v?)(\d+\.\d+\.\d+[\w.+-]*)", text)
    return found[1] if found else ""


def version_tuple(text: str) -> Version | None:
    """(major, minor, patch) of "3.5.16", "3.6.0-rc.1" or "3.5"; None where it is no version."""
    found = re.match(r"\s*v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
