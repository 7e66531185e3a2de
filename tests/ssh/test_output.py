"""What is read of a channel, without a connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import paramiko
import pytest
from paramiko.buffered_pipe import BufferedPipe

from drctl.ssh.limits import Countdown
from drctl.ssh.output import Marks, Output, Stream

MARKS = Marks("ready0", "script0")
SAID = b"ready0-ready\nscript0-begun\nfound\nscript0-ended 3\n"


class Channel:
    """As paramiko's, as far as `Output` looks at it."""

    def __init__(self) -> None:
        self.in_buffer: Any = BufferedPipe()
        self.in_stderr_buffer: Any = BufferedPipe()
        self.eof_received, self.closed = False, False
        self.status_event = threading.Event()

    def recv_ready(self) -> Any:
        return self.in_buffer.read_ready()

    def recv_stderr_ready(self) -> Any:
        return self.in_stderr_buffer.read_ready()

    def recv(self, size: int) -> Any:
        return self.in_buffer.read(size, 0)

    def recv_stderr(self, size: int) -> Any:
        return self.in_stderr_buffer.read(size, 0)

    def ends(self) -> None:
        self.eof_received = True
        self.status_event.set()
        self.in_buffer.close()
        self.in_stderr_buffer.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each wait for the channel ended because it rang."""
    ended: list[bool] = []

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        ended.append(usual(self, timeout))
        return ended[-1]

    usual = threading.Event.wait
    monkeypatch.setattr("drctl.ssh.output._Bell.wait", wait)
    yield ended


def test_an_end_that_comes_with_the_last_words_is_not_waited_for(waits: list[bool]) -> None:
    """Nobody rings again: each such call took a quarter of a second longer."""
    channel = Channel()
    output = Output(cast(paramiko.Channel, channel), MARKS)
    channel.in_buffer.feed(SAID)
    channel.ends()
    output.drain(Countdown(30))
    assert (output.status, bytes(output.out.text)) == (3, b"found\n")
    assert waits and all(waits)


@pytest.mark.parametrize("size", [1, 2, 7, len(SAID)])
def test_marks_are_found_however_they_come_in_pieces(size: int) -> None:
    stream = Stream(MARKS.opening(), MARKS.ending())
    for start in range(0, len(SAID), size):
        stream.take(SAID[start : start + size])
    assert (stream.passed, stream.status, bytes(stream.text)) == (2, 3, b"found\n")


@pytest.mark.parametrize("said", ["script0-ended x\n", "script0-ended 1234\n", "script0-ended 3"])
def test_what_only_looks_like_the_end_is_text(said: str) -> None:
    stream = Stream(MARKS.opening(), MARKS.ending())
    stream.take(b"ready0-ready\nscript0-begun\n" + said.encode())
    assert stream.status is None and stream.text.decode() == said
    stream.take(b"\nscript0-ended 0\n")
    assert stream.status in (0, 3)


def test_a_mark_that_says_something() -> None:
    stream = Stream(MARKS.opening("go (zstd|plain)"), MARKS.ending())
    stream.take(b"ready0-ready\nscript0-begun\nscript0-go gzip\nscript0-go zstd\nmore")
    assert (stream.passed, stream.found, bytes(stream.text)) == (3, b"zstd", b"more")
