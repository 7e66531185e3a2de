"""Standard output and standard error that cannot break: where nobody reads any more (a closed
pipe), the disk is full or the terminal is gone, what a command does goes on to its end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import IO, Any


class Unbroken:
    """A text stream that never raises OSError and can write every character. What a stream cannot
    take any more is dropped, and `lost` says why."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        # Python has no stream where the descriptor was closed before it began.
        self.lost: OSError | None = None if stream else OSError(errno.EBADF, "it is closed")
        self.begun = False  # whether anything but blanks was written, or would have been
        self._was_terminal = self.isatty()

    @property
    def missed(self) -> OSError | None:
        """Why somebody misses what was written: not where the reader went away, or a terminal."""
        went = (errno.EPIPE, errno.EBADF, *([errno.EIO] if self._was_terminal else ()))
        return None if self.lost is None or self.lost.errno in went else self.lost

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # as every text stream answers; click asks by trying
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.begun = self.begun or bool(text.strip())
        if self._stream is not None and self.lost is None:
            self._try(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self.write("")

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self.lost is None and self._stream.isatty()
        return False

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:
        return getattr(self._stream, "errors", None) or "strict"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, stream: IO[str], text: str) -> None:
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            if not text or "\n" in text:
                stream.flush()
        except RuntimeError:  # a signal's handler, in the middle of another write
            with contextlib.suppress(OSError, ValueError):
                os.write(stream.fileno(), text.encode(self.encoding, "backslashreplace"))
        except OSError as error:
            self.lost = error
            self._to_nowhere(stream)

    @staticmethod
    def _to_nowhere(stream: IO[str]) -> None:
        """What is still in the stream's buffer would fail once more at the interpreter's end."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


@contextlib.contextmanager
def unbroken() -> Iterator[tuple[Unbroken, Unbroken]]:
    """Standard output and standard error as such streams, for as long as the block runs."""
    before = sys.stdout, sys.stderr
    for stream in before:  # whoever shares the descriptor may have made it one that does not wait
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.set_blocking(stream.fileno(), True)
    out, err = Unbroken(sys.stdout), Unbroken(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before


def is_heard() -> bool:
    """Whether what is said on standard error still goes anywhere."""
    return getattr(sys.stderr, "lost", None) is None
