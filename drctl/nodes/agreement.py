"""What several nodes must say alike before it is believed: the manifests of one run, compared.

All nodes of a claim keep the same manifest, byte by byte, and a claim reaches all of them before
the act that it is for. So what most of them keep is what the controller wrote; where a controller
died within a claim, some are one claim ahead, and nothing was done yet with what those alone know.
One node of three cannot change what is believed of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from drctl.errors import LockHeld, Refused
from drctl.nodes.files import Manifest
from drctl.nodes.records import NodeRecord


def agreed_manifest(
    run: str, nodes: Mapping[str, NodeRecord], voters: Collection[str] = ()
) -> Manifest | None:
    """The newest manifest that most of the voters keep; None where none of them has one. Where
    there is no such majority: the oldest of them, with the values alone that most of them hold.

    `voters` are the hosts that no step may do without; others may have missed a claim, and count
    only where none of those answers. Raises Refused where the nodes tell of different runs.
    """
    held = {host: node.manifest for host, node in nodes.items() if node.manifest}
    counted = {host: one for host, one in held.items() if host in voters} or held
    if not counted:
        return None
    base, by_most = _base(counted)
    for host, other in held.items():
        if what := _contradiction(other, base):
            name, theirs, ours = what
            raise Refused(
                f"the nodes disagree about run {run}: its {name} is {theirs[:16]}… here, "
                f"{ours[:16]}… on {', '.join(sorted(h for h, m in held.items() if m == base))}",
                host=host,
                hint=f"compare {run}/manifest.json under each host's work_dir, then roll back "
                f"without the wrong one: drctl rollback {run} --inventory INVENTORY "
                f"--without {host} (if its journal is gone, first: drctl runs adopt {run} "
                f"--inventory INVENTORY --without {host})",
            )
    return base if by_most else base.model_copy(update={"values": _values_of_most(counted)})


def _base(counted: Mapping[str, Manifest]) -> tuple[Manifest, bool]:
    """The manifest to go by, and whether most keep it."""
    newest_first = sorted(counted.values(), key=lambda one: one.age, reverse=True)
    for one in newest_first:
        if 2 * sum(other == one for other in counted.values()) > len(counted):
            return one, True
    return newest_first[-1], False


def _values_of_most(counted: Mapping[str, Manifest]) -> dict[str, Any]:
    """Name by name, the values that most hold."""
    votes: Counter[tuple[str, str]] = Counter()
    values: dict[tuple[str, str], Any] = {}
    for one in counted.values():
        for name, value in one.values.items():
            values[name, repr(value)] = value
            votes[name, repr(value)] += 1
    return {
        name: values[name, text]
        for (name, text), count in votes.items()
        if 2 * count > len(counted)
    }


def _contradiction(one: Manifest, base: Manifest) -> tuple[str, str, str] | None:
    """(what, here, there) where the two cannot be of one run, however far each of them is."""
    older, newer = sorted((one, base), key=lambda each: each.age)
    same_plan = older.plan in newer.plans
    same_epoch = older.epoch == newer.epoch  # two controllers in one epoch cannot be
    same_moment = same_epoch and older.values_at == newer.values_at
    pairs = (
        ("snapshot", one.sha256, base.sha256),
        ("plan", one.plan, one.plan if same_plan else base.plan),
        ("journal", one.journal if same_epoch else "", base.journal if same_epoch else ""),
        ("cluster", one.cluster, base.cluster),
        ("start", one.started, base.started),
        ("content", _digest(one) if same_moment else "", _digest(base) if same_moment else ""),
    )
    return next(((what, here, there) for what, here, there in pairs if here != there), None)


def _digest(one: Manifest) -> str:
    return sha256(repr(one).encode()).hexdigest()


LEAP = 100
"""By how much a session's or an attempt's number may be ahead of what is known: a tail that was
lost, or a claim that reached one node alone, is a few. Beyond it one node could use the numbers up,
for all of them."""


def leaping(
    nodes: Mapping[str, NodeRecord], epoch: int, attempts: Mapping[tuple[str, str], int]
) -> dict[str, str]:
    """Host -> what is wrong, for those that tell of sessions or attempts which nobody can have had.
    `epoch` is the newest that is known, `attempts` those of each (step, host)."""
    found = {}
    for host, node in nodes.items():
        papers = (node.owner, node.manifest, *node.jobs)
        newest = max((paper.epoch for paper in papers if paper), default=0)
        if newest > epoch + LEAP:
            found[host] = f"it reports session {newest}; the newest known is {epoch}"
        for job in node.jobs:
            if job.attempt > attempts.get((job.step, host), 0) + LEAP:
                found[host] = f"it reports attempt {job.attempt} at {job.step}"
    return found


def newest_epoch(nodes: Mapping[str, NodeRecord]) -> int:
    """The largest session that any node has a manifest of; a claim may have reached it alone."""
    return max((node.manifest.epoch for node in nodes.values() if node.manifest), default=0)


def refuse_other_owners(run: str, nodes: Mapping[str, NodeRecord]) -> None:
    """Raises LockHeld where a node belongs to another run."""
    for host, node in nodes.items():
        if node.owner and node.owner.run != run:
            raise LockHeld(
                f"the node is locked by run {node.owner.run} of {node.owner.who} since "
                f"{node.owner.since}, not by {run}",
                host=host,
                hint="resume or roll back that run first; if no such run exists, leave the host "
                f"out: --without {host}",
            )


def sign_of_life(nodes: Mapping[str, NodeRecord]) -> float | None:
    """Seconds since the controller last left a trace on a node that its run still owns."""
    ages = [node.now - node.last for node in nodes.values() if node.owner and node.last]
    return max(0, min(ages)) if ages else None
