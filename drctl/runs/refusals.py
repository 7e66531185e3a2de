"""Why a run may not begin, resume, be rolled back or be cleaned, according to its journal."""

from __future__ import annotations

from drctl.errors import Refused, UsageError
from drctl.journal.runstate import RunState
from drctl.runs.explained import say_what_to_type


def refuse_if_unfinished(latest: RunState | None) -> None:
    """Raises Refused where the latest run that changed anything has not ended."""
    if latest and latest.unfinished:
        error = Refused(
            f"run {latest.run} of {latest.cluster} is not finished ({latest.state})",
            hint="resume it or roll it back before you start a new one",
        )
        say_what_to_type(error, latest)
        raise error


def refuse_unless_resumable(state: RunState) -> None:
    """Raises UsageError where nothing is left to do, Refused where a rollback has begun."""
    if not state.unfinished:
        raise UsageError(f"run {state.run} is {state.state}; there is nothing to resume")
    if state.direction == "undo":
        raise Refused(f"a rollback of run {state.run} has begun and is not finished")


def refuse_if_taken_back(state: RunState) -> None:
    """Raises UsageError where the run was rolled back on all its hosts."""
    if state.state == "rolled-back" and not state.left_out:
        raise UsageError(f"run {state.run} is rolled back already", hint="drctl runs list")


def refuse_unless_returnable(state: RunState) -> None:
    """Raises UsageError where there is nothing to roll back, Refused where the old data that a
    rollback needs was removed, even in part."""
    if not state.changed:
        raise UsageError(f"run {state.run} has changed nothing", hint="drctl runs list")
    if state.cleaned:
        raise Refused(
            f"run {state.run} cannot be rolled back: its old data was removed by `drctl clean`, "
            f"which began {state.cleaned[:19]}",
        )


def refuse_unless_cleanable(state: RunState) -> None:
    """Raises UsageError where the run keeps no old data, Refused where it still needs it."""
    if state.state == "rolled-back" or not state.changed:
        raise UsageError(f"run {state.run} keeps no old data: it is {state.state}")
    if state.unfinished:
        raise Refused(
            f"run {state.run} is not finished ({state.state}): a resume or a rollback needs its "
            "old data"
        )
