"""A journal that lost its tail, or is rebuilt from nothing, learns from the nodes what it does not
know. What they keep is read before a session begins; nothing is changed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drctl.inventory import Inventory
from drctl.journal import Journal
from drctl.plan import Plan
from drctl.records import (
    NodeRecord,
    ask,
    learned,
    read_record,
    refuse_if_taken_over,
    unknown_jobs,
)
from drctl.runstate import RunState, fold
from drctl.transport import Transport

PlanOf = Callable[[str, RunState], Plan]
"""The plan of a direction ("undo", "clean"), given what is known of the run so far."""


def learn(
    transport: Transport, journal: Journal, forward: Plan, plan_of: PlanOf, *, parallel: int = 8
) -> dict[str, str]:
    """Ask the run's nodes and journal what they know beyond it; returns the silent hosts.

    Raises LockHeld where another journal of this run has gone on since, Refused where a record
    cannot be read or the nodes disagree. A host that is silent now is asked again at the next
    session; it cannot be acted on before.
    """
    run = fold(journal.events).run
    work_dirs = {host: forward.work_dirs[host] for host in forward.owns}
    texts, silent = ask(transport, work_dirs, "node/records", run, parallel=parallel)
    nodes = {host: read_record(host, run, text) for host, text in texts.items()}
    refuse_if_taken_over(fold(journal.events), nodes)
    take_over(journal, nodes, forward, plan_of)
    return silent


def began(transport: Transport, inventory: Inventory, run: str) -> bool:
    """Whether any node belongs to this run or has records of its jobs."""
    work_dirs = {name: inventory.hosts[name].work_dir for name in inventory.host_group("all")}
    texts, _ = ask(transport, work_dirs, "node/records", run)
    nodes = [read_record(host, run, text) for host, text in texts.items()]
    return any(node.jobs or node.owner.get("run") == run for node in nodes)


def take_over(
    journal: Journal, nodes: Mapping[str, NodeRecord], forward: Plan, plan_of: PlanOf
) -> None:
    """Journal what `nodes` know beyond the journal, direction after direction."""
    for direction in ("forward", "undo", "clean"):
        state = fold(journal.events)
        if direction == "forward":
            plan = forward
        elif state.direction == direction or unknown_jobs(state, direction, nodes):
            plan = plan_of(direction, state)
        else:
            continue
        for kind, body in list(learned(state, plan, direction, nodes)):
            journal.append(kind, **body)
