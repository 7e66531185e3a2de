"""Every error that drctl raises, and the exit code that scripts can rely on.

    DrctlError                      1   a bug, unless a subclass says otherwise
    ├── UsageError                  2   invalid command line
    ├── InvalidInput                3   invalid inventory, runbook or snapshot
    ├── Refused                     4   refused by a check before anything was changed
    ├── StepFailed                  5   something was changed, then a step failed
    ├── Drifted                     6   something differs from what the run began with
    ├── LockHeld                    7   another run holds the lock
    ├── HostUnavailable             8   unreachable, refused the login, or has another host key
    │   ├── Unreachable                 no connection; nothing was sent
    │   ├── AuthRefused                 the host answered but refused the login
    │   ├── HostKeyChanged              the host key is not the one in known_hosts
    │   └── ConnectionLost              sent, no answer: the result is UNKNOWN, never "failed"
    ├── NotProven                   9   verification failed after the start
    ├── Aborted                    10   stopped by the operator
    └── NotWritten                 11   a result could not be written on this machine

A message says what happened and where, in lower case and without a full stop; the hint says what
to type next. Only `drctl.cli` turns an error into an exit status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class DrctlError(Exception):
    """A bug in drctl. Report it with this text and the output of `drctl runs show`; nothing more
    was done after it. Resume the run that it stopped, or roll it back."""

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
    """Invalid command line. Correct it and run it again; nothing was done."""

    exit_code = 2
    code = "usage"


@dataclass(frozen=True)
class Fault:
    """One error in a file: where it is and what is wrong."""

    message: str
    file: str = ""
    line: int = 0  # 1-based; 0 where no line applies
    path: str = ""  # "hosts.etcd-1.address"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.path, self.message) if part)


class InvalidInput(DrctlError):
    """Invalid input file; lists every error at once, each with file and line. Fix the file, or use
    another snapshot, and run the command again; nothing was done."""

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
    """Refused by a check; this command changed nothing on any node. Fix what the message names and
    run the command again; if a run is unfinished, resume that one or roll it back."""

    exit_code = 4
    code = "refused"


class OtherVersion(Refused):
    """A run of another drctl version, whose journal this one cannot read. Use the version that the
    message names for that run; other runs are not affected."""


class StepFailed(DrctlError):
    """A step failed, or its result is unknown, after something was changed. `now:` says how the
    cluster is; no old data is lost. Fix the cause, then resume or roll back."""

    exit_code = 5
    code = "step-failed"


class Drifted(DrctlError):
    """Drift: something changed since the run began. The message shows the old and the new value of
    each field. Put it back, or accept it by name with --accept-drift. Nothing more was changed."""

    exit_code = 6
    code = "drifted"


def another_machine(host: str, was: str, now: str) -> Drifted:
    """The refusal of a host where another machine answers than the run's, by machine-id."""
    return Drifted(
        f"another machine answers here: machine-id was {was}, is {now}",
        host=host,
        hint=f"find out which machine this is; to accept it: --accept-drift machine_id.{host}",
    )


class LockHeld(DrctlError):
    """Another run holds the lock on this cluster: the message says whose, on which machine, since
    when. Talk to them, and do not remove a lock by hand. This command changed nothing."""

    exit_code = 7
    code = "lock-held"


class HostUnavailable(DrctlError):
    """A host could not be reached as the inventory says, before anything was changed. After a
    change this is a failed step (5): resume when the host answers."""

    exit_code = 8
    code = "host-unavailable"

    def __init__(self, message: str, *, host: str | None = None, hint: str | None = None) -> None:
        fallback = "make sure the host is up and reachable as the inventory says, then try again"
        super().__init__(message, host=host, hint=hint or fallback)


class Unreachable(HostUnavailable):
    """No connection: nothing was sent to that host."""

    code = "unreachable"


class AuthRefused(HostUnavailable):
    """The host refused the login or a command: check user, key and sudo."""

    code = "auth-refused"


class HostKeyChanged(HostUnavailable):
    """The host key is not the one in known_hosts: another machine, or a reinstalled one. Compare
    the fingerprint on its console before you trust it."""

    code = "host-key"


class ConnectionLost(HostUnavailable):
    """A command was sent and no answer came: the result is UNKNOWN, never "failed". A job started
    on the node keeps running; resume attaches to it, or checks before it repeats anything."""

    code = "connection-lost"


class NotProven(DrctlError):
    """The data is in place and etcd was started, but verification failed. It may only be slow.
    Check what the message names, then resume (it verifies again) or roll back."""

    exit_code = 9
    code = "not-proven"


class Aborted(DrctlError):
    """The operator stopped the run at a safe point, or did not confirm it. Resume or roll back; if
    nothing was changed, nothing needs doing."""

    exit_code = 10
    code = "aborted"


class NotWritten(DrctlError):
    """A result (a document, a file, a backup) could not be written on this machine: its disk is
    full, for example. Make room or write it elsewhere, then run the command again; what a run did
    stands in `drctl runs show`. If something else went wrong too, the exit code is that one's."""

    exit_code = 11
    code = "not-written"
