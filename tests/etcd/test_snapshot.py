"""Every byte of a snapshot counts, and no damage gets past or crashes the reader."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drctl.errors import InvalidInput
from drctl.etcd import snapshot as reader
from drctl.etcd.answers import Alarm
from drctl.etcd.bolt import BoltError, Database, fnv64a
from drctl.etcd.sidecar import Sidecar, read_sidecar, sidecar_path, write_sidecar
from drctl.etcd.snapshot import inspect_snapshot, sidecar_of
from tests.etcd.samples import snapshot_bytes, write_snapshot

GOOD = snapshot_bytes()
OFTEN = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def test_reads_what_etcd_wrote(tmp_path: Path) -> None:
    snapshot = inspect_snapshot(write_snapshot(tmp_path))
    assert snapshot.size == 135200
    assert snapshot.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert (snapshot.revision, snapshot.compact_revision, snapshot.records) == (44, 0, 1231)
    assert (snapshot.cluster_version, snapshot.storage_version) == ("3.5.0", "")
    assert (snapshot.consistent_index, snapshot.term) == (55, 2)
    assert (snapshot.alarms, snapshot.auth_enabled) == ((), False)
    first = snapshot.members[0]
    assert (first.name, first.id) == ("etcd-127.0.71.1", "16b83f105a4bf962")
    assert first.peer_urls == ("http://127.0.71.1:2380",)
    assert len(snapshot.members) == 3
    assert not snapshot.taken_at_proven


def test_reads_alarms_and_auth(tmp_path: Path) -> None:
    snapshot = inspect_snapshot(write_snapshot(tmp_path, snapshot_bytes("solo-3.5.1")))
    assert snapshot.alarms == (Alarm(8412909167226757059, "NOSPACE"),)
    assert snapshot.auth_enabled
    assert [member.name for member in snapshot.members] == ["solo"]
    assert snapshot.revision == 9


def test_facts_are_plain_data_with_the_age(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path)
    os.utime(path, (1000, 1000))
    facts = inspect_snapshot(path).as_facts(now=1060.5)
    assert facts["age_seconds"] == 60
    assert json.loads(json.dumps(facts))["revision"] == 44
    assert inspect_snapshot(path).as_facts(now=10)["age_seconds"] == 0


@OFTEN
@given(where=st.integers(0, len(GOOD) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_refused(tmp_path: Path, where: int, flip: int) -> None:
    bad = bytearray(GOOD)
    bad[where] ^= flip
    with pytest.raises(InvalidInput) as caught:
        inspect_snapshot(write_snapshot(tmp_path, bytes(bad)))
    assert caught.value.hint


@OFTEN
@given(length=st.integers(0, len(GOOD) - 1))
def test_any_truncation_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        inspect_snapshot(write_snapshot(tmp_path, GOOD[:length]))
    assert caught.value.hint


@OFTEN
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 33), st.integers(1, 255)), min_size=1, max_size=8)
)
def test_a_damaged_database_under_a_right_checksum_never_crashes(
    tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    body = bytearray(GOOD[:-32])
    for where, flip in flips:
        body[where] ^= flip
    try:
        inspect_snapshot(write_snapshot(tmp_path, sealed(bytes(body))))
    except InvalidInput as error:
        assert "is not a readable etcd database" in str(error)


@OFTEN
@given(
    page=st.integers(0, (len(GOOD) - 32) // 4096 - 1),
    offset=st.integers(0, 200),
    value=st.binary(min_size=1, max_size=8),
)
def test_damaged_page_headers_never_crash(
    tmp_path: Path, page: int, offset: int, value: bytes
) -> None:
    """Flips anywhere mostly hit values; here the headers and elements of pages are hit."""
    body = bytearray(GOOD[:-32])
    start = page * 4096 + offset
    body[start : start + len(value)] = value
    try:
        inspect_snapshot(write_snapshot(tmp_path, sealed(bytes(body))))
    except InvalidInput as error:
        assert error.exit_code == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (GOOD[:-32], "raw copy of member/snap/db"),
        (GOOD[:-32] + bytes(4096), "raw copy of member/snap/db"),
        (GOOD[:-1], "raw copy"),  # all pages are there: its end is lost
        (GOOD[:65536], "truncated"),
        (GOOD[: 65536 + 32], "truncated"),
        (GOOD[:5000], "truncated"),
        (GOOD[:100], "truncated"),
        (b"hello, world\n" * 99, "not an etcd snapshot"),
        (sealed(bytes(4096)), "is not a readable etcd database"),
        (GOOD[:9000] + b"X" + GOOD[9001:], "does not match the checksum"),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "does not match the checksum"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        inspect_snapshot(write_snapshot(tmp_path, content))


def test_a_raw_copy_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="only in the WAL") as caught:
        inspect_snapshot(write_snapshot(tmp_path, GOOD[:-32]))
    assert "etcdctl snapshot save" in (caught.value.hint or "")


def _missing(folder: Path) -> Path:
    return folder / "nowhere.db"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "no such file"),
        (lambda folder: folder, "is a directory"),
        (_pipe, "not a regular file"),
        (lambda folder: write_snapshot(folder) / "below", "cannot be read"),
    ],
)
def test_refuses_what_is_no_file(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        inspect_snapshot(make(tmp_path))
    assert caught.value.hint


def test_refuses_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # tests may run as root, whom modes do not stop
    with pytest.raises(InvalidInput, match="not readable"):
        inspect_snapshot(tmp_path / "snap.db")


def test_the_older_of_two_metas_serves_when_the_newer_is_damaged() -> None:
    body = bytearray(GOOD[:-32])
    both = Database(lambda offset, size: bytes(body[offset : offset + size]), len(body))
    newest = max((0, 4096), key=lambda page: int.from_bytes(body[page + 64 : page + 72], "little"))
    body[newest + 64] ^= 0xFF
    left = Database(lambda offset, size: bytes(body[offset : offset + size]), len(body))
    assert left.meta.txid < both.meta.txid
    body[(4096 - newest) + 64] ^= 0xFF
    with pytest.raises(BoltError):
        Database(lambda offset, size: bytes(body[offset : offset + size]), len(body))


def test_iterating_and_shortcuts_agree() -> None:
    database = Database(lambda offset, size: GOOD[offset : offset + size], len(GOOD) - 32)
    keys = database.bucket(b"key")
    assert keys is not None
    walked = [key for key, _ in keys.items()]
    assert (keys.count(), keys.last_key()) == (len(walked), walked[-1])
    assert walked == sorted(set(walked))
    assert keys.get(walked[700]) == dict(keys.items())[walked[700]]
    assert database.bucket(b"nothing") is None


def test_fnv64a_is_the_published_one() -> None:
    assert fnv64a(b"") == 0xCBF29CE484222325
    assert fnv64a(b"foobar") == 0x85944171F73967E8


TAKEN = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def _beside(path: Path) -> Sidecar:
    snapshot = inspect_snapshot(path)
    return sidecar_of(
        snapshot, taken_at=TAKEN, cluster_id="abc", etcd_version="3.5.16", host="etcd-1"
    )


def test_a_sidecar_proves_the_time(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path)
    sidecar = _beside(path)
    written = write_sidecar(path, sidecar)
    assert written == tmp_path / "snap.db.json"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert read_sidecar(path) == sidecar
    snapshot = inspect_snapshot(path)
    assert (snapshot.taken_at, snapshot.taken_at_proven) == ("2026-11-23T18:00:00Z", True)
    assert (snapshot.cluster_id, snapshot.host) == ("abc", "etcd-1")


def test_a_sidecar_of_another_file_is_refused(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path)
    write_sidecar(path, _beside(path))
    write_snapshot(tmp_path, snapshot_bytes("solo-3.5.1"))
    with pytest.raises(InvalidInput, match="does not match its sidecar"):
        inspect_snapshot(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": "x", "size": 1, "taken_at": "noon"}'])
def test_an_unusable_sidecar_is_refused(tmp_path: Path, text: str) -> None:
    path = write_snapshot(tmp_path)
    sidecar_path(path).write_text(text)
    with pytest.raises(InvalidInput, match="not a sidecar file") as caught:
        inspect_snapshot(path)
    assert caught.value.faults


def test_no_sidecar_is_no_mistake(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "snap.db") is None


def test_a_file_that_is_still_being_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody appends to it, or writes it anew, while it is read."""
    path = write_snapshot(tmp_path)
    read = vars(reader)["read_content"]

    def meanwhile(database: Database) -> object:
        os.utime(path, ns=(0, 1))
        return read(database)

    monkeypatch.setattr(reader, "read_content", meanwhile)
    with pytest.raises(InvalidInput, match="changed while being read"):
        inspect_snapshot(path)
