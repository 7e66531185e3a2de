"""Files over a channel: a pipe into the file on the node, constant memory here.

A pipe beats SFTP: there is no answer to wait for after each block. The handshake is `Call`'s
(session.py): no byte is sent before the node's script has said that it takes them, and what came
is hashed and counted by the other side. How a file is packed is said by the node (frames.py).
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import paramiko

from drctl.errors import InvalidInput, NotWritten, Refused, StepFailed
from drctl.render import render_script
from drctl.ssh.frames import FRAME, PACKINGS, UNPACKERS, Frames, Incoming
from drctl.ssh.limits import Countdown, Watchdog
from drctl.ssh.output import Marks, Output, tail
from drctl.ssh.session import Call, new_marks, wrapped
from drctl.transport import MOST, Progress

BLOCK = 2**15 - 64  # what paramiko puts into one packet of the 32 KiB that sshd accepts
PROGRESS = 2**20  # bytes between two calls of the progress callback
WINDOW = 2**24  # how far a node may be ahead of us in a download: memory, so not unlimited

SLOWEST = 2**23  # bytes in a second that a node can hash of what it has

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# Marks on stdout that a transfer's script has passed: the shell is ready, the script has begun,
# and it is about to take or send the file.
MOVING = 3
_TOOK = rb" ([0-9a-f]{64} \d{1,18})\n"


def _remote_path(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise InvalidInput(f"{path!r} is not an absolute path of printable characters")
    return path


class Upload:
    """Local file to node, packed as the node can take it, hashed on both sides in the same pass."""

    def __init__(
        self,
        frames: Frames,
        target: str,
        become: str,
        progress: Progress | None,
        *,
        go_on: bool = False,
        rate: float | None = None,
    ) -> None:
        """`rate` in bytes of the file per second."""
        self._frames = frames
        self._target = _remote_path(target)
        self._become = become
        self._progress = progress
        self._go_on = "yes" if go_on else "no"
        self._rate = rate or float("inf")

    def run(self, channel: paramiko.Channel, countdown: Countdown, dog: Watchdog) -> None:
        """Send the file; StepFailed with the node's own words if it could not be taken, or if
        what it took is not what was sent."""
        marks, call = new_marks(), Call(channel, self._become, countdown)
        words = (self._target, marks.script, str(FRAME), self._go_on, str(self._frames.size))
        stdin = wrapped(render_script("node/receive"), {}, marks, arguments=words, feeds=True)
        output = call.begin(stdin, marks, r"go ((?:plain|zstd) \d{1,12})", close=False)
        if output.await_mark(MOVING, countdown):
            packing, have = output.out.found.decode().split()
            dog.allow(int(have) * FRAME / SLOWEST)  # that much is hashed again there first
            stopped = partial(output.has_said, marks.word("full"))
            self._send(packing, int(have), channel, dog, stopped)
        dog.no_stall()
        call.close()
        self._judge(call, output, marks)

    def _send(
        self,
        packing: str,
        have: int,
        channel: paramiko.Channel,
        dog: Watchdog,
        stopped: Callable[[], bool],
    ) -> None:
        size, told, began = self._frames.size, 0, time.monotonic()
        try:
            for block, done in self._blocks(packing, have):
                if stopped():
                    break
                channel.sendall(block)
                dog.moved()
                early = began + (done - have * FRAME) / self._rate - time.monotonic()
                began += max(0.0, -early - 1)  # time that was lost is not made good
                while early > 0 and not stopped():
                    time.sleep(min(early, 1.0))
                    dog.moved()
                    early -= 1
                if self._progress and (done - told >= PROGRESS or done == size):
                    told = done
                    self._progress(done, size)
        except OSError:
            if channel.exit_status < 0:  # or else the node ended it and has said why
                raise

    def _blocks(self, packing: str, have: int) -> Iterator[tuple[bytes, int]]:
        """What is sent, from part number `have` on, and where in the file each block ends."""
        begin, size = have * FRAME, self._frames.size
        for number in range(have, self._frames.count):
            part, end = self._frames.frame(number, packing), min(begin + FRAME, size)
            for at in range(0, len(part), BLOCK):
                block = part[at : at + BLOCK]
                yield block, begin + (end - begin) * (at + len(block)) // len(part)
            begin = end
        if have >= self._frames.count:  # even nothing has to be a frame
            yield PACKINGS[packing](b""), size

    def _judge(self, call: Call, output: Output, marks: Marks) -> None:
        """Hold what was sent against what the node says that it has."""
        status = call.finish(output, f"sending {self._target}")
        took = re.search(re.escape(marks.word("took")) + _TOOK, output.out.text)
        if status != 0 or not took:
            words = tail(output.err.text.decode("utf-8", "replace")) or f"status {status}"
            raise StepFailed(f"{self._target} could not be written: {words}")
        there, here = took[1].decode(), f"{self._frames.sha256()} {self._frames.size}"
        if there != here:
            raise StepFailed(
                f"{self._target} is not what was sent: sha256 and size {there}, here {here}",
                hint="send it again; where that does not help, check that node's disk and memory",
            )


class Download:
    """File on the node to a new local file, packed as the node can."""

    def __init__(
        self, source: str, target: Path, become: str, limit: int, progress: Progress | None
    ) -> None:
        self._source = _remote_path(source)
        self._target = target
        self._limit = limit
        self._become = become
        self._progress = progress

    def run(self, channel: paramiko.Channel, countdown: Countdown, dog: Watchdog) -> None:
        """Fetch the file whole, synced, or leave none behind."""
        with _new_file(self._target) as file:
            marks, call = new_marks(), Call(channel, self._become, countdown)
            words = (self._source, marks.script)
            stdin = wrapped(render_script("node/send"), {}, marks, arguments=words, feeds=True)
            output = call.begin(stdin, marks, r"size (\d{1,18} (?:plain|zstd))", close=False)
            size, packing = 0, "plain"
            if output.await_mark(MOVING, countdown):
                told, packing = output.out.found.decode().split()
                size = int(told)
            if size > self._limit:
                raise StepFailed(
                    f"{self._source} has {size} bytes, more than the limit of {self._limit}",
                    hint="check that node: this is not the file drctl asked for",
                )
            came = UNPACKERS[packing](channel, output.out.rest(MOST), dog, size)
            got = self._receive(file, came, size)
            dog.no_stall()
            call.close()
            output.out.text[:0] = came.rest()
            self._judge(call, output, got, size)
            with _local(self._target):
                file.flush()
                os.fsync(file.fileno())

    def _judge(self, call: Call, output: Output, got: int, size: int) -> None:
        """Whole is what has as many bytes as the node said, with the script's end right behind."""
        status = call.finish(output, f"fetching {self._source}")
        if status != 0:
            words = tail(output.err.text.decode("utf-8", "replace")) or f"status {status}"
            raise StepFailed(f"{self._source} could not be read: {words}")
        if got != size or output.out.text:
            raise StepFailed(
                f"{self._source} has {size} bytes, but {got + len(output.out.text)} arrived",
                hint="try again; see whether this user's login leaves a program that prints",
            )

    def _receive(self, file: BinaryIO, came: Incoming, size: int) -> int:
        got = told = 0
        for data in came.parts():
            with _local(self._target):
                file.write(data)
            got += len(data)
            if got > size:
                break
            if self._progress and (got - told >= PROGRESS or got == size):
                told = got
                self._progress(got, size)
        return got


@contextmanager
def _local(path: Path) -> Iterator[None]:
    """Keep this machine's own disk errors apart from a broken connection's."""
    try:
        yield
    except OSError as e:
        kind = NotWritten if e.errno in _FULL else StepFailed
        raise kind(f"{path} cannot be written on this machine: {e.strerror}") from e


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A local file that did not exist, 0600; removed again if the block fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Refused(f"{path} already exists", hint="name another file, or remove it") from None
    except OSError as e:
        kind = NotWritten if e.errno in _FULL else StepFailed
        raise kind(f"{path} cannot be created on this machine: {e.strerror}") from e
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
