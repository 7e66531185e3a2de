"""The first line of a report: how it ended, in words that hold for those who read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from drctl.journal.diagnosis import exchanges, situation
from drctl.journal.runstate import RunState

Tone = Literal["good", "warn", "bad", "neutral"]


def verdict(state: RunState, *, problem: str, holder: str) -> dict[str, str]:
    """`word` for scripts, `title` and `detail` for people, `tone` for the eye.

    `problem` says what is wrong with the journal ("" = whole), `holder` who is working on this
    cluster right now ("" = no one).
    """
    if problem:
        return _words(
            "damaged",
            "Not proven: the journal cannot be read to its end",
            f"{problem}. What follows is what the events before that prove, and no more",
            "bad",
        )
    if not state.run:
        return _words("empty", "Nothing was started", "the journal holds no run", "neutral")
    return _ENDS[state.state](state, holder)


def _words(word: str, title: str, detail: str, tone: Tone) -> dict[str, str]:
    return {"word": word, "title": title, "detail": detail, "tone": tone}


def _done(state: RunState, _holder: str) -> dict[str, str]:
    missed = ", ".join(state.unreached)
    but = f", except {missed}, unreachable" if missed else ""
    if situation(state).word == "done":
        detail = f"every check of the runbook held{but}"
        return _words("done", "Restored and verified", detail, "warn" if missed else "good")
    title = f"Done: {state.runbook}"
    return _words("done", title, f"every step ended{but}", "warn" if missed else "good")


def _rolled_back(state: RunState, _holder: str) -> dict[str, str]:
    but = f", except on {', '.join(state.left_out)}, which was left out" if state.left_out else ""
    detail = f"what the run had changed was undone, last step first, and checked{but}"
    return _words("rolled-back", "Rolled back", detail, "warn")


def _failed(state: RunState, _holder: str) -> dict[str, str]:
    error = state.error or {}
    if not state.changed:
        return _words("refused", "Refused: nothing was changed", _message(error), "bad")
    if error.get("code") == "not-proven":
        title = "Restored, and not verified" if exchanges(state) else "Not verified"
        return _words("not-proven", title, _message(error), "bad")
    return _words("failed", "Failed after something was changed", _message(error), "bad")


def _aborted(state: RunState, _holder: str) -> dict[str, str]:
    if not state.changed:
        return _words("aborted", "Stopped by the operator: nothing was changed", "", "neutral")
    return _words("aborted", "Stopped by the operator midway", _message(state.error or {}), "bad")


def _running(_state: RunState, holder: str) -> dict[str, str]:
    if holder:
        detail = f"as of its last event; {holder} is working on this cluster"
        return _words("running", "Still running", detail, "neutral")
    return _words(
        "cut-off",
        "Not finished: its controller ended abruptly",
        "jobs on the nodes may have kept running; a resume checks them first",
        "bad",
    )


def _message(error: Mapping[str, Any]) -> str:
    where = f"{error['host']}: " if error.get("host") else ""
    return where + str(error.get("message", "no reason was journalled"))


_ENDS = {
    "done": _done,
    "rolled-back": _rolled_back,
    "failed": _failed,
    "aborted": _aborted,
    "running": _running,
}
