"""On the embedded lab: the pipe of a real restore is closed in the middle, and the run goes on; a
result that a full disk cannot take; a command that is stopped while it is still being loaded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drctl.lab.layout import Lab
from drctl.lab.waiting import until
from tests.support.labs import content
from tests.support.operator import ROOT, Operator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def drctl(operator: Operator, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "drctl", *arguments]


def how(operator: Operator) -> dict[str, str]:
    return os.environ | {"DRCTL_STATE_DIR": str(operator.state)}


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether that process has a handler for the signal, as the kernel has it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = (line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_restore_whose_reader_goes_away(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes]
) -> None:
    line = drctl(operator, "restore", "--snapshot", str(snapshot), *operator.on, "--yes")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*line, "--replace-healthy"],
        cwd=ROOT,
        env=how(operator),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    seen = b""
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while b"2 stop kubernetes" not in seen:  # the first stop is near: now nobody reads
            more = pipe.read(100)
            assert more, seen.decode()
            seen += more
    assert process.wait(300) == 0
    run = operator.last_run()
    assert run["state"] == "done"
    assert {step["state"] for step in run["steps"]} == {"done"}
    assert content(lab) == saved


def test_a_result_that_a_full_disk_cannot_take(operator: Operator) -> None:
    for output in ("json", "text"):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                drctl(operator, "status", *operator.on, "--output", output),
                cwd=ROOT,
                env=how(operator),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
            )
        assert ended.returncode == 11, ended.stderr
        assert "the result could not be written to standard output: No space" in ended.stderr
        assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_at_any_moment_from_its_first_line_on(
    operator: Operator, number: signal.Signals
) -> None:
    """Before that there is Python's own start, which is nobody's to handle: the first line has
    been run where the kernel knows the handlers."""
    for after in (0, 0.05, 0.3, 0.8):
        process = subprocess.Popen(
            drctl(operator, "status", *operator.on, "--output", "json"),
            cwd=ROOT,
            env=how(operator),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda pid=process.pid: catches(pid, signal.SIGHUP), 60, "a handler")  # type: ignore[misc]  # bound now
        time.sleep(after)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        if process.returncode in (0, 9):  # it was quicker
            assert "members" in json.loads(out)
            continue
        assert process.returncode == 10, (after, err)
        assert json.loads(out)["error"]["code"] == "aborted"
        assert "Traceback" not in err
