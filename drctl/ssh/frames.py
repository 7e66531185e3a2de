"""How a file crosses a connection. Towards nodes in frames: equal parts of it, each packed by
itself, once for all hosts that take it.

Independent frames (RFC 8878 3.1) are what makes one pass enough for many: whoever asks first for a
part makes it, the others find it made, and who lags too far behind makes it again for himself
rather than holding anybody up. A transfer that was cut goes on at any of them.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import paramiko
import zstandard

from drctl.errors import InvalidInput, StepFailed
from drctl.ssh.limits import Watchdog

FRAME = 4 * 2**20
"""Bytes of the file in one frame; the last one has what is left."""

KEPT = 3 * FRAME + 2**16
"""Bytes of packed parts in memory for those who are behind: two or three parts of what does not
shrink, ten times as many of what Kubernetes writes."""
CHUNK = 2**18  # bytes to take at once
LITTLE = 2**10  # packed ones
LEVEL = 1  # over 500 MB/s on one core; the next ones are slower than most networks


def plain(part: bytes) -> bytes:
    """The part as it is."""
    return part


def zstd(part: bytes) -> bytes:
    """The part as one zstd frame with its checksum."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(part)


PACKINGS: Mapping[str, Callable[[bytes], bytes]] = {"plain": plain, "zstd": zstd}
"""How a node may ask for the parts, by the name that templates/node/receive says."""


class Frames:
    """A local file that several threads send at the same time."""

    def __init__(self, path: Path) -> None:
        """InvalidInput where it cannot be read."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise InvalidInput(f"{path} cannot be read on this machine: {e.strerror}") from e
        found = os.fstat(self._file)
        self.identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        self.size = found.st_size
        self.count = -(-self.size // FRAME)
        self.users = 0  # owned by Shared
        self._reading, self._making = threading.Lock(), threading.Lock()
        self._made: dict[tuple[str, int], Future[bytes]] = {}
        self._hash, self._hashed = hashlib.sha256(), 0

    def close(self) -> None:
        """Nobody sends it any more."""
        os.close(self._file)

    def frame(self, number: int, packing: str) -> bytes:
        """Part `number` in one of PACKINGS. StepFailed where the file became shorter."""
        key = (packing, number)
        with self._making:
            made = self._made.get(key)
            mine = made is None
            if made is None:
                self._make_room()
                made = self._made[key] = Future()
        if mine:
            try:
                made.set_result(PACKINGS[packing](self._part(number)))
            except BaseException as e:
                made.set_exception(e)
        try:
            return made.result()
        except StepFailed as e:  # one for all who asked: each is to name its own host
            raise StepFailed(e.message, hint=e.hint) from e

    def _make_room(self) -> None:
        """For one more, which may be as large as a part: the oldest go."""
        sizes = {
            key: len(made.result()) if made.done() and not made.exception() else FRAME
            for key, made in self._made.items()
        }
        kept = sum(sizes.values())
        for key, size in sizes.items():
            if kept <= KEPT - FRAME:
                break
            del self._made[key]
            kept -= size

    def sha256(self) -> str:
        """Of the whole file as it was sent, in hex; what was not hashed on the way is read."""
        while True:
            with self._reading:  # a part at a time: others send meanwhile
                if self._hashed >= self.count:
                    return self._hash.hexdigest()
                self._take(self._read(self._hashed))

    def _part(self, number: int) -> bytes:
        with self._reading:
            part = self._read(number)
            if number == self._hashed:
                self._take(part)
            return part

    def _take(self, part: bytes) -> None:
        self._hash.update(part)
        self._hashed += 1

    def _read(self, number: int) -> bytes:
        expected = min(FRAME, self.size - number * FRAME)
        try:
            part = os.pread(self._file, expected, number * FRAME)
        except OSError as e:
            raise StepFailed(f"{self.path} cannot be read on this machine: {e.strerror}") from e
        if len(part) != expected:
            raise StepFailed(f"{self.path} changed while being sent: it became shorter")
        return part


class Shared:
    """The files that are being sent now: who sends the same one shares its frames."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[int, ...], Frames] = {}

    @contextmanager
    def frames(self, path: Path) -> Iterator[Frames]:
        """The frames of the file that lies there now. InvalidInput where it cannot be read."""
        with self._lock:
            key, frames = self._find(path)
            frames.users += 1
        try:
            yield frames
        finally:
            with self._lock:
                frames.users -= 1
                if frames.users == 0:
                    del self._open[key]
                    frames.close()

    def _find(self, path: Path) -> tuple[tuple[int, ...], Frames]:
        fresh = Frames(path)
        known = self._open.setdefault(fresh.identity, fresh)
        if known is not fresh:
            fresh.close()
        return fresh.identity, known


class Incoming:
    """What a node sends of a file, as it is; what came with the announcement is there already."""

    def __init__(self, channel: paramiko.Channel, first: bytes, dog: Watchdog, size: int) -> None:
        """`size` is that of the whole file, unpacked, in bytes."""
        self._channel, self._dog, self._size = channel, dog, size
        self._first = io.BytesIO(first)

    def parts(self) -> Iterator[bytes]:
        """The file's bytes as they come, until it ends or the connection does."""
        while self._size and (data := self._read(min(CHUNK, self._size))):
            self._size -= len(data)
            yield data

    def rest(self) -> bytes:
        """What came by now and is not the file's."""
        return self._first.read()

    def _read(self, most: int) -> bytes:
        data = self._first.read(most) or self._channel.recv(most)
        self._dog.moved()
        return data


class IncomingFrame(Incoming):
    """The same, packed as one zstd frame, which ends by itself.

    What a node sends may become 2**15 times as much (RFC 8878 3.1.1.2: blocks of one byte,
    repeated), so little of it is unpacked at once.
    """

    def parts(self) -> Iterator[bytes]:
        """StepFailed where it is no such frame, or asks for more memory than level 1 needs."""
        frame = zstandard.ZstdDecompressor(max_window_size=FRAME).decompressobj()
        while not frame.eof and (data := self._read(CHUNK)):
            for at in range(0, len(data), LITTLE):
                try:
                    part = frame.decompress(data[at : at + LITTLE])
                except zstandard.ZstdError as e:
                    raise StepFailed(f"what came is damaged: {e}", hint="try again") from e
                yield part
                if frame.eof:
                    behind = frame.unused_data + data[at + LITTLE :] + self._first.read()
                    self._first = io.BytesIO(behind)
                    break


UNPACKERS: Mapping[str, type[Incoming]] = {"plain": Incoming, "zstd": IncomingFrame}
