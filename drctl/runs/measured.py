"""What earlier runs on this machine measured of a cluster."""

from __future__ import annotations

from drctl.errors import DrctlError
from drctl.journal.outage import outage
from drctl.journal.runstate import fold
from drctl.journal.store import Store

LOOKED_AT = 20  # runs, the latest ones
TOLD = 3


def outages(store: Store, cluster: str, runbook: str) -> dict[str, float]:
    """Run -> seconds of outage, of this cluster's latest finished runs of that runbook, the latest
    first. Runs that cannot be read tell nothing."""
    found: dict[str, float] = {}
    for pair in reversed(store.runs(cluster)[-LOOKED_AT:]):
        try:
            state = fold(store.read(*pair).events)
        except DrctlError:
            continue
        took = outage(state) if state.state == "done" and state.runbook == runbook else None
        if took is not None and len(found) < TOLD:
            found[state.run] = took
    return found
