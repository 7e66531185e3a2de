"""Files over a channel: `cat` on the node, constant memory here.

A `cat` beats SFTP: there is no answer to wait for after each block.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import paramiko

from drctl.errors import InvalidInput, Refused, StepFailed
from drctl.render import render_script
from drctl.ssh.limits import Countdown, Watchdog
from drctl.ssh.session import Output, argv, is_sudo_refusal, refusal, start, status_of, tail
from drctl.transport import Progress

BLOCK = 2**15 - 64  # what paramiko puts into one packet of the 32 KiB that sshd accepts
READ = 2**20  # read the local file in bigger pieces
PROGRESS = 2**20  # bytes between two calls of the progress callback
WINDOW = 2**24  # how far a node may be ahead of us in a download: memory, so not unlimited

NOISE = 2**20  # how much a login may print before a download begins

# The script that takes a file comes first on its own input: the command is one line without "!" or
# nested quotes, which a csh as login shell takes too. dd reads no byte too many.
_PUT = 'eval "$(dd bs=1 count={} 2>/dev/null)"'
# A node that cannot take the file says so and waits for our end of input: paramiko may still send
# data after it has answered a CLOSE, and both sshd and asyncssh drop the connection for that.
# The second cat ends when we close its input, after the last byte: see RUN_WINDOW for the reason.
_GET = (
    'n=$(stat -L -c %s -- "$1") || exit; '
    '[ -f "$1" ] || { echo "$1: not a file" >&2; exit 1; }; printf "%s %s\\n" "$2" "$n"; '
    'cat -- "$1" && exec cat > /dev/null'
)


@cache
def _receive() -> bytes:
    return render_script("node/receive").body.encode()


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
        script, token = _receive(), secrets.token_hex(8)  # no login can say what it does not know
        begun, done, stop = (f"drctl-{word}-{token}" for word in ("begun", "done", "stop"))
        command = (_PUT.format(len(script)), "sh", self._target, begun, done, stop)
        with _readable(self._source) as file:
            size = os.fstat(file.fileno()).st_size
            output = start(channel, argv(self._become, "sh", "-c", *command))
            sent = 0
            if self._begin(script, begun.encode(), channel, output, countdown):
                sent = self._send(file, size, channel, dog, partial(output.heard, stop.encode()))
        dog.no_stall()
        output.drain(countdown)
        self._judge(channel, output, done)
        if sent != size:
            raise StepFailed(f"{self._source} changed while being sent: {size} bytes, then {sent}")

    @staticmethod
    def _begin(
        script: bytes, begun: bytes, channel: paramiko.Channel, output: Output, countdown: Countdown
    ) -> bool:
        """Whether the node is ready to take the file. What a login prints before is nobody's."""
        try:
            channel.sendall(script)
            if output.await_word(begun, countdown):
                return True
            channel.shutdown_write()
        except OSError:
            if channel.exit_status < 0:
                raise
        return False

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
            channel.shutdown_write()
        except OSError:
            if channel.exit_status < 0:  # or else the node ended it and has said why
                raise
        return sent

    def _judge(self, channel: paramiko.Channel, output: Output, done: str) -> None:
        said = output.err.decode("utf-8", "replace")
        status = status_of(channel)
        if status == 0 and done.encode() in output.out:
            return
        if status == 0 or (self._become == "sudo" and is_sudo_refusal(said)):
            raise refusal(self._become, said, status)
        raise StepFailed(f"{self._target} could not be written: {tail(said) or f'status {status}'}")


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
            token = f"drctl-size-{secrets.token_hex(8)}"
            start(channel, argv(self._become, "sh", "-c", _GET, "sh", self._source, token))
            size, first = self._header(channel, token)
            if size > self._limit:
                raise StepFailed(
                    f"{self._source} has {size} bytes, more than the limit of {self._limit}",
                    hint="check that node: this is not the file drctl asked for",
                )
            got = self._receive(file, first, size, channel, dog)
            dog.no_stall()
            channel.shutdown_write()
            status, said = self._end(channel, countdown)
            if status != 0:
                raise StepFailed(f"{self._source} could not be read: {said or f'status {status}'}")
            if got != size:
                raise StepFailed(f"{self._source} has {size} bytes, but {got} arrived")
            with _local(self._target):
                file.flush()
                os.fsync(file.fileno())

    def _header(self, channel: paramiko.Channel, token: str) -> tuple[int, bytes]:
        pattern = re.compile(rf"{token} (\d{{1,18}})\n".encode())
        text = b""
        while not (found := pattern.search(text)):
            data = channel.recv(4096)
            text += data
            if not data or len(text) > NOISE:
                raise self._no_header(channel)
        return int(found[1]), text[found.end() :]

    def _no_header(self, channel: paramiko.Channel) -> Exception:
        output = Output(channel)
        output.drain(Countdown(10))
        said = output.err.decode("utf-8", "replace")
        status = status_of(channel)
        if status == 0 or (self._become == "sudo" and is_sudo_refusal(said)):
            return refusal(self._become, said, status)
        return StepFailed(f"{self._source} could not be read: {tail(said) or f'status {status}'}")

    def _receive(
        self, file: BinaryIO, data: bytes, size: int, channel: paramiko.Channel, dog: Watchdog
    ) -> int:
        got = told = 0
        while data or (got < size and (data := channel.recv(2**18))):
            with _local(self._target):
                file.write(data)
            got += len(data)
            data = b""
            dog.moved()
            if self._progress and (got - told >= PROGRESS or got == size):
                told = got
                self._progress(got, size)
        return got

    def _end(self, channel: paramiko.Channel, countdown: Countdown) -> tuple[int, str]:
        output = Output(channel)
        output.drain(countdown)
        return status_of(channel), tail(output.err.decode("utf-8", "replace"))


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
