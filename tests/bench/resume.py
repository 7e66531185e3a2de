"""How long a resume takes to get to the first step that is not done, the snapshot having been sent
everywhere; and how long the commands take that only look."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path

from tests.bench.machines import Machines, Snapshot
from tests.bench.running import DRCTL, ROOT, Ended, Wrong, run

KILLED_AFTER, NEXT = "step-done send", "rebuild"
_KILLED = -9


def resumed(machines: Machines, snapshot: Snapshot, folder: Path, turn: int) -> float:
    """Seconds from the start of `drctl restore --resume` to the start of the first step that was
    not done. The controller was killed (SIGKILL) when the last host had the snapshot; the resume
    goes on to the end, and the restore is proven."""
    cluster = machines.begin()
    of = ("--inventory", machines.lab.inventory, "--state-dir", folder / "state")
    dying = [sys.executable, "-m", "tests.support.mortal", "restore", "--snapshot", snapshot.path]
    env = {"DRCTL_TEST_DIE": KILLED_AFTER}
    log = folder / f"resume-{turn:02d}.log"
    run([*dying, *of, "--replace-healthy", "--yes"], log, env=env, cwd=ROOT, status=_KILLED)
    began = time.time()
    run([DRCTL, "restore", "--resume", *of, "--yes"], log)
    machines.prove(snapshot, cluster, turn)
    shown = json.loads(run([DRCTL, "runs", "show", *of, "--output", "json"], log).out)
    starts = [
        datetime.fromisoformat(step["started"]).timestamp()
        for step in shown["steps"]
        if step["id"] == NEXT and step["started"]
    ]
    if not starts or min(starts) < began:
        raise Wrong(f"the resume did not begin with {NEXT}: {starts}, resumed at {began}")
    return min(starts) - began


def looked(machines: Machines, folder: Path) -> dict[str, Ended]:
    """`drctl --version`, and `drctl status` of the machines."""
    status = [DRCTL, "status", "--inventory", machines.lab.inventory]
    return {
        "drctl --version": run([DRCTL, "--version"], folder / "version.log"),
        "drctl status": run(status, folder / "status.log"),
    }
