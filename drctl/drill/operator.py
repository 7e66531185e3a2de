"""The product as an operator uses it: its command line, in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from drctl.drill import pausepoint
from drctl.drill.record import Command
from drctl.drill.times import utc_now
from drctl.errors import StepFailed
from drctl.lab.labs import Say

Meanwhile = Callable[[str], bool]
"""Called with the moment at which the command is held; False: kill it there and then."""
COMMAND_SECONDS = 900.0
_SAID_LINES = 40


@dataclass(frozen=True)
class Ended:
    """A command that ended: what the record keeps of it, and its whole stdout."""

    command: Command
    stdout: str


@dataclass(frozen=True)
class Operator:
    """One person with an inventory and a state directory."""

    inventory: Path
    state_dir: Path
    say: Say

    def types(
        self,
        *arguments: str,
        expected: int | None = 0,
        holds: tuple[str, ...] = (),
        meanwhile: Meanwhile = lambda _: True,
        aloud: bool = True,
    ) -> Ended:
        """Run one command to its end, held at each of `holds` in turn for `meanwhile`.

        What it tells the operator goes to `say` as it comes (if `aloud`). StepFailed when it takes
        longer than COMMAND_SECONDS, or passes none of the moments at which it was to be held.
        """
        begun, at = time.monotonic(), utc_now()
        process = self._start(arguments, holds)
        listener = _Listener(process, self.say if aloud else lambda _: None)
        try:
            passed, killed_at = _follow(process, holds, meanwhile)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
            said, stdout = listener.finish()
        if passed < len(holds) and not killed_at:
            raise StepFailed(
                f"drctl {arguments[0]} never reached the moment {holds[passed]!r}; it exited with "
                f"{process.returncode}",
                hint="see its steps: drctl runs show",
            )
        command = Command(
            typed=shlex.join(["drctl", *arguments]),
            at=at,
            seconds=round(time.monotonic() - begun, 3),
            exit_code=None if killed_at else process.returncode,
            expected=expected,
            killed_at=killed_at,
            said=said,
        )
        return Ended(command, stdout)

    def asks(self, *arguments: str) -> Any:
        """The JSON document that a command prints; StepFailed when it fails."""
        answer = self.types(*arguments, *self.on, "--output", "json", aloud=False)
        if not answer.command.as_expected:
            raise StepFailed(
                f"{answer.command.typed} ended with {answer.command.exit_code}: "
                f"{answer.command.said[-500:]} {answer.stdout[-500:]}",
                hint="to look at the lab, add --keep",
            )
        return json.loads(answer.stdout)

    def backup(self, folder: Path) -> tuple[Ended, Mapping[str, Any]]:
        """Take a backup into `folder`; returns also the document that tells its path and
        revision. StepFailed when it fails: there is nothing to drill then."""
        answer = self.types("backup", *self.on, "--to", str(folder), "--output", "json")
        if not answer.command.as_expected:
            raise StepFailed(
                f"drctl backup ended with exit code {answer.command.exit_code}: {answer.stdout}",
                hint="its output is above; to look at the lab, add --keep",
            )
        made: Mapping[str, Any] = json.loads(answer.stdout)
        return answer, made

    def runs(self) -> list[str]:
        """The ids of all runs of the inventory's cluster, oldest first."""
        return [path.parent.name for path in sorted(self.state_dir.glob("*/*/journal.sqlite"))]

    def run(self, run: str) -> dict[str, Any]:
        """One run, as `runs show` tells it."""
        shown: dict[str, Any] = self.asks("runs", "show", run)
        return shown

    def report(self, run: str) -> dict[str, Any]:
        """What one run proves, as `runs report` tells it: without its values."""
        told: dict[str, Any] = self.asks("runs", "report", run)
        return told

    @property
    def on(self) -> tuple[str, str]:
        return "--inventory", str(self.inventory)

    def _start(self, arguments: tuple[str, ...], holds: tuple[str, ...]) -> subprocess.Popen[str]:
        module = "drctl.drill.pausepoint" if holds else "drctl"
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=os.environ
            | {"DRCTL_STATE_DIR": str(self.state_dir), pausepoint.VARIABLE: json.dumps(holds)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )


def _follow(
    process: subprocess.Popen[str], holds: tuple[str, ...], meanwhile: Meanwhile
) -> tuple[int, str]:
    """Wait for the end; (how many moments were passed, the one at which it was killed or "")."""
    deadline = time.monotonic() + COMMAND_SECONDS
    passed = 0
    while True:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid == 0:
            if time.monotonic() > deadline:
                raise StepFailed(f"drctl did not end within {COMMAND_SECONDS:.0f} s")
            time.sleep(0.02)
        elif os.WIFSTOPPED(status):
            moment, passed = holds[passed], passed + 1
            if not meanwhile(moment):
                process.kill()
                process.wait()
                return passed, moment
            os.kill(process.pid, signal.SIGCONT)
        else:
            process.returncode = os.waitstatus_to_exitcode(status)
            return passed, ""


class _Listener:
    """Reads both of a process's streams as they come: a full pipe would hold it up."""

    def __init__(self, process: subprocess.Popen[str], say: Say) -> None:
        self._said: deque[str] = deque(maxlen=_SAID_LINES)
        self._stdout: list[str] = []
        self._say = say
        assert process.stdout
        assert process.stderr
        self._streams = (process.stderr, process.stdout)
        self._threads = [
            threading.Thread(target=self._hear, args=(process.stderr,), daemon=True),
            threading.Thread(target=self._keep, args=(process.stdout,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> tuple[str, str]:
        """(the end of stderr, all of stdout), once the process has ended."""
        for thread in self._threads:
            thread.join(timeout=10)
        for stream in self._streams:
            stream.close()
        return "\n".join(self._said), "".join(self._stdout)

    def _hear(self, stream: IO[str]) -> None:
        for line in stream:
            self._said.append(line.rstrip("\n"))
            self._say(line.rstrip("\n"))

    def _keep(self, stream: IO[str]) -> None:
        self._stdout.append(stream.read())
