"""What an error says beyond itself: how the run has left the cluster, and what to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from drctl.errors import DrctlError, LockHeld, Unreachable, UsageError
from drctl.journal.chain import Journal
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import RunState, fold


@contextmanager
def explained(journal: Journal) -> Iterator[Journal]:
    """A run's journal, closed afterwards. What is raised inside says how the run has left the
    cluster."""
    with closing(journal):
        try:
            yield journal
        except DrctlError as error:
            say_what_to_type(error, fold(journal.events))
            raise


def say_what_to_type(error: DrctlError, state: RunState) -> None:
    """Every error of a run ends with the state of the cluster, what is safe to do and the commands
    that lead out of it. Not where another operator holds the lock: they are the ones to say."""
    if isinstance(error, LockHeld | UsageError):
        return
    if type(error) is Unreachable and not state.changed and error.host in _members(state):
        way = f"or, if that machine is lost, restore without it: --abandon {error.host}"
        error.hint = f"{error.hint}; {way}"
    found = situation(state)
    error.situation = found.document()
    error.hint = "\n".join([*([error.hint] if error.hint else []), *found.lines()])


def _members(state: RunState) -> Mapping[str, Any]:
    members: Mapping[str, Any] = state.plan.get("facts", {}).get("members", {})
    return members
