"""Files over a channel: a pipe into the file on the node, constant memory here.

A pipe beats SFTP: there is no answer to wait for after each block.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, Protocol

import paramiko
import zstandard

from drctl.answer import shown
from drctl.errors import InvalidInput, Refused, StepFailed
from drctl.render import render_script
from drctl.ssh.frames import FRAME, PACKINGS, Frames
from drctl.ssh.limits import Countdown, Watchdog
from drctl.ssh.session import Output, argv, is_sudo_refusal, refusal, start, status_of, tail
from drctl.transport import MOST, Progress

BLOCK = 2**15 - 64  # what paramiko puts into one packet of the 32 KiB that sshd accepts
PROGRESS = 2**20  # bytes between two calls of the progress callback
CHUNK = 2**18  # bytes to write at once
_LITTLE = 2**10  # bytes to unpack at once
WINDOW = 2**24  # how far a node may be ahead of us in a download: memory, so not unlimited

_BEGUN = re.compile(rb" (plain|zstd) (\d{1,12})")
NOISE = 2**20  # how much a login may print before a download begins

# The script that takes a file comes first on its own input: the command is one line without "!" or
# nested quotes, which a csh as login shell takes too. dd reads no byte too many.
_PUT = 'eval "$(dd bs=1 count={} 2>/dev/null)"'
# A node that cannot take the file says so and waits for our end of input: paramiko may still send
# data after it has answered a CLOSE, and both sshd and asyncssh drop the connection for that.


@cache
def _script(name: str) -> bytes:
    return render_script(f"node/{name}").body.encode()


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
    ) -> None:
        self._frames = frames
        self._target = _remote_path(target)
        self._become = become
        self._progress = progress
        self._go_on = go_on

    def run(self, channel: paramiko.Channel, countdown: Countdown, dog: Watchdog) -> None:
        """Send the file; StepFailed with the node's own words if it could not be taken, or if
        what it took is not what was sent."""
        script, token = (
            _script("receive"),
            secrets.token_hex(8),
        )  # no login can say what it does not know
        begun, done, stop = (f"drctl-{word}-{token}" for word in ("begun", "done", "stop"))
        words = (self._target, begun, done, stop, str(FRAME), "yes" if self._go_on else "no")
        put = argv(self._become, "sh", "-c", _PUT.format(len(script)), "sh", *words)
        output = start(channel, put)
        if begins := self._begin(script, begun.encode(), channel, output, countdown):
            packing, have = begins
            stopped = partial(output.heard, stop.encode())
            self._send(packing, have, channel, dog, stopped)
        dog.no_stall()
        output.drain(countdown)
        self._judge(channel, output, done)

    def _begin(
        self,
        script: bytes,
        begun: bytes,
        channel: paramiko.Channel,
        output: Output,
        countdown: Countdown,
    ) -> tuple[str, int] | None:
        """How the node wants the file, and how many parts of it are there; None where it cannot
        take it. What a login prints before is nobody's."""
        try:
            channel.sendall(script)
            if output.await_word(begun, countdown):
                return self._agreed(output, countdown)
            channel.shutdown_write()
        except OSError:
            if channel.exit_status < 0:
                raise
        return None

    def _agreed(self, output: Output, countdown: Countdown) -> tuple[str, int]:
        output.await_word(b"\n", countdown, keep=True)
        line, _, output.out = output.out.partition(b"\n")
        found = _BEGUN.fullmatch(bytes(line))
        if not found or (have := int(found[2])) > self._frames.count:
            wish = shown(line.decode("utf-8", "replace"))
            raise StepFailed(f"{self._target}: cannot be sent as the node wants it: {wish!r}")
        return found[1].decode(), have

    def _send(
        self,
        packing: str,
        have: int,
        channel: paramiko.Channel,
        dog: Watchdog,
        stopped: Callable[[], bool],
    ) -> None:
        size, told = self._frames.size, 0
        try:
            for block, done in self._blocks(packing, have):
                if stopped():
                    break
                channel.sendall(block)
                dog.moved()
                if self._progress and (done - told >= PROGRESS or done == size):
                    told = done
                    self._progress(done, size)
            channel.shutdown_write()
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
        if have == self._frames.count:  # even nothing has to be a frame
            yield PACKINGS[packing](b""), size

    def _judge(self, channel: paramiko.Channel, output: Output, done: str) -> None:
        said = output.err.decode("utf-8", "replace")
        status = status_of(channel)
        took = re.search(rf"{done} ([0-9a-f]{{64}}) (\d{{1,18}})\n".encode(), output.out)
        if status == 0 and took:
            self._compare(took[1].decode(), int(took[2]))
        elif status == 0 or (self._become == "sudo" and is_sudo_refusal(said)):
            raise refusal(self._become, said, status)
        else:
            why = tail(said) or f"status {status}"
            raise StepFailed(f"{self._target} could not be written: {why}")

    def _compare(self, digest: str, size: int) -> None:
        sent = self._frames.sha256()
        if (digest, size) != (sent, self._frames.size):
            raise StepFailed(
                f"{self._target} is not what was sent: sha256 {digest} of {size} bytes there, "
                f"{sent} of {self._frames.size} here",
                hint="send it again; where that does not help, check that node's disk and memory",
            )


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
            script, token = _script("give"), f"drctl-size-{secrets.token_hex(8)}"
            words = ("sh", "-c", _PUT.format(len(script)), "sh", self._source, token)
            start(channel, argv(self._become, *words))
            with suppress(OSError):  # where it did not start, what came back tells why
                channel.sendall(script)
            size, packing, first = self._header(channel, token)
            if size > self._limit:
                raise StepFailed(
                    f"{self._source} has {size} bytes, more than the limit of {self._limit}",
                    hint="check that node: this is not the file drctl asked for",
                )
            came = _Incoming(channel, first, dog, size if packing == "plain" else MOST)
            got = self._receive(file, _UNPACKED[packing](came), size)
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

    def _header(self, channel: paramiko.Channel, token: str) -> tuple[int, str, bytes]:
        pattern = re.compile(rf"{token} (\d{{1,18}}) (plain|zstd)\n".encode())
        text = b""
        while not (found := pattern.search(text)):
            data = channel.recv(4096)
            text += data
            if not data or len(text) > NOISE:
                raise self._no_header(channel)
        return int(found[1]), found[2].decode(), text[found.end() :]

    def _no_header(self, channel: paramiko.Channel) -> Exception:
        output = Output(channel)
        output.drain(Countdown(10))
        said = output.err.decode("utf-8", "replace")
        status = status_of(channel)
        if status == 0 or (self._become == "sudo" and is_sudo_refusal(said)):
            return refusal(self._become, said, status)
        return StepFailed(f"{self._source} could not be read: {tail(said) or f'status {status}'}")

    def _receive(self, file: BinaryIO, source: _Source, size: int) -> int:
        """How much came, up to a byte more than `size`."""
        got = told = 0
        while got <= size and (data := self._read(source, min(CHUNK, size - got + 1))):
            with _local(self._target):
                file.write(data)
            got += len(data)
            if self._progress and (got - told >= PROGRESS or got == size):
                told = got
                self._progress(got, size)
        return got

    def _read(self, source: _Source, most: int) -> bytes:
        try:
            return source.read(most)
        except zstandard.ZstdError as e:
            raise StepFailed(f"{self._source} did not arrive whole: {e}") from e

    def _end(self, channel: paramiko.Channel, countdown: Countdown) -> tuple[int, str]:
        output = Output(channel)
        output.drain(countdown)
        return status_of(channel), tail(output.err.decode("utf-8", "replace"))


