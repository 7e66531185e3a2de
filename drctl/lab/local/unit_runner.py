"""What supervisord starts instead of a program: the part of a systemd unit that matters here.

    python -m drctl.lab.local.unit_runner --fence FILE --stamp FILE [--chdir DIR] -- PROGRAM ...

As a real unit would, it refuses to start behind a fence (status 78, which supervisord is told not
to retry), waits between two starts (`RestartSec`), fails when the working directory is missing
(status 200, systemd's CHDIR), and ties the program's life to the supervisor's.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FENCED = 78
NO_DIRECTORY = 200
RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Become the program, or return the status with which the unit failed."""
    arguments = _parser().parse_args(argv)
    # Looked at before the stamp is locked: a start that is refused does not count as running.
    if arguments.fence.exists():
        return _refuse(FENCED, f"fenced by {arguments.fence}")
    _pause_between_starts(arguments.stamp)
    if arguments.fence.exists():
        return _refuse(FENCED, f"fenced by {arguments.fence}")
    if arguments.chdir is not None:
        try:
            os.chdir(arguments.chdir)
        except OSError as error:
            return _refuse(NO_DIRECTORY, f"no working directory: {error}")
    _die_with_parent()
    program: list[str] = arguments.program
    return os.execv(program[0], program)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drctl.lab.local.unit_runner")
    parser.add_argument("--fence", type=Path, required=True)
    parser.add_argument("--stamp", type=Path, required=True)
    parser.add_argument("--chdir", type=Path)
    parser.add_argument("program", nargs="+")
    return parser


def _pause_between_starts(stamp: Path) -> None:
    """Without a pause a program that fails at once would be started hundreds of times a second."""
    try:
        age = time.time() - stamp.stat().st_mtime
    except OSError:
        age = RESTART_SECONDS
    lock = os.open(stamp, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if 0 <= age < RESTART_SECONDS:
        time.sleep(RESTART_SECONDS)
    stamp.touch()


def _refuse(status: int, why: str) -> int:
    sys.stderr.write(f"unit not started: {why}\n")
    return status


def _die_with_parent() -> None:
    """A supervisord that is killed takes its programs with it, as a host that loses power does."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:  # it died before we asked
        raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
