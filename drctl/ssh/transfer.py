"""Files over a channel: `cat` on the node, constant memory here.

A `cat` beats SFTP: there is no answer to wait for after each block. The handshake is `Call`'s
(session.py): no byte is sent before the node's script has said that it takes them, and what came
is counted by the other side.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import paramiko

from drctl.errors import InvalidInput, Refused, StepFailed
from drctl.render import render_script
from drctl.ssh.limits import Countdown, Watchdog
from drctl.ssh.output import Marks, Output, tail
from drctl.ssh.session import Call, new_marks, wrapped
from drctl.transport import Progress

BLOCK = 2**15 - 64  # what paramiko puts into one packet of the 32 KiB that sshd accepts
READ = 2**20  # read the local file in bigger pieces
PROGRESS = 2**20  # bytes between two calls of the progress callback
WINDOW = 2**24  # how far a node may be ahead of us in a download: memory, so not unlimited

# Marks on stdout that a transfer's script has passed: the shell is ready, the script has begun,
# and it is about to take or send the file.
MOVING = 3


def _remote_path(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise InvalidInput(f"{path!r} is not an absolute path of printable characters")
    return path


class Upload:
    """Local file to node."""

    def __init__(self, source: Path, target: str, become: str, progress: Progress | None) -> None:
        self._source = source
        self._target = _remote_path(target)
        self._become = become
        self._progress = progress

    def run(self, channel: paramiko.Channel, countdown: Countdown, dog: Watchdog) -> None:
        """Send the file; StepFailed with the node's own words if it could not be taken."""
        marks, call = new_marks(), Call(channel, self._become, countdown)
        script = render_script("node/receive")
        stdin = wrapped(script, {}, marks, arguments=(self._target, marks.script), feeds=True)
        with _readable(self._source) as file:
            size = os.fstat(file.fileno()).st_size
            output = call.begin(stdin, marks, "go", close=False)
            sent = 0
            if output.await_mark(MOVING, countdown):
                stopped = partial(output.has_said, marks.word("full"))
                sent = self._send(file, size, channel, dog, stopped)
        dog.no_stall()
        call.close()
        self._judge(call, output, marks, sent)
        if sent != size:
            raise StepFailed(f"{self._source} changed while being sent: {size} bytes, then {sent}")

    def _send(
        self,
        file: BinaryIO,
        size: int,
        channel: paramiko.Channel,
        dog: Watchdog,
        stopped: Callable[[], bool],
    ) -> int:
        sent = told = 0
        try:
            while not stopped() and (block := file.read(BLOCK)):
                while block:
                    n = channel.send(block)
                    block = block[n:]
                    sent += n
                dog.moved()
                if self._progress and (sent - told >= PROGRESS or sent == size):
                    told = sent
                    self._progress(sent, size)
        except OSError:
            if channel.exit_status < 0:  # or else the node ended it and has said why
                raise
        return sent

    def _judge(self, call: Call, output: Output, marks: Marks, sent: int) -> None:
        """Hold what was sent against the node's own count of it."""
        status = call.finish(output, f"sending {self._target}")
        taken = re.search(re.escape(marks.word("took")) + rb" (\d{1,18})\n", output.out.text)
        if status == 0 and taken and int(taken[1]) == sent:
            return
        words = tail(output.err.text.decode("utf-8", "replace")) or f"status {status}"
        if status == 0:
            words = f"{sent} bytes were sent, and it has {int(taken[1]) if taken else 'not said'}"
        raise StepFailed(f"{self._target} could not be written: {words}")


class Download:
    """File on the node to a new local file."""

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
            script = render_script("node/send")
            stdin = wrapped(script, {}, marks, arguments=(self._source, marks.script), feeds=True)
            output = call.begin(stdin, marks, r"size (\d{1,18})", close=False)
            sends = output.await_mark(MOVING, countdown)
            size = int(output.out.found) if sends else 0
            if size > self._limit:
                raise StepFailed(
                    f"{self._source} has {size} bytes, more than the limit of {self._limit}",
                    hint="check that node: this is not the file drctl asked for",
                )
            got = self._receive(file, output.out.rest(size), size, channel, dog)
            dog.no_stall()
            call.close()
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

    def _receive(
        self, file: BinaryIO, data: bytes, size: int, channel: paramiko.Channel, dog: Watchdog
    ) -> int:
        got = told = 0
        while data or (got < size and (data := channel.recv(min(2**18, size - got)))):
            with _local(self._target):
                file.write(data)
            got += len(data)
            data = b""
            dog.moved()
            if self._progress and (got - told >= PROGRESS or got == size):
                told = got
                self._progress(got, size)
        return got


def _readable(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=READ)
    except OSError as e:
        raise InvalidInput(f"{path} cannot be read on this machine: {e.strerror}") from e


@contextmanager
def _local(path: Path) -> Iterator[None]:
    """Keep this machine's own disk errors apart from a broken connection's."""
    try:
        yield
    except OSError as e:
        raise StepFailed(f"{path} cannot be written on this machine: {e.strerror}") from e


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A local file that did not exist, 0600; removed again if the block fails."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError:
        raise Refused(f"{path} already exists", hint="name another file, or remove it") from None
    except OSError as e:
        raise StepFailed(f"{path} cannot be created on this machine: {e.strerror}") from e
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
