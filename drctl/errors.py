"""Every way in which drctl says no, and the exit code that scripts may count on.

    DrctlError                      1   a bug, unless a subclass says otherwise
    ├── UsageError                  2   the command line cannot mean anything
    ├── InvalidInput                3   inventory, runbook or snapshot is not usable
    ├── Refused                     4   a check said no before anything was changed
    ├── StepFailed                  5   something was changed, then a step failed
    ├── Drifted                     6   something differs from what the run began with
    ├── LockHeld                    7   another run holds the lock
    ├── HostUnavailable             8   unreachable, refused us, or shows another host key
    │   ├── Unreachable                 no connection; nothing was sent
    │   ├── AuthRefused                 the host answered and did not let us in
    │   ├── HostKeyChanged              the host key is not the one in known_hosts
    │   └── ConnectionLost              sent, no answer: the outcome is UNKNOWN, never "failed"
    ├── NotProven                   9   verification failed after the start
    └── Aborted                    10   the operator ended it

A message says what happened and where, in lower case and without a full stop; the hint says what
to type next. Only `drctl.cli` turns an error into an exit status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class DrctlError(Exception):
    """A bug in drctl. Nothing more was done after it; keep the text and `drctl runs show`, and
    report it. A run that it ended goes on with a resume, or back with a rollback."""

    exit_code = 1  # this and `code`, a stable word for JSON, belong to the class
    code = "bug"

    def __init__(self, message: str, *, host: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.hint = hint
        self.situation: Mapping[str, Any] | None = None  # how a run left the cluster, as JSON data

    def __str__(self) -> str:
        return f"{self.host}: {self.message}" if self.host else self.message


class UsageError(DrctlError):
    """The command as typed cannot mean anything. Nothing was done: correct it and type it again."""

    exit_code = 2
    code = "usage"


@dataclass(frozen=True)
class Fault:
    """One mistake in a file: where it stands and what is wrong with it."""

    message: str
    file: str = ""
    line: int = 0  # 1-based; 0 where no line applies
    path: str = ""  # "hosts.etcd-1.address"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.path, self.message) if part)


class InvalidInput(DrctlError):
    """An input file that cannot be used; carries every mistake at once, each with file and line.
    Nothing was done: correct the file, or take another snapshot, and type the command again."""

    exit_code = 3
    code = "invalid"

    def __init__(
        self,
        message: str,
        *,
        faults: tuple[Fault, ...] = (),
        host: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__("\n".join([message, *(f"  {f}" for f in faults)]), host=host, hint=hint)
        self.faults = faults


class Refused(DrctlError):
    """A check said no, and this command changed nothing on any node. The message names what stands
    in the way. Mend that and type the command again; while a run is unfinished, go on with that
    one."""

    exit_code = 4
    code = "refused"


class OtherVersion(Refused):
    """A run of another drctl, whose journal this one does not read. Use the version that the
    message names for that run; others are not affected."""


class StepFailed(DrctlError):
    """A step failed, or its end was not seen, after something was changed. Nothing is lost: `now:`
    says how the cluster is. Mend the cause, then resume, or roll back."""

    exit_code = 5
    code = "step-failed"


class Drifted(DrctlError):
    """Something is not what it was when the run began: the message has the old and the new value of
    each field. Put it back, or accept it by name with --accept-drift. Nothing more was changed."""

    exit_code = 6
    code = "drifted"


def another_machine(host: str, was: str, now: str) -> Drifted:
    """The refusal of a host where not the run's own machine answers, by machine-id."""
    return Drifted(
        f"another machine answers here: machine-id was {was}, is {now}",
        host=host,
        hint=f"find out which machine this is; accept it by name: --accept-drift machine_id.{host}",
    )


class LockHeld(DrctlError):
    """Somebody else is at work on this cluster: the message says who, on which machine, since when.
    This command changed nothing. Talk to them; do not remove a lock by hand."""

    exit_code = 7
    code = "lock-held"


class HostUnavailable(DrctlError):
    """A host could not be reached as the inventory says, before anything was changed. Afterwards
    the same is a failed step (5), and the run goes on with a resume when the host answers."""

    exit_code = 8
    code = "host-unavailable"

    def __init__(self, message: str, *, host: str | None = None, hint: str | None = None) -> None:
        fallback = "see that the host is up, and reachable as the inventory says; then try again"
        super().__init__(message, host=host, hint=hint or fallback)


class Unreachable(HostUnavailable):
    """There was no connection: nothing was sent to that host."""

    code = "unreachable"


class AuthRefused(HostUnavailable):
    """The host answered and did not let us in, or not do what we must: see user, key and sudo."""

    code = "auth-refused"


class HostKeyChanged(HostUnavailable):
    """The host key is not the one in known_hosts: another machine, or a reinstalled one. Compare
    the fingerprint on its console before you trust it."""

    code = "host-key"


class ConnectionLost(HostUnavailable):
    """A command was sent and no answer came: the outcome is UNKNOWN, never "failed". What was begun
    on the node goes on there; a resume attaches to it, or looks before it does anything again."""

    code = "connection-lost"


class NotProven(DrctlError):
    """The data is in its place and etcd was started, but a proof is missing. It may only be slow.
    Look at what the message names, then resume: the proofs are asked for again. Or roll back."""

    exit_code = 9
    code = "not-proven"


class Aborted(DrctlError):
    """The operator ended the run, or did not agree to it. It ended at a safe point; resume or roll
    back, or do nothing where nothing was changed."""

    exit_code = 10
    code = "aborted"
