"""Nodes that did not answer when their run ended: still locked, and released by the next command on
this machine that changes nodes, which they would otherwise refuse."""

from __future__ import annotations

from contextlib import closing, suppress

from drctl.engine.claims import CLAIM_SECONDS
from drctl.engine.jobs import Jobs
from drctl.errors import HostUnavailable, Refused, StepFailed
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.runs.controller import Controller
from drctl.transport import Transport


def give_back(
    controller: Controller, inventory: Inventory, transport: Transport, *, but: str
) -> None:
    """Release what ended runs of this cluster could not; the run `but` is at work and does that
    itself. A node that still does not answer stays locked, and so does one that only an unreadable
    journal knows: later checks report it.
    """
    store = controller.store
    for cluster, run in store.runs(inventory.cluster):
        if run == but:
            continue
        with suppress(Refused):
            state = store.state(cluster, run)
            if state.left_over:
                _give_back(controller, inventory, transport, state)


def _give_back(
    controller: Controller, inventory: Inventory, transport: Transport, state: RunState
) -> None:
    records = {h: record for h, record in state.left_over.items() if h in inventory.hosts}
    with closing(controller.store.open(state.cluster, state.run)) as journal:
        jobs = Jobs(
            transport,
            run=state.run,
            epoch=state.epoch,
            who=controller.who,
            journal=state.journal,
            head=lambda: journal.head,
            work_dirs={host: inventory.hosts[host].work_dir for host in records},
            sleep=controller.sleep,
            clock=controller.clock,
        )
        for host, record in records.items():
            machine = state.values.get("machine_id", {}).get(host, "")
            with suppress(HostUnavailable, StepFailed):
                jobs.release(host, record, deadline=CLAIM_SECONDS, machine=machine)
                journal.append("given-back", host=host)
