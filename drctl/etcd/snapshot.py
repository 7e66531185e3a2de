"""Is this file a snapshot that can be restored, and what is in it?

`etcdutl snapshot status` is no integrity check (it passed 48 of 48 bit flips), so every byte is
hashed here: a snapshot is a bbolt file followed by the sha256 of everything before, and has that
trailer exactly when its size % 512 == 32 (etcdutl `snapshot/v3_snapshot.go`, `hasChecksum`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from drctl.errors import InvalidInput
from drctl.etcd.answers import Alarm
from drctl.etcd.bolt import BoltError, Database
from drctl.etcd.content import read_content
from drctl.etcd.packed import HEAD, packing, plain_file, refuse_known
from drctl.etcd.sidecar import Sidecar, SnapshotMember, iso_utc, read_sidecar

TRAILER = 32
_CHUNK = 1 << 20
_TAKE = "take a real snapshot of one live member: etcdctl snapshot save FILE"
_ANOTHER = "use another copy or an older backup"

SKEW_SECONDS = 5  # by which clocks differ without meaning anything


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot file. Sizes in bytes, ids in hex, `taken_at` ISO 8601 UTC.

    `records` counts stored revisions, not live keys. `taken_at_proven` is False where the time is
    only the file's mtime, which a copy may have changed. `compact_revision` 0: never compacted.
    """

    path: str
    size: int
    sha256: str
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
    root_users: tuple[str, ...]  # who has the role root, which counts where that is enabled
    taken_at: str
    taken_at_proven: bool
    cluster_id: str = ""  # from the sidecar: a snapshot does not hold its cluster's id
    etcd_version: str = ""  # from the sidecar
    host: str = ""  # from the sidecar
    unfinished_runs: tuple[str, ...] = ()  # from the sidecar: when it was taken
    packed: str = ""  # gzip, zstd, xz or zip; size and sha256 are of what was in it

    def as_facts(self, now: float) -> dict[str, Any]:
        """Plain data for `Gathered.facts["snapshot"]`; `now` in seconds since the epoch, by which
        `ahead_seconds` is there where the snapshot comes from the future."""
        age = int(now - datetime.fromisoformat(self.taken_at).timestamp())
        ahead = {"ahead_seconds": -age} if age < -SKEW_SECONDS else {}
        facts = asdict(self)
        if not facts["unfinished_runs"]:
            del facts["unfinished_runs"]  # versions that do not know it read the others
        return {**facts, "age_seconds": max(0, age), **ahead}


def inspect_snapshot(path: Path) -> Snapshot:
    """Verify every byte of `path` and read what it holds.

    Constant memory. Raises InvalidInput, with what to do instead, for everything that is not a
    complete and undamaged snapshot, and for a sidecar that describes another file.
    """
    with _opened(path, path) as given:
        found = os.fstat(given)
        how = packing(_read_at(given, 0, HEAD, end=found.st_size))
        with _opened(path, plain_file(path) if how else path) as descriptor:
            before = os.fstat(descriptor)
            digest = _verified_digest(path, descriptor, before.st_size)
            snapshot = _described(path, descriptor, found, digest)
            after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InvalidInput(f"{path}: changed while being read", hint="wait until it is complete")
    return _with_sidecar(replace(snapshot, packed=how), _sidecar(path, how))


def _sidecar(path: Path, packed: str) -> Sidecar | None:
    """Beside the file as it is named, or as it was named before it was packed."""
    return read_sidecar(path) or (read_sidecar(path.with_suffix("")) if packed else None)


@contextmanager
def _opened(path: Path, where: Path) -> Iterator[int]:
    """A descriptor of `where`, a regular, non-empty file that messages call `path`; every OSError
    becomes InvalidInput."""
    try:
        # O_NONBLOCK: opening a named pipe must not hang.
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check_kind(path, os.fstat(descriptor))
            yield descriptor
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise InvalidInput(f"{path}: no such file", hint="check --snapshot") from error
    except PermissionError as error:
        raise InvalidInput(
            f"{path}: not readable by you", hint="run as a user who can read it, or copy it"
        ) from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}", hint=_ANOTHER) from error


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        data = any((path / below).is_file() for below in ("member/snap/db", "snap/db", "db"))
        raise InvalidInput(
            f"{path}: is {'a data directory of etcd' if data else 'a directory'}, not a snapshot "
            "file",
            hint=f"name the file; if this is a data directory, {_TAKE}",
        )
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path}: is not a regular file", hint="name the snapshot file itself")
    if found.st_size == 0:
        raise InvalidInput(f"{path}: is empty", hint=_ANOTHER)


