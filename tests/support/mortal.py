"""drctl whose process kills itself, for real (SIGKILL), at one named moment.

    DRCTL_TEST_DIE="intent swap" python -m tests.support.mortal restore ...

A moment is a journal record that has just reached the disk ("intent swap", "result send",
"step-done identity"), or "effect swap": the job has ended on a node, and nothing of that is in
the journal yet; or "fetched": a file was fetched whole from a node. With DRCTL_TEST_MOMENTS=FILE
the moments of the run are written there instead.
DRCTL_TEST_AT="step-done send" with DRCTL_TEST_DO=COMMAND runs a command at a moment, once; the run
waits for it. DRCTL_TEST_TEMPLATES=FOLDER holds templates for an own runbook.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader

from drctl.cli import main
from drctl.engine.jobs import Jobs
from drctl.journal.chain import Journal
from drctl.journal.runstate import Event
from drctl.render import environment
from drctl.ssh import SshTransport
from drctl.transport import CommandResult

FATAL = os.environ.get("DRCTL_TEST_DIE", "")
MOMENTS = os.environ.get("DRCTL_TEST_MOMENTS", "")


AT = os.environ.get("DRCTL_TEST_AT", "")
_done: list[str] = []


def pass_by(moment: str) -> None:
    if moment == AT and not _done:
        _done.append(moment)
        subprocess.run(os.environ["DRCTL_TEST_DO"], shell=True, check=False)
    if MOMENTS:
        with Path(MOMENTS).open("a", encoding="utf-8") as file:
            file.write(moment + "\n")
    if moment == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)


_append, _perform, _download = Journal.append, Jobs.perform, SshTransport.download


def append(journal: Journal, kind: str, **body: Any) -> Event:
    event = _append(journal, kind, **body)
    pass_by(f"{kind} {body.get('step', '')}".strip())
    return event


def perform(jobs: Jobs, *args: Any, **kwargs: Any) -> CommandResult:
    result = _perform(jobs, *args, **kwargs)
    pass_by(f"effect {kwargs['step']}")
    return result


def download(transport: SshTransport, *args: Any, **kwargs: Any) -> None:
    _download(transport, *args, **kwargs)
    pass_by("fetched")


if __name__ == "__main__":
    if more := os.environ.get("DRCTL_TEST_TEMPLATES"):
        shipped = environment(None).loader
        assert shipped
        environment(None).loader = ChoiceLoader([shipped, FileSystemLoader(more)])
    SshTransport.download = download  # type: ignore[method-assign,assignment]  # likewise
    Journal.append = append  # type: ignore[method-assign,assignment]  # the point of this program
    Jobs.perform = perform  # type: ignore[method-assign,assignment]  # likewise
    main()
