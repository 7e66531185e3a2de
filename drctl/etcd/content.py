"""What etcd keeps in its bbolt file: the buckets and keys that drctl reads.

Source: etcd `server/storage/schema` (bucket.go, alarm.go, membership.go, auth.go) and
`server/storage/mvcc/kvstore.go`. A `key` bucket's key begins with the main revision, 8 bytes
big-endian; an `alarm` key is an AlarmMember message (1: member id, 2: alarm) with an empty value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from drctl.etcd.answers import Alarm, alarm_name
from drctl.etcd.bolt import BoltError, Bucket, Database
from drctl.etcd.sidecar import SnapshotMember
from drctl.etcd.wire import byte_fields, varint_fields

NAME, USERS = 200, 1000  # characters of a name, and users, that are kept: enough for certificates


@dataclass(frozen=True)
class Content:
    """`records` counts stored revisions (puts and tombstones not yet compacted), not live keys."""

    revision: int
    compact_revision: int
    records: int
    members: tuple[SnapshotMember, ...]
    cluster_version: str
    storage_version: str
    consistent_index: int
    term: int
    alarms: tuple[Alarm, ...]
    auth_enabled: bool
    root_users: tuple[str, ...]


def read_content(database: Database) -> Content:
    """Everything drctl wants to know. Raises BoltError where the file is damaged or not etcd's."""
    buckets = dict(database.root.buckets())
    keys = buckets.get(b"key")
    if keys is None or b"meta" not in buckets:
        raise BoltError("a bbolt database, but not etcd's: it has no key and meta buckets")
    meta = dict(buckets[b"meta"].items())
    cluster = _small(buckets.get(b"cluster"))
    return Content(
        revision=_last_revision(keys),
        compact_revision=max(
            _big_endian(meta.get(name, b"")[:8])
            for name in (b"scheduledCompactRev", b"finishedCompactRev")
        ),
        records=keys.count(),
        members=_members(buckets.get(b"members")),
        cluster_version=_text(cluster.get(b"clusterVersion")),
        storage_version=_text(meta.get(b"storageVersion")),
        consistent_index=_big_endian(meta.get(b"consistent_index", b"")),
        term=_big_endian(meta.get(b"term", b"")),
        alarms=_alarms(buckets.get(b"alarm")),
        auth_enabled=_small(buckets.get(b"auth")).get(b"authEnabled") == b"\x01",
        root_users=_root_users(buckets.get(b"authUsers")),
    )


def _small(bucket: Bucket | None) -> dict[bytes, bytes]:
    return dict(bucket.items()) if bucket else {}


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _big_endian(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _last_revision(keys: Bucket) -> int:
    """The main revision of the last record; 0 in an empty store. What `--bump-revision` adds to."""
    last = keys.last_key()
    if last is None:
        return 0
    if len(last) < 17:
        raise BoltError("a key of etcd's key bucket is not a revision")
    return _big_endian(last[:8])


def _members(bucket: Bucket | None) -> tuple[SnapshotMember, ...]:
    found = [_member(key, value) for key, value in _small(bucket).items()]
    return tuple(sorted(found, key=lambda member: (member.name, member.id)))


def _member(key: bytes, value: bytes) -> SnapshotMember:
    try:
        fields = json.loads(value)
        return SnapshotMember(
            name=fields.get("name") or "",
            id=key.decode("ascii"),
            peer_urls=tuple(sorted(fields.get("peerURLs") or ())),
            client_urls=tuple(sorted(fields.get("clientURLs") or ())),
            is_learner=bool(fields.get("isLearner", False)),
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise BoltError("a record of etcd's members bucket cannot be read") from error


def _alarms(bucket: Bucket | None) -> tuple[Alarm, ...]:
    try:
        messages = [varint_fields(key) for key in _small(bucket)]
    except ValueError as error:
        raise BoltError("a record of etcd's alarm bucket cannot be read") from error
    return tuple(Alarm(fields.get(1, 0), alarm_name(fields.get(2, 0))) for fields in messages)


def _root_users(bucket: Bucket | None) -> tuple[str, ...]:
    """Users that have the role root: an authUsers value is a User message (3: a role, repeated)."""
    try:
        users = {_text(key): byte_fields(value) for key, value in _small(bucket).items()}
    except ValueError as error:
        raise BoltError("a record of etcd's authUsers bucket cannot be read") from error
    roots = sorted(name for name, fields in users.items() if b"root" in fields.get(3, ()))
    return tuple(name for name in roots if name.isprintable() and len(name) <= NAME)[:USERS]
