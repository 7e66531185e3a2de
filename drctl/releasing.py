"""Nodes that did not answer when their run ended: given back by the next run on this machine, which
they would turn away else."""

from __future__ import annotations

from contextlib import closing, suppress

from drctl.claims import CLAIM_SECONDS
from drctl.errors import HostUnavailable
from drctl.inventory import Inventory
from drctl.jobs import Jobs
from drctl.runstate import RunState
from drctl.store import Store
from drctl.transport import Transport


def give_back(store: Store, inventory: Inventory, transport: Transport, who: str) -> None:
    """Give back what runs of this cluster, from the latest that changed anything on, could not.

    A node that still does not answer stays as it is: the new run's own checks tell of it.
    """
    for cluster, run in reversed(store.runs(inventory.cluster)):
        state = store.state(cluster, run)
        if state.unreleased:
            _give_back(store, inventory, transport, who, state)
        if state.changed:
            return


def _give_back(
    store: Store, inventory: Inventory, transport: Transport, who: str, state: RunState
) -> None:
    records = {h: record for h, record in state.unreleased.items() if h in inventory.hosts}
    with closing(store.open(state.cluster, state.run)) as journal:
        jobs = Jobs(
            transport,
            run=state.run,
            epoch=state.epoch,
            who=who,
            journal=state.journal,
            work_dirs={host: inventory.hosts[host].work_dir for host in records},
        )
        for host, record in records.items():
            with suppress(HostUnavailable):
                jobs.release(host, record, deadline=CLAIM_SECONDS)
                journal.append("given-back", host=host)