class _Source(Protocol):
    def read(self, most: int, /) -> bytes: ...


class _Incoming:
    """What a node sends, as a file of at most `size` bytes; its start is there already."""

    def __init__(self, channel: paramiko.Channel, first: bytes, dog: Watchdog, size: int) -> None:
        self._channel, self._first, self._dog, self._left = channel, first, dog, size

    def read(self, most: int, /) -> bytes:
        most = min(most, self._left)
        data = self._first[:most] or (self._channel.recv(most) if most else b"")
        self._first = self._first[most:]
        self._left -= len(data)
        self._dog.moved()
        return data


class _Unpacked:
    """What is in one zstd frame. A read gives what a little input holds, whatever was asked for:
    1 KiB can become 32 MiB (RFC 8878 3.1.1.2: blocks of one byte repeated). The library's own
    reader waits for more input after the frame's end."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._frame = zstandard.ZstdDecompressor(max_window_size=FRAME).decompressobj()

    def read(self, _most: int, /) -> bytes:
        while not self._frame.eof and (data := self._source.read(_LITTLE)):
            if part := self._frame.decompress(data):
                return part
        return b""


def _as_it_is(source: _Source) -> _Source:
    return source


_UNPACKED: Mapping[str, Callable[[_Source], _Source]] = {"plain": _as_it_is, "zstd": _Unpacked}


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
