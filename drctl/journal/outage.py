"""How long a run kept services away. Pure."""

from __future__ import annotations

from datetime import datetime

from drctl.journal.runstate import RunState


def outage(state: RunState) -> float | None:
    """Seconds from the first stop of a service until the last of those was ready that the run
    starts; None where it stopped nothing, or not all is ready (yet).

    What a resume finds running is not counted a second time.
    """
    awaited = {
        (step["id"], host)
        for step in state.plan.get("steps", ())
        if step["want"] == "running" and not step["tolerate"]
        for host in step["tasks"]
    }
    if not state.first_stop or not awaited or awaited - {*state.ready}:
        return None
    last = max(datetime.fromisoformat(state.ready[place]) for place in awaited)
    return round((last - datetime.fromisoformat(state.first_stop)).total_seconds(), 3)
