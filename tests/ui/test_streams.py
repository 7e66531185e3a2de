"""Streams that cannot break: pipes whose reader goes away, a full disk, a terminal that is gone."""

from __future__ import annotations

import errno
import io
import os
import pty
import signal
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from drctl.plan.model import Plan
from drctl.ui.console import Watch, tell
from drctl.ui.streams import Unbroken, is_heard, unbroken


def broken_pipe() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def hung_up() -> io.TextIOWrapper:
    """A terminal whose other side is closed: it answers EIO."""
    master, slave = pty.openpty()
    file = os.fdopen(slave, "w")
    assert file.isatty()
    os.close(master)
    return file


def full_disk() -> io.TextIOWrapper:
    return os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")


@pytest.mark.parametrize(
    ("make", "number", "missed"),
    [(broken_pipe, errno.EPIPE, False), (full_disk, errno.ENOSPC, True)],
)
def test_what_cannot_be_written_is_dropped(
    make: Callable[[], io.TextIOWrapper], number: int, missed: bool
) -> None:
    with make() as file:
        stream = Unbroken(file)
        assert stream.lost is None
        for _ in range(3):
            assert stream.write("a line\n") == 7
        stream.flush()
        assert stream.lost and stream.lost.errno == number
        assert (stream.missed is not None) == missed
        assert not stream.isatty()


def test_a_terminal_that_is_gone_is_missed_by_nobody() -> None:
    file = hung_up()
    stream = Unbroken(file)
    stream._was_terminal = True  # it was open when the command began
    stream.write("a line\n")
    assert stream.lost and stream.lost.errno == errno.EIO
    assert stream.missed is None
    file.close()


def test_none_at_all() -> None:
    stream = Unbroken(None)
    assert stream.write("x\n") == 2
    assert stream.missed is None and stream.lost and not stream.isatty()
    assert (stream.encoding, stream.errors) == ("utf-8", "strict")


def test_a_character_that_it_has_not() -> None:
    raw = io.BytesIO()
    stream = Unbroken(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("✓ done\n")
    assert raw.getvalue() == b"\\u2713 done\n"
    assert stream.lost is None


def test_bytes_are_refused_as_by_any_text_stream() -> None:
    for stream in (Unbroken(None), Unbroken(io.StringIO())):
        with pytest.raises(TypeError, match="must be str"):
            stream.write(b"")  # type: ignore[arg-type]  # what a text stream refuses


def test_the_live_terminal_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich ends the process where it meets a broken pipe."""
    with broken_pipe() as file:
        monkeypatch.setattr(sys, "stderr", file)
        with unbroken() as (_, err):
            watch = Watch(Plan("r", "c", ()), Console(stderr=True, force_terminal=True))
            with watch:
                for _ in range(3):
                    watch.say("a line")
                    tell("another")
            assert err.lost and not is_heard()
        assert sys.stderr is file


def test_a_signal_in_the_middle_of_a_write() -> None:
    """What its handler says is not lost, and raises nothing in what it interrupted."""

    class Interrupted(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.file = os.memfd_create("out")

        def write(self, text: str) -> int:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

        def fileno(self) -> int:
            return self.file

    inner = Interrupted()
    stream = Unbroken(inner)
    kept = signal.signal(signal.SIGUSR1, lambda *_: stream.write("stopping\n") and None)
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, kept)
    assert os.pread(inner.file, 99, 0) == b"stopping\n"
    os.close(inner.file)
