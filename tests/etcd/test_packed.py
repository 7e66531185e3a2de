"""A snapshot that comes packed is unpacked and verified as ever; whatever else is told by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from drctl.errors import InvalidInput
from drctl.etcd import packed
from drctl.etcd.packed import plain_file
from drctl.etcd.sidecar import write_sidecar
from drctl.etcd.snapshot import inspect_snapshot, sidecar_of
from tests.etcd.samples import snapshot_bytes, write_snapshot

GOOD = snapshot_bytes()


def zipped(*contents: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("backup")
        for n, content in enumerate(contents):
            archive.writestr(f"backup/snap-{n}.db", content)
    return file.getvalue()


def tar(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("snap.db")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "zstd": zstd, "xz": lzma.compress, "zip": zipped,
}  # fmt: skip


@pytest.mark.parametrize("how", PACKERS)
def test_what_is_packed_is_the_same_snapshot(tmp_path: Path, how: str) -> None:
    plain = inspect_snapshot(write_snapshot(tmp_path))
    path = write_snapshot(tmp_path, PACKERS[how](GOOD), f"snap.db.{how}")
    found = inspect_snapshot(path)
    assert (found.path, found.packed, plain.packed) == (str(path), how, "")
    assert (found.sha256, found.size, found.revision) == (plain.sha256, plain.size, 44)
    where = plain_file(path)
    assert where != path and where.read_bytes() == GOOD == where.read_bytes()
    assert plain_file(path) == where  # once is enough
    assert str(where.readlink()).endswith("(deleted)")  # nothing is left, however this process ends
    assert plain_file(write_snapshot(tmp_path)) == tmp_path / "snap.db"


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_packed_in_parts(tmp_path: Path, how: str) -> None:
    pack = PACKERS[how]
    path = write_snapshot(tmp_path, pack(GOOD[:70000]) + pack(GOOD[70000:]), "snap")
    assert inspect_snapshot(path).revision == 44


@pytest.mark.parametrize("how", PACKERS)
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_what_is_cut_off_is_refused(tmp_path: Path, how: str, share: float) -> None:
    content = PACKERS[how](GOOD)
    path = write_snapshot(tmp_path, content[: int(len(content) * share)])
    with pytest.raises(InvalidInput, match=r"damaged|truncated") as caught:
        inspect_snapshot(path)
    assert caught.value.hint


@pytest.mark.parametrize("how", PACKERS)
def test_what_is_damaged_is_refused(tmp_path: Path, how: str) -> None:
    inner = bytearray(GOOD)
    inner[9000] ^= 1
    with pytest.raises(InvalidInput, match="does not match the checksum"):
        inspect_snapshot(write_snapshot(tmp_path, PACKERS[how](bytes(inner))))
    outer = bytearray(PACKERS[how](GOOD))
    outer[len(outer) // 2] ^= 255
    with pytest.raises(InvalidInput):
        inspect_snapshot(write_snapshot(tmp_path, bytes(outer)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bz2.compress(GOOD), "packed with bzip2"),
        (tar(GOOD), "a tar archive"),
        (gzip.compress(tar(GOOD)), "packed with gzip, and in it is a tar archive"),
        (zstd(bz2.compress(GOOD)), "packed with zstd, and in it is packed with bzip2"),
        (gzip.compress(lzma.compress(GOOD)), "packed twice, with gzip and with xz"),
        (gzip.compress(b"hello, world\n" * 99), "packed with gzip, and in it is no etcd snapshot"),
        (lzma.compress(bytes(10_000_000)), "packed with xz, and in it is no etcd snapshot"),
        (zipped(GOOD, GOOD), "zip archive with 2 files"),
        (zipped(), "zip archive with 0 files|not an etcd snapshot"),
        (gzip.compress(b""), "is empty"),
        (b"age-encryption.org/v1\n-> X25519 x\n", "encrypted with age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "encrypted with age"),
        (b"-----BEGIN PGP MESSAGE-----\n\nx", "encrypted with OpenPGP"),
        (b"\x85\x01\x0c" + bytes(500), "encrypted with OpenPGP"),
        (b"Salted__" + bytes(500), "encrypted with openssl"),
        (b"SQLite format 3\0" + bytes(4000), "an SQLite database .k3s"),
        (b"\x28\xb5\x2f\xfd" + bytes(3), "cannot be unpacked with zstd"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "7-Zip"),
        (b'{"kind": "List"}\n', "is JSON"),
        (b"apiVersion: v1\nkind: List\n", "is YAML"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x7fELF" + bytes(100), "a program"),
    ],
    ids=range(22),
)
def test_anything_else_is_told_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        inspect_snapshot(write_snapshot(tmp_path, content))
    assert caught.value.hint


def test_a_data_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "member/snap").mkdir(parents=True)
    write_snapshot(tmp_path / "member/snap", GOOD, "db")
    with pytest.raises(InvalidInput, match="is a data directory of etcd"):
        inspect_snapshot(tmp_path)


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MOST", 100_000)
    with pytest.raises(InvalidInput, match="more than 100000 bytes"):
        inspect_snapshot(write_snapshot(tmp_path, gzip.compress(GOOD)))


def test_no_room_is_told_with_what_to_type(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, gzip.compress(GOOD))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InvalidInput) as caught:
        patch.setattr(packed, "_copy", _full)
        inspect_snapshot(path)
    assert "No space left" in caught.value.message and "TMPDIR=" in (caught.value.hint or "")


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_sidecar_beside_what_it_was_before(tmp_path: Path) -> None:

    plain = inspect_snapshot(write_snapshot(tmp_path))
    taken = datetime(2026, 11, 1, tzinfo=UTC)
    sidecar = sidecar_of(plain, taken_at=taken, cluster_id="ab", etcd_version="3.5.16", host="h")
    path = write_snapshot(tmp_path, gzip.compress(GOOD), "snap.db.gz")
    write_sidecar(tmp_path / "snap.db", sidecar)
    found = inspect_snapshot(path)
    assert (found.taken_at_proven, found.cluster_id) == (True, "ab")
