"""One command, timed and measured; what several rounds of it come to."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRCTL = Path(sys.executable).parent / "drctl"
_LOOK_EVERY = 0.02  # seconds between two looks at the memory


class Wrong(Exception):
    """A contender failed, or did not do the work; no figure of it would mean anything."""


@dataclass(frozen=True)
class Ended:
    """How one command went. `seconds` of wall time, `cpu` seconds of it and its children, `peak`
    bytes of memory (VmHWM) of the process itself, `began` by time.monotonic()."""

    seconds: float
    cpu: float
    peak: int
    began: float
    out: str


def run(
    argv: Sequence[object],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: float = 600.0,
    status: int = 0,
) -> Ended:
    """Run a command in a session of its own, its stderr into `log`; Wrong where it ends otherwise
    than with `status`, or not within `limit` seconds (then all of it is killed)."""
    with log.open("wb") as said, log.with_suffix(".out").open("w+b") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            env=dict(os.environ) | dict(env or {}),
            cwd=cwd,
            start_new_session=True,
        )
        watch = _Watch(process.pid)
        killer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        try:
            _, raw, used = os.wait4(process.pid, 0)
            ended = time.monotonic()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            killer.cancel()
            watch.stop()
        process.returncode = os.waitstatus_to_exitcode(raw)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode != status:
        tail = (log.read_text(errors="replace") + text)[-3000:]
        raise Wrong(f"{argv[0]} ended with status {process.returncode}:\n{tail}")
    cpu = used.ru_utime + used.ru_stime
    return Ended(ended - began, cpu, watch.peak, began, text)


class _Watch:
    """Reads a process's VmHWM until it ends. (ru_maxrss would count what started it, too.)"""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._path = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            try:
                lines = self._path.read_text().splitlines()
            except OSError:
                return
            found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
            self.peak = max([self.peak, *(1024 * int(one) for one in found)])

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@dataclass
class Series:
    """The values of one figure over the rounds."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def document(self) -> dict[str, object]:
        """As plain data."""
        return {
            "min": round(min(self.values), 4),
            "median": round(self.median, 4),
            "max": round(max(self.values), 4),
            "values": [round(value, 4) for value in self.values],
        }
