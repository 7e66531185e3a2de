"""drctl whose process holds itself (SIGSTOP) at named moments of its run.

    DRCTL_DRILL_HOLD='["result swap node-2"]' python -m drctl.drill.pausepoint restore ...

Its starter does something to the hosts meanwhile, then continues it (SIGCONT) or kills it:
so a disaster strikes at one exact moment and not some time around it. A moment is a record that
has just reached the journal's disk ("intent swap", "result swap node-2", "step-done identity"), or
"effect swap": the job has ended on a node, and nothing of that is in the journal yet. Where the
moment names no host, the first host's counts. Moments are waited for in the order given.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import threading
from typing import Any

from drctl.engine.jobs import Jobs
from drctl.journal.chain import Journal
from drctl.journal.runstate import Event
from drctl.transport import CommandResult

VARIABLE = "DRCTL_DRILL_HOLD"
_moments: list[str] = json.loads(os.environ.get(VARIABLE, "[]"))
_lock = threading.Lock()  # two hosts may pass the moment at the same time
_append, _perform = Journal.append, Jobs.perform


def pass_by(kind: str, step: str, host: str) -> None:
    """Hold here if this is the moment."""
    with _lock:
        here = f"{kind} {step}".strip()
        if _moments and _moments[0] in (here, f"{here} {host}"):
            del _moments[0]
            os.kill(os.getpid(), signal.SIGSTOP)


def append(journal: Journal, kind: str, **body: Any) -> Event:
    """Journal.append, and the moment after it."""
    event = _append(journal, kind, **body)
    pass_by(kind, body.get("step", ""), body.get("host", ""))
    return event


def perform(jobs: Jobs, host: str, *args: Any, **kwargs: Any) -> CommandResult:
    """Jobs.perform, and the moment after it."""
    result = _perform(jobs, host, *args, **kwargs)
    pass_by("effect", kwargs["step"], host)
    return result


if __name__ == "__main__":
    Journal.append = append  # type: ignore[method-assign,assignment]  # the point of this program
    Jobs.perform = perform  # type: ignore[method-assign,assignment]  # likewise
    runpy.run_module("drctl", run_name="__main__")  # the product, whole and as it is
