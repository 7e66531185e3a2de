"""What the operator is asked, and what counts as a yes. Pure: no terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drctl.journal.abandoned import abandoned
from drctl.journal.diagnosis import restored_places
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan, PlannedStep
from drctl.ui.documents import human_bytes, restore_summary

KEPT = "kept"  # the step of the clean runbook that asks what there is


def question(plan: Plan, step: PlannedStep, state: RunState) -> tuple[str, str]:
    """(the text to show, the words to type for a yes). The cluster's name; where that would throw
    away what was written, other words, so that no habit types them."""
    summary = SUMMARIES.get(step.text)
    text = summary(plan, state) if summary else step.text
    loses = step.text == "rollback-summary" and state.values.get("would_be_lost")
    return text, f"lose {plan.cluster}" if loses else plan.cluster


def rollback_summary(plan: Plan, state: RunState) -> str:
    """What the operator sees before a rollback."""
    taken_back = [f"  {s.title} ({', '.join(s.hosts)})" for s in plan.steps if s.undoes]
    gone = abandoned(state.plan.get("facts", {}))
    lines = [f"run {state.run} of {plan.cluster} will be rolled back:", *taken_back, *gone]
    lines += [f"LEFT OUT   {host} stays as it is" for host in plan.facts.get("without", ())]
    if lost := state.values.get("would_be_lost"):
        first, *more = lost["said"]
        lines += [f"LOSES      {first}", *(f"           {line}" for line in more)]
        lines += [
            f"keeps      restored data: {where}" for where in restored_places(plan.facts, state)
        ]
    return "\n".join(lines)


def clean_summary(plan: Plan, state: RunState) -> str:
    """What the operator sees before old data is removed for good."""
    kept: Mapping[str, Mapping[str, int]] = state.values["kept"]
    sizes = [size for places in kept.values() for size in places.values()]
    later = plan.facts.get("followed_by")
    lines = [
        f"run {state.run} of {plan.cluster} finished {state.finished[:19]}; kept old data:",
        *(
            f"  {host}:{place}  {human_bytes(size)}"
            for host, places in kept.items()
            for place, size in places.items()
        ),
        *(f"  {host}: UNREACHABLE, nothing will be removed there" for host in _silent(state)),
        f"removes    {human_bytes(sum(sizes))} in total, for good",
        f"rollback   of the later run {later} stays possible: it does not need this data"
        if later
        else f"rollback   of run {state.run} will no longer be possible: this is the only copy of "
        "the old data",
    ]
    return "\n".join(lines)


def _silent(state: RunState) -> list[str]:
    hosts = state.hosts.items()
    return [host for (step, host), known in hosts if step == KEPT and known.state == "unreachable"]


SUMMARIES: Mapping[str, Callable[[Plan, RunState], str]] = {
    "restore-summary": restore_summary,
    "rollback-summary": rollback_summary,
    "clean-summary": clean_summary,
}
