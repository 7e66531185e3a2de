"""A snapshot as backup jobs leave it: packed with gzip, zstd or xz, or alone in a zip.

It is unpacked into a file without a name, which is gone with this process however that ends: it
has every Secret. What else a file may be is told by its name, from its first bytes (`file`'s magic;
tar: POSIX ustar; age: its v1 format; OpenPGP: RFC 9580 6.2 for armour, 4.2 for packets).
"""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Protocol

import zstandard

from drctl.errors import InvalidInput
from drctl.etcd.bolt import MAGIC

MOST = 2**36
"""Bytes that a snapshot may have when it is unpacked: eight times what etcd is meant to hold."""
HEAD = 4096  # the first bytes, which tell what it is
_CHUNK = 1 << 20
_LITTLE = 4096  # of zstd, which may become 128 MB in memory
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, zstandard.ZstdError)
_ANOTHER = "use another copy or an older backup"

_FORMS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"BZh", "packed with bzip2", "bunzip2"),
    (0, b"\x04\x22\x4d\x18", "packed with lz4", "lz4 -d"),
    (0, b"\x5d\x00\x00", "packed with lzma", "unlzma"),
    (0, b"\x1f\x9d", "packed with compress", "uncompress"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7z x"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "unrar x"),
    (257, b"ustar", "a tar archive", "tar -xf"),
    (0, b"age-encryption.org/v1", "encrypted with age", "age -d"),
    (0, b"-----BEGIN AGE ENCRYPTED FILE-----", "encrypted with age", "age -d"),
    (0, b"-----BEGIN PGP MESSAGE-----", "encrypted with OpenPGP", "gpg -d"),
    (0, b"\x85\x01", "encrypted with OpenPGP", "gpg -d"),
    (0, b"\x85\x02", "encrypted with OpenPGP", "gpg -d"),
    (0, b"\x8c\x0d", "encrypted with OpenPGP", "gpg -d"),
    (0, b"Salted__", "encrypted with openssl enc", "openssl enc -d"),
    (0, b"SQLite format 3\0", "an SQLite database (k3s and kine keep one instead of etcd)", ""),
    (0, b"\x7fELF", "a program", ""),
    (0, b"%PDF-", "a PDF document", ""),
)
_ONLY_ETCD = "drctl restores what `etcdctl snapshot save` made"


def form_of(head: bytes) -> tuple[str, str] | None:
    """(what a file is that begins like this, what takes it apart or ""); None where it is unknown,
    or may be a snapshot."""
    for offset, magic, name, tool in _FORMS:
        if head[offset : offset + len(magic)] == magic:
            return name, tool
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page or XML (the answer of a server instead of a file?)", ""
    if text[:1] in (b"{", b"[") and b"\0" not in head:
        return "JSON", ""
    if text.startswith((b"apiversion:", b"kind:", b"---")) and b"\0" not in head:
        return "YAML", ""
    return None


def refuse_known(path: Path, head: bytes, inside: str = "") -> None:
    """Raise InvalidInput where a file that begins like this is known not to be a snapshot."""
    if not (found := form_of(head)):
        return
    name, tool = found
    what = f"{inside}, and in it is {name}" if inside else f"is {name}"
    hint = f"take it out first ({tool} …), then give the file itself" if tool else _ONLY_ETCD
    raise InvalidInput(f"{path}: {what}, not an etcd snapshot", hint=hint)


def _zip_entry(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(files) != 1:
        raise InvalidInput(
            f"{path}: is a zip archive with {len(files)} files, not with exactly one",
            hint="unzip it, then give the snapshot itself",
        )
    if files[0].flag_bits & 1:
        raise InvalidInput(f"{path}: is an encrypted zip archive", hint="unzip it first")
    return archive.open(files[0])


class _Zstd:
    """zstd's frames, one after the other; the library's own reader takes a truncated file for its
    end. A read gives what a little input holds, whatever was asked for."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    def read(self, _size: int, /) -> bytes:
        while True:
            begun = not self._frame.eof
            given = self._frame.unused_data or self._file.read(_LITTLE)
            if not given:
                if begun:
                    raise EOFError("it ends within a frame")
                return b""
            if not begun:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            if part := self._frame.decompress(given):
                return part

    def close(self) -> None:
        self._file.close()


class _Source(Protocol):
    """What the libraries' readers have in common, for use in a `with`."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


_UNPACKERS: dict[str, tuple[bytes, Callable[[Path], _Source]]] = {
    "gzip": (b"\x1f\x8b", gzip.GzipFile),
    "zstd": (b"\x28\xb5\x2f\xfd", _Zstd),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMAFile),
    "zip": (b"PK\x03\x04", _zip_entry),
}


def packing(head: bytes) -> str:
    """gzip, zstd, xz or zip by a file's first bytes; "" for anything else."""
    return next((how for how, (magic, _) in _UNPACKERS.items() if head.startswith(magic)), "")


_unpacked: dict[tuple[int, ...], IO[bytes]] = {}
"""What this process has unpacked, by the packed file's identity; open for as long as it lives."""


def plain_file(path: Path) -> Path:
    """`path`, or where its content lies unpacked; the same again while it is the same file.

    Raises InvalidInput where it cannot be unpacked, has more than MOST bytes, or holds something
    that is known not to be a snapshot; OSError as opening does."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        found = os.fstat(file.fileno())
    if not (how := packing(head)):
        return path
    known = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if known not in _unpacked:
        _unpacked[known] = _unpack(path, how)
    return Path(f"/proc/self/fd/{_unpacked[known].fileno()}")


def _unpack(path: Path, how: str) -> IO[bytes]:
    target = tempfile.TemporaryFile(prefix="drctl-")  # noqa: SIM115  # stays open, see plain_file
    try:
        with closing(_UNPACKERS[how][1](path)) as source:
            _copy(path, how, source, target)
    except BaseException as error:
        target.close()
        if isinstance(error, InvalidInput):
            raise
        if isinstance(error, (*_BROKEN, gzip.BadGzipFile, NotImplementedError, struct.error)):
            raise InvalidInput(
                f"{path}: cannot be unpacked with {how}, it is damaged or truncated: "
                f"{str(error)[:200] or type(error).__name__}",
                hint=_ANOTHER,
            ) from error
        if isinstance(error, OSError):
            raise InvalidInput(
                f"{path}: cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}",
                hint="name a directory with room for the whole snapshot: TMPDIR=DIRECTORY drctl …",
            ) from error
        raise
    target.flush()
    return target


def _copy(path: Path, how: str, source: _Source, target: IO[bytes]) -> None:
    size = 0
    while part := source.read(_CHUNK):
        if size == 0:
            refuse_known(path, part[:HEAD], f"is packed with {how}")
            if inner := packing(part):
                raise InvalidInput(
                    f"{path}: is packed twice, with {how} and with {inner}",
                    hint="unpack it once, then give that file",
                )
            if len(part) >= 20 and not _may_be_bolt(part):
                raise InvalidInput(
                    f"{path}: is packed with {how}, and in it is no etcd snapshot",
                    hint=_ONLY_ETCD,
                )
        size += len(part)
        if size > MOST:
            raise InvalidInput(f"{path}: has more than {MOST} bytes unpacked", hint=_ANOTHER)
        target.write(part)


def _may_be_bolt(part: bytes) -> bool:
    """Whether one of the two meta pages is there: the first may be damaged (`drctl.etcd.bolt`)."""
    magic = struct.pack("<I", MAGIC)
    pages = (0, 1024, 2048, *(4096 << n for n in range(5)))
    return any(part[at + 16 : at + 20] == magic for at in pages)
