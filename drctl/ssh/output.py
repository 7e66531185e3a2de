"""What a command says on a channel, told from what a login prints around it.

A profile, a session recorder or a ForceCommand may print on both streams, before the command and
behind it. What counts stands between marks that are random for each call, and that stand nowhere
in one piece but in what the node's shell prints: a login that shows the command says none of them.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field

import paramiko

from drctl.errors import AuthRefused
from drctl.ssh.limits import Countdown

MAX_OUTPUT = 8 * 2**20  # bytes that are kept of each stream
NOISE = 2**20  # bytes that a login may print on a stream before the command begins
AT_ONCE = 64  # chunks read before the countdown is looked at: a node may never stop talking
LINGER = 2.0  # seconds to wait for more output of a script that has ended, if a child holds it open
LONGEST_MARK = 64  # bytes


_STATUS = re.compile(rb"(\d{1,3})\n")
_NOTHING = re.compile(b"")


@dataclass(frozen=True)
class Mark:
    """A token, and behind it what matches `rest`. (Tokens are never compiled: each call has new
    ones, and a pattern takes a thousand times as long to make as to use.)"""

    token: bytes
    rest: re.Pattern[bytes] = _NOTHING

    def search(self, text: bytearray, start: int) -> tuple[int, re.Match[bytes]] | None:
        """Where it stands in `text` from `start` on, and what its rest says."""
        while (start := text.find(self.token, start)) >= 0:
            if found := self.rest.match(text, start + len(self.token)):
                return start, found
            start += 1
        return None


@dataclass(frozen=True)
class Marks:
    """Two tokens: `ready` goes onto the command line, `script` to a shell that is ready."""

    ready: str
    script: str

    def opening(self, *more: str) -> tuple[Mark, ...]:
        """What a stream passes in turn: the shell is ready, the script has begun, and `more`
        (regular expressions, whose group is what such a mark says)."""
        said = (Mark(self.word(""), re.compile(f"{each}\n".encode())) for each in ("begun", *more))
        return (Mark(f"{self.ready}-ready\n".encode()), *said)

    def ending(self) -> Mark:
        """Says on both streams that the script has ended, and its status."""
        return Mark(self.word("ended "), _STATUS)

    def word(self, text: str) -> bytes:
        """A word that the script says in between."""
        return f"{self.script}-{text}".encode()


@dataclass
class Stream:
    """One of the two streams; `text` is what was said since the last mark, up to the end."""

    opening: tuple[Mark, ...]
    ending: Mark
    passed: int = 0  # opening marks
    found: bytes = b""  # what the last one said
    status: int | None = None  # the script's own, from the mark that ends it
    text: bytearray = field(default_factory=bytearray)
    lost: int = 0  # bytes that were too many to keep

    @property
    def ended(self) -> bool:
        return self.status is not None

    @property
    def flooded(self) -> bool:
        """Whether more was said than a login may, and the command has not begun."""
        return not self.passed and len(self.text) > NOISE

    def take(self, data: bytes) -> None:
        """Add what came; behind the end nothing is kept."""
        if self.ended:
            return
        at = max(0, len(self.text) - LONGEST_MARK)
        self.text += data
        while self.passed < len(self.opening):
            passed = self.opening[self.passed].search(self.text, at)
            if not passed:
                break
            _, said = passed
            self.found, end = bytes(said[said.re.groups]), said.end()
            del said  # it holds the text, which changes now
            del self.text[:end]
            self.passed, at = self.passed + 1, 0
        if last := self.ending.search(self.text, at):
            start, said = last
            self.status = int(said[1])
            del last, said
            del self.text[start:]
        spare = len(self.text) - MAX_OUTPUT - LONGEST_MARK
        if spare > 0:  # the end is read for its mark: the command must be able to end
            del self.text[MAX_OUTPUT : MAX_OUTPUT + spare]
            self.lost += spare

    def rest(self, size: int) -> bytes:
        """The first bytes of the text, `size` at most, taken out of it."""
        taken = bytes(self.text[:size])
        del self.text[:size]
        return taken


class _Bell(threading.Event):
    """Rings when a channel has something to read; paramiko's own clear() would lose a ring that
    comes from the other stream, so only `reset` silences it."""

    def clear(self) -> None:
        pass

    def reset(self) -> None:
        super().clear()


class Output:
    """Both output streams of a channel, drained together and bounded."""

    def __init__(self, channel: paramiko.Channel, marks: Marks, *more: str) -> None:
        """`more` are marks that the script says on stdout before what counts."""
        self._channel = channel
        self._bell = _Bell()
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)
        self.out = Stream(marks.opening(*more), marks.ending())
        self.err = Stream(marks.opening(), marks.ending())

    @property
    def status(self) -> int | None:
        """The script's own status, from its end mark; a script may have closed one stream."""
        return self.err.status if self.out.status is None else self.out.status

    @property
    def lost(self) -> int:
        """Bytes that the script said beyond what is kept."""
        return self.out.lost + self.err.lost

    def said(self) -> str:
        """What both streams hold, the complaints first."""
        return bytes(self.err.text + b"\n" + self.out.text).decode("utf-8", "replace")

    def drain(self, countdown: Countdown) -> None:
        """Read until the command has ended and said everything, or the countdown runs out.

        Neither a child that keeps the output open after the end holds us up for long, nor a login
        that goes on talking.
        """
        quiet_since, ended_at = time.monotonic(), 0.0
        while countdown.left() > 0:
            self._bell.wait(countdown.left(0.25))
            self._bell.reset()
            # Looked at before reading: what was said before the end is in the buffers then.
            over = self._channel.eof_received or self._channel.closed
            ended = self._channel.status_event.is_set()
            if self.read():
                quiet_since = time.monotonic()
            elif ended and time.monotonic() - quiet_since > LINGER:
                break
            if over and not self._bell.is_set():  # all is read, and nobody will ring again
                break
            if self.out.ended and self.err.ended:
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > LINGER:
                    return
        if self.status is None:
            self._channel.status_event.wait(countdown.left())

    def has_said(self, word: bytes) -> bool:
        """Whether the script has said `word` on stdout by now."""
        self.read()
        return word in self.out.text

    def await_mark(self, number: int, countdown: Countdown) -> bool:
        """Read until stdout has passed so many opening marks; False where it ended before.

        AuthRefused, naming what was printed, where a login talks and talks and does not begin.
        """
        while countdown.left() > 0:
            over = self._channel.eof_received or self._channel.closed
            self.read()
            if self.out.passed >= number:
                return True
            if self.out.flooded or self.err.flooded:
                break
            if self.status is not None or (over and not self._bell.is_set()):
                return False
            self._bell.wait(countdown.left(0.25))
            self._bell.reset()
        if not self.out.passed and self.said().strip():
            raise AuthRefused(
                f"its login went on printing and did not run the command: {tail(self.said(), 160)}",
                hint="look at what its .bashrc, /etc/profile or ForceCommand prints, or waits for",
            )
        return False

    def read(self) -> int:
        """Take what there is by now; bytes."""
        total, channel = 0, self._channel
        for _ in range(AT_ONCE):
            if channel.recv_ready():
                total += self._took(self.out, channel.recv(2**16))
            if channel.recv_stderr_ready():
                total += self._took(self.err, channel.recv_stderr(2**16))
            elif not channel.recv_ready():
                break
        else:  # there may be more, and nobody rings for it again
            self._bell.set()
        return total

    @staticmethod
    def _took(stream: Stream, data: bytes) -> int:
        stream.take(data)
        return len(data)


def tail(text: str, most: int = 400) -> str:
    """The end of what a remote command said, on one line, without control characters."""
    flat = " | ".join(line.strip() for line in text[-100 * most :].splitlines() if line.strip())
    return "".join(c for c in flat if c.isprintable())[-most:]
