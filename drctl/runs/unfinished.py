"""Whether a run of a cluster is unfinished, by what its nodes and this machine's journals say: what
is saved meanwhile may be half of one cluster, or one that nobody uses."""

from __future__ import annotations

from collections.abc import Mapping

from drctl.errors import DrctlError
from drctl.inventory import Inventory
from drctl.runs.controller import Controller


def unfinished_runs(
    controller: Controller, inventory: Inventory, holders: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """({run: what tells of it}, warnings). `holders` is as `etcd.whose` yields it. A lock that a
    run of this machine could not release at its end is a warning only."""
    found: dict[str, list[str]] = {}
    warnings: list[str] = []
    for host, holder in holders.items():
        line = f"{host}: locked by run {holder['run']} of {holder['who']} since {holder['since']}"
        if _is_over(controller, inventory, holder["run"]):
            warnings.append(f"{line}, which is over: the next restore releases it")
        else:
            found.setdefault(holder["run"], []).append(line)
    try:
        latest = controller.store.latest(inventory.cluster, changed=True, pass_over=lambda _: None)
    except DrctlError as error:  # the nodes' locks tell as well
        latest = None
        warnings.append(f"not known whether a run of this machine is unfinished: {error.message}")
    if latest and latest.unfinished:
        line = f"run {latest.run} is {latest.state}, by this machine's journal"
        found.setdefault(latest.run, []).append(line)
    return found, warnings


def _is_over(controller: Controller, inventory: Inventory, run: str) -> bool:
    """Whether this machine knows the run, and its end."""
    if (inventory.cluster, run) not in controller.store.runs(inventory.cluster):
        return False
    try:
        return not controller.store.state(inventory.cluster, run).unfinished
    except DrctlError:  # a damaged journal, or another version's: it proves no end
        return False
