"""A script in a throwaway container that makes files: nothing of it outlives the caller.

The container lives for as long as its standard input is open, which ends with this process,
however this process ends; then the engine removes it with its volumes.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from drctl.errors import StepFailed
from drctl.lab.labs import Say

SAID = "drctl: "
"""Begins a line of the script that is for people."""
LABEL = "drctl.workshop"
# `timeout` is PID 1: when everything else is killed, the container ends.
_PREAMBLE = """exec 3<&0 4>&1 1>&2 </dev/null
(cat <&3 >/dev/null; kill -KILL -1) 4>&- &
exec 3<&-
(
"""
# A busy engine loses what a container says just before it ends, which matters where it failed.
_EPILOGUE = """
)
status=$?
[ $status = 0 ] || sleep 5
exit $status
"""
_EVERY_SECONDS = 30.0
# Python has known tar filters since 3.11.4; bookworm's is 3.11.2. The tars are of our own making.
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
_TAIL_LINES = 25
_GRACE_SECONDS = 30.0


def make(
    image: str,
    script: str,
    into: Path,
    *,
    say: Say,
    volumes: Sequence[str] = (),
    seconds: float,
    label: str = "",
) -> None:
    """Run `script` (POSIX shell, as root in `image`) and unpack the tar that it writes to its file
    descriptor 4 into the folder `into`.

    `volumes` are paths in the container on a file system that is not the engine's layered one.
    StepFailed with the end of what the script said: it failed, took longer than `seconds`, or
    its output is not a whole tar.
    """
    bounded = ["timeout", "-k", "10", str(int(seconds)), "sh", "-c", _PREAMBLE + script + _EPILOGUE]
    mounts = [part for path in volumes for part in ("--volume", path)]
    argv = ["docker", "run", "--rm", "--interactive", "--log-driver", "none"]
    argv += ["--label", f"{LABEL}={label}"]
    with tempfile.TemporaryFile(dir=into) as output:
        status, tail = _run([*argv, *mounts, image, *bounded], output, say, seconds)
        if status:
            why = f"took longer than {seconds:.0f} s" if status == 124 else f"ended with {status}"
            raise StepFailed("\n".join([f"the container's script {why}", *tail]))
        if not _is_whole(output):
            raise StepFailed("the container's output was cut short")
        try:
            with tarfile.open(fileobj=output) as archive:
                archive.extractall(into, **SAFELY)
        except tarfile.TarError as error:
            raise StepFailed(f"the container's output cannot be unpacked: {error}") from error


def _is_whole(output: IO[bytes]) -> bool:
    """Whether a tar ends as POSIX wants it, with two blocks of zeros: Python's tarfile takes one
    that was cut at a header for the end. Leaves the file at its beginning."""
    end = bytes(2 * tarfile.BLOCKSIZE)
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - len(end)))
    whole = output.read() == end
    output.seek(0)
    return whole


def _run(argv: list[str], output: IO[bytes], say: Say, seconds: float) -> tuple[int, list[str]]:
    """The exit status, and the last lines of standard error."""
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    try:
        # A session of its own: an interrupt at the terminal must reach us, and then it by us.
        started = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise StepFailed("no docker client on PATH", hint="install Docker's client") from error
    with started as process, _ended(process, seconds + _GRACE_SECONDS):
        assert process.stderr is not None  # a pipe, as asked for above
        for line in _spoken(process.stderr, say):
            tail.append(line)
        return process.wait(), list(tail)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """At the end, or after `seconds`, the container's standard input is closed: it ends itself."""
    assert process.stdin is not None  # a pipe
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _spoken(stream: IO[str], say: Say) -> Iterator[str]:
    """Every line; those for people are said, of the others their number from time to time."""
    begun = last = time.monotonic()
    for number, raw in enumerate(stream, start=1):
        line = raw.rstrip("\n")
        now = time.monotonic()
        if line.startswith(SAID):
            say(line.removeprefix(SAID))
            last = now
        elif now - last > _EVERY_SECONDS:
            say(f"  {now - begun:.0f} s, {number} lines of output, at {line.strip()[:60]}")
            last = now
        yield line
