"""What etcd's tools print, as small values: etcdctl `-w json` of 3.5 and 3.6, versions, help texts.

protobuf's JSON omits zeros, so every missing number is 0. Ids are uint64, printed as decimals, and
revisions int64. Anything that is not just that raises `AnswerError`: a garbled answer is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from drctl.answer import INT64, UINT64, AnswerError, shown

ENTRIES = 1000  # more members, URLs or alarms than any cluster has
TEXT = 1000  # characters of one name, URL or error
_ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
Version = tuple[int, int, int]


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
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except AnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"not JSON: {shown(text)!r}") from error


def _no_number(name: str) -> NoReturn:
    raise AnswerError(f"{name} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise AnswerError(f"a name is given twice in {shown(', '.join(name for name, _ in pairs))}")
    return fields


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"expected a JSON object, got {_spelled(value)}")
    return value


def _spelled(value: Any) -> str:
    return "a list" if isinstance(value, list) else repr(shown(str(value)))


def _number(fields: Mapping[str, Any], name: str, *, least: int = 0, most: int = INT64) -> int:
    value = fields.get(name) or 0
    if type(value) is not int or not least <= value <= most:
        raise AnswerError(f"{name} is {_spelled(value)}, not a number from {least} to {most}")
    return value


def _id(fields: Mapping[str, Any], name: str) -> int:
    return _number(fields, name, most=UINT64)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise AnswerError(f"{name} is not true or false")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT or not value.isprintable():
        raise AnswerError(f"{name} is {_spelled(value)}, not short printable text")
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name) or []
    if not isinstance(value, list) or len(value) > ENTRIES:
        raise AnswerError(f"{name} is not a list of at most {ENTRIES}")
    return value


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(_text(item, name) for item in _list(fields, name))


def _entries(text: str, body: str) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(endpoint, body, header) of each entry of an `etcdctl endpoint …` answer.

    Where no endpoint answered etcdctl 3.5 prints `[]`, 3.6 `null`.
    """
    loaded = _load(text)
    if loaded is None:
        return []
    if not isinstance(loaded, list) or len(loaded) > ENTRIES:
        raise AnswerError("expected a JSON list of endpoints")
    found = []
    for item in map(_mapping, loaded):
        fields = _mapping(item.get(body))
        endpoint = _text(item.get("Endpoint", ""), "Endpoint")
        found.append((endpoint, fields, _mapping(fields.get("header") or {})))
    return found


def parse_status(text: str) -> tuple[EndpointStatus, ...]:
    """`etcdctl endpoint status -w json`. An endpoint that failed is simply not in the list."""
    return tuple(
        EndpointStatus(
            endpoint=endpoint,
            cluster_id=_id(header, "cluster_id"),
            member_id=_id(header, "member_id"),
            revision=_number(header, "revision"),
            version=_text(fields.get("version", ""), "version"),
            db_size=_number(fields, "dbSize"),
            leader=_id(fields, "leader"),
            raft_term=_id(fields, "raftTerm"),
            is_learner=_flag(fields, "isLearner"),
            errors=_texts(fields, "errors"),
        )
        for endpoint, fields, header in _entries(text, "Status")
    )


def parse_hashkv(text: str) -> tuple[HashKV, ...]:
    """`etcdctl endpoint hashkv -w json`. 3.6 adds hash_revision, which then is what was hashed."""
    return tuple(
        HashKV(
            endpoint=endpoint,
            cluster_id=_id(header, "cluster_id"),
            member_id=_id(header, "member_id"),
            revision=_number(fields, "hash_revision") or _number(header, "revision"),
            hash=_number(fields, "hash"),
            compact_revision=_number(fields, "compact_revision", least=-1),
        )
        for endpoint, fields, header in _entries(text, "HashKV")
    )


def _member(fields: Mapping[str, Any]) -> MemberInfo:
    return MemberInfo(
        id=_id(fields, "ID"),
        name=_text(fields.get("name", ""), "name"),
        peer_urls=tuple(sorted(_texts(fields, "peerURLs"))),
        client_urls=tuple(sorted(_texts(fields, "clientURLs"))),
        is_learner=_flag(fields, "isLearner"),
    )


def parse_members(text: str) -> MemberList:
    """`etcdctl member list -w json`; needs a quorum, so an answer proves one. Sorted by id."""
    loaded = _mapping(_load(text))
    raw = _list(loaded, "members")
    members = sorted((_member(_mapping(item)) for item in raw), key=lambda member: member.id)
    return MemberList(_id(_mapping(loaded.get("header") or {}), "cluster_id"), tuple(members))


def parse_alarms(text: str) -> tuple[Alarm, ...]:
    """`etcdctl alarm list -w json`; needs a quorum too."""
    alarms = [_mapping(item) for item in _list(_mapping(_load(text)), "alarms")]
    return tuple(
        Alarm(_id(alarm, "memberID"), alarm_name(_number(alarm, "alarm")))
        for alarm in alarms
        if alarm.get("alarm")  # 0 is NONE
    )


def parse_version(text: str) -> str:
    """The version in `etcd --version`, `etcdctl version`, `etcdutl version`; '' where none is."""
    number = r"([0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}[A-Za-z0-9_.+-]{0,40})"
    found = re.search(rf"(?:[Vv]ersion:?\s*|^\s*v?){number}", text)
    return found[1] if found else ""


def version_tuple(text: str) -> Version | None:
    """(major, minor, patch) of "3.5.16", "3.6.0-rc.1" or "3.5"; None where it is no version."""
    found = re.match(r"\s*v?([0-9]{1,5})\.([0-9]{1,5})(?:\.([0-9]{1,5}))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
