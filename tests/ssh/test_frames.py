"""A file in frames, for several senders at once."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from pathlib import Path

import pytest
import zstandard

from drctl.errors import InvalidInput, StepFailed
from drctl.ssh.frames import FRAME, KEPT, Frames, Shared

SIZE = 7 * FRAME + 12345


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(FRAME) * 7 + os.urandom(12345))
    return path


def _unpacked(frames: Frames, number: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frames.frame(number, "zstd"))


def test_frames_are_the_file_in_any_order(file: Path) -> None:
    data, frames = file.read_bytes(), Frames(file)
    order = random.Random(1).sample(range(8), 8)
    parts = {n: _unpacked(frames, n) for n in order}
    assert b"".join(parts[n] for n in range(8)) == data
    assert b"".join(frames.frame(n, "plain") for n in range(8)) == data
    assert (frames.count, frames.size) == (8, SIZE)
    assert frames.sha256() == hashlib.sha256(data).hexdigest()


def test_the_digest_of_what_nobody_asked_for(file: Path) -> None:
    assert Frames(file).sha256() == hashlib.sha256(file.read_bytes()).hexdigest()


def test_many_senders_pack_each_part_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    real = zstandard.ZstdCompressor
    together = threading.Barrier(4)

    class Counting:
        def __init__(self, **how: object) -> None:
            self._inner = real(level=1)

        def compress(self, part: bytes) -> bytes:
            packed.append(len(part))
            return self._inner.compress(part)

    monkeypatch.setattr("drctl.ssh.frames.zstandard.ZstdCompressor", Counting)
    frames, got = Frames(file), list[bytes]()

    def send() -> None:
        parts = []
        for number in range(8):
            together.wait()
            parts.append(_unpacked(frames, number))
        got.append(b"".join(parts))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [file.read_bytes()] * 4
    assert len(packed) == 8


def test_memory_does_not_grow_with_the_file(file: Path) -> None:
    frames = Frames(file)
    for number in range(8):
        frames.frame(number, "plain")
        assert sum(len(made.result()) for made in frames._made.values()) <= KEPT
    assert len(frames._made) > 1


def test_parts_that_shrink_stay_for_those_who_are_behind(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(8 * FRAME))
    frames = Frames(file)
    for number in range(8):
        frames.frame(number, "zstd")
    assert len(frames._made) == 8


def test_a_file_that_becomes_shorter(file: Path) -> None:
    frames = Frames(file)
    os.truncate(file, FRAME + 5)
    frames.frame(0, "zstd")
    for _ in range(2):  # it is no better the second time
        with pytest.raises(StepFailed, match="became shorter"):
            frames.frame(1, "zstd")


def test_shared_while_it_is_the_same_file(file: Path) -> None:
    shared = Shared()
    with shared.frames(file) as first:
        with shared.frames(file) as second:
            assert second is first
        file.write_bytes(b"another")
        with shared.frames(file) as other:
            assert other is not first
            assert other.frame(0, "plain") == b"another"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first._file)
    with (
        pytest.raises(InvalidInput, match="cannot be read on this machine"),
        shared.frames(file.with_name("none")),
    ):
        pass