def _read_at(descriptor: int, offset: int, size: int, *, end: int) -> bytes:
    """At most `size` bytes at `offset`, none from `end` on."""
    parts = []
    while (wanted := min(size, end - offset)) > 0:
        part = os.pread(descriptor, min(wanted, 1 << 30), offset)
        if not part:
            break
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def _verified_digest(path: Path, descriptor: int, size: int) -> str:
    """The whole file's sha256 in hex, after its trailer was found to be right."""
    if size % 512 != TRAILER:
        raise _without_trailer(path, descriptor, size)
    digest, offset = hashlib.sha256(), 0
    while part := _read_at(descriptor, offset, _CHUNK, end=size - TRAILER):
        digest.update(part)
        offset += len(part)
    trailer = _read_at(descriptor, size - TRAILER, TRAILER, end=size)
    if digest.digest() != trailer:
        raise _wrong_trailer(path, descriptor, size)
    digest.update(trailer)
    return digest.hexdigest()


def _bolt_fault(descriptor: int, size: int) -> str:
    """'' for a bbolt file whose pages are all there, else what is wrong."""
    try:
        Database(partial(_read_at, descriptor, end=size), size)
    except BoltError as error:
        return str(error)
    return ""


def _without_trailer(path: Path, descriptor: int, size: int) -> InvalidInput:
    fault = _bolt_fault(descriptor, size)
    if not fault:
        return InvalidInput(
            f"{path}: has no checksum at its end: it is a raw copy of member/snap/db, or a "
            "truncated snapshot; a raw copy lacks the writes that were only in the WAL, and "
            "cannot be verified",
            hint=_TAKE,
        )
    return _not_whole(path, descriptor, fault, size)


def _wrong_trailer(path: Path, descriptor: int, size: int) -> InvalidInput:
    fault = _bolt_fault(descriptor, size - TRAILER)
    if not fault:
        return InvalidInput(
            f"{path}: is damaged: its content does not match the checksum at its end", hint=_ANOTHER
        )
    return _not_whole(path, descriptor, fault, size)


def _not_whole(path: Path, descriptor: int, fault: str, size: int) -> InvalidInput:
    if "no valid bbolt meta" in fault:
        refuse_known(path, _read_at(descriptor, 0, HEAD, end=size))
        return InvalidInput(
            f"{path}: not an etcd snapshot ({size} bytes, {fault})",
            hint="use a file made by etcdctl snapshot save; drctl unpacks gzip, zstd, xz and zip",
        )
    return InvalidInput(f"{path}: is truncated at {size} bytes: {fault}", hint=_ANOTHER)


def _described(path: Path, descriptor: int, given: os.stat_result, digest: str) -> Snapshot:
    end = os.fstat(descriptor).st_size - TRAILER
    try:
        content = read_content(Database(partial(_read_at, descriptor, end=end), end))
    except BoltError as error:
        raise InvalidInput(
            f"{path}: its checksum is correct, but it is not a readable etcd database: {error}",
            hint=_ANOTHER,
        ) from error
    return Snapshot(
        path=str(path),
        size=end + TRAILER,
        sha256=digest,
        taken_at=iso_utc(datetime.fromtimestamp(given.st_mtime, UTC)),
        taken_at_proven=False,
        **vars(content),
    )


def _with_sidecar(snapshot: Snapshot, sidecar: Sidecar | None) -> Snapshot:
    if sidecar is None:
        return snapshot
    if sidecar.sha256 != snapshot.sha256:
        raise InvalidInput(
            f"{snapshot.path}: does not match its sidecar: sha256 {snapshot.sha256}, recorded "
            f"{sidecar.sha256}",
            hint="find out which of the two was replaced, or use another backup",
        )
    return replace(
        snapshot,
        taken_at=iso_utc(sidecar.taken_at),
        taken_at_proven=True,
        cluster_id=sidecar.cluster_id,
        etcd_version=sidecar.etcd_version,
        host=sidecar.host,
        unfinished_runs=sidecar.unfinished_runs,
    )


def sidecar_of(
    snapshot: Snapshot,
    *,
    taken_at: datetime,
    cluster_id: str,
    etcd_version: str,
    host: str,
    unfinished_runs: tuple[str, ...] = (),
) -> Sidecar:
    """The sidecar that a backup writes beside `snapshot`."""
    return Sidecar(
        sha256=snapshot.sha256,
        size=snapshot.size,
        taken_at=taken_at,
        revision=snapshot.revision,
        cluster_id=cluster_id,
        members=snapshot.members,
        etcd_version=etcd_version,
        host=host,
        unfinished_runs=unfinished_runs,
    )
