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
    """Base of all errors. `exit_code` and `code` (a stable word for JSON) belong to the class."""

    exit_code = 1
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
    """An input file that cannot be used; carries every mistake at once."""

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
    exit_code = 4
    code = "refused"


class StepFailed(DrctlError):
    exit_code = 5
    code = "step-failed"


class Drifted(DrctlError):
    exit_code = 6
    code = "drifted"


class LockHeld(DrctlError):
    exit_code = 7
    code = "lock-held"


class HostUnavailable(DrctlError):
    exit_code = 8
    code = "host-unavailable"

    def __init__(self, message: str, *, host: str | None = None, hint: str | None = None) -> None:
        fallback = "see that the host is up, and reachable as the inventory says; then try again"
        super().__init__(message, host=host, hint=hint or fallback)


class Unreachable(HostUnavailable):
    code = "unreachable"


class AuthRefused(HostUnavailable):
    code = "auth-refused"


class HostKeyChanged(HostUnavailable):
    code = "host-key"


class ConnectionLost(HostUnavailable):
    code = "connection-lost"


class NotProven(DrctlError):
    exit_code = 9
    code = "not-proven"


class Aborted(DrctlError):
    exit_code = 10
    code = "aborted"
