"""Taking over a run whose controller's machine is gone: its journal is rebuilt from what the nodes
keep (`drctl.records`). No node is changed; the next session claims them with a newer epoch, which
fences the old controller off."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drctl.app import App, operator
from drctl.errors import HostUnavailable, InvalidInput, LockHeld, Refused
from drctl.etcd.snapshot import inspect_snapshot
from drctl.inventory import Inventory, load_inventory
from drctl.jobs import fields
from drctl.journal import Journal, now
from drctl.learning import take_over
from drctl.plan import Plan, drift
from drctl.records import (
    NodeRecord,
    ask,
    newest_manifest,
    read_record,
    refuse_other_owners,
    sign_of_life,
)
from drctl.runbook import load_runbook
from drctl.rundata import begin_adopted, drifted
from drctl.runstate import RunState, fold
from drctl.transport import Transport

LIVING_SECONDS = 60.0
"""A controller that left a trace on a node so short a time ago may still be at work."""


@dataclass(frozen=True)
class Adopted:
    """What was found per node, who did not answer, and what the rebuilt journal adds up to."""

    state: RunState
    nodes: Mapping[str, dict[str, Any]]
    silent: Mapping[str, str]
    drift: Mapping[str, tuple[str, str]]


def adopt(
    app: App,
    inventory_path: Path,
    run: str | None,
    *,
    snapshot: Path | None = None,
    runbook: str | None = None,
    gone: bool = False,
) -> Adopted:
    """Rebuild the journal of `run`, by default of the run that the nodes belong to.

    `gone`: the operator says that the machine which controlled it is gone for good. Raises Refused
    where there is no such run, where the nodes disagree or where it is known here; LockHeld where
    its controller may be alive; Drifted for another snapshot.
    """
    inventory = load_inventory(inventory_path)
    hosts = inventory.host_group("all")
    work_dirs = {name: inventory.hosts[name].work_dir for name in hosts}
    with (
        app.store.lock(inventory.cluster, operator()),
        closing(app.transport(inventory)) as transport,
    ):
        chosen = run or _the_run(transport, work_dirs, app.parallel)
        texts, silent = ask(transport, work_dirs, "node/records", chosen, parallel=app.parallel)
        if not texts:
            why = [f"{host}: {reason}" for host, reason in silent.items()]
            raise HostUnavailable("\n  ".join(["no host answers", *why]))
        nodes = {host: read_record(host, chosen, text) for host, text in texts.items()}
        manifest = _manifest(inventory, chosen, nodes)
        _refuse_a_living_controller(chosen, nodes, manifest, gone)
        facts = _snapshot(manifest, snapshot)
        plan = _plan(app, inventory, manifest, facts, runbook)
        summary = {host: describe(node) for host, node in nodes.items()}
        with closing(_free_journal(app, inventory, chosen, manifest)) as journal:
            begin_adopted(
                journal,
                plan,
                manifest,
                runbook=str(Path(runbook).absolute()) if runbook else manifest["runbook"],
                inventory=str(inventory.path),
                adopted={
                    "by": operator(),
                    "at": now().isoformat(timespec="seconds"),
                    "journal": manifest["journal"],
                    "epoch": manifest["epoch"],
                    "nodes": summary,
                    "silent": silent,
                },
            )
            take_over(journal, nodes, plan, app.plan_of(inventory, plan))
            state = fold(journal.events)
    return Adopted(state, summary, silent, drift(manifest["meaning"], plan.meaning))


def _the_run(transport: Transport, work_dirs: Mapping[str, str], parallel: int) -> str:
    """The run that the nodes belong to; else the latest that they have a manifest of."""
    texts, silent = ask(transport, work_dirs, "node/runs", parallel=parallel)
    owners: dict[str, str] = {}
    known: set[str] = set()
    for host, text in texts.items():
        lines = text.splitlines()
        known |= {line.removeprefix("run:") for line in lines if line.startswith("run:")}
        owner = fields("\n".join(x.removeprefix("owner:") for x in lines if x.startswith("owner:")))
        if "run" in owner:
            owners[host] = owner["run"]
    if len(set(owners.values())) > 1:
        found = ", ".join(f"{host}: {run}" for host, run in owners.items())
        raise Refused(
            f"the nodes disagree: they belong to different runs ({found})",
            hint="one of them must end first, on the machine where it runs",
        )
    if owners:
        return next(iter(owners.values()))
    if known:
        return max(known)
    if not texts:
        why = [f"{host}: {reason}" for host, reason in silent.items()]
        raise HostUnavailable("\n  ".join(["no host answers", *why]))
    raise Refused(
        f"no run found: {', '.join(texts)} have no records of any",
        hint="compare `work_dir` in the inventory with the one that the run was made with",
    )


def _manifest(inventory: Inventory, run: str, nodes: Mapping[str, NodeRecord]) -> Mapping[str, Any]:
    refuse_other_owners(run, nodes)
    manifest = newest_manifest(run, nodes)
    if manifest is None:
        raise Refused(
            f"no run {run!r} found: {', '.join(nodes)} have no usable manifest of it",
            hint="compare the run's name and `work_dir` in the inventory with the nodes'",
        )
    if manifest["cluster"] != inventory.cluster:
        raise Refused(
            f"run {run} is of the cluster {manifest['cluster']}, the inventory names "
            f"{inventory.cluster}",
            hint="use that cluster's inventory",
        )
    return manifest


def _refuse_a_living_controller(
    run: str, nodes: Mapping[str, NodeRecord], manifest: Mapping[str, Any], gone: bool
) -> None:
    age = sign_of_life(nodes)
    if gone or age is None or age > LIVING_SECONDS:
        return
    raise LockHeld(
        f"run {run} may be at work: {manifest['who']} left a trace on a node {age:.0f} s ago",
        hint="see that it ended, and wait a minute; or, if that machine is gone for good, say so: "
        "--gone",
    )


def _snapshot(manifest: Mapping[str, Any], given: Path | None) -> dict[str, Any] | None:
    """The snapshot's facts as the run knew them, at the path where it is on this machine."""
    facts = dict(manifest["snapshot"])
    if given is None:
        return facts or None
    found = inspect_snapshot(given)
    if found.sha256 != facts.get("sha256"):
        changed = {"snapshot.sha256": (str(facts.get("sha256")), found.sha256)}
        raise drifted(manifest["run"], changed, "give the very file that the run restores")
    return {**facts, "path": str(given.absolute())}


def _plan(
    app: App,
    inventory: Inventory,
    manifest: Mapping[str, Any],
    facts: dict[str, Any] | None,
    runbook: str | None,
) -> Plan:
    try:
        book = load_runbook(runbook or manifest["runbook"])
    except InvalidInput as error:
        if runbook is None:
            error.hint = "the run used a runbook of its own: give that file with --runbook"
        raise
    return app.plan(
        inventory,
        book,
        snapshot=facts,
        options=manifest["options"],
        prepare=manifest.get("prepare", {}),
    )


def _free_journal(app: App, inventory: Inventory, run: str, manifest: Mapping[str, Any]) -> Journal:
    """A new journal of the run. One that does not count any more (damaged, empty, or of a session
    before somebody took over) is kept beside it; raises Refused where it does count."""
    if (inventory.cluster, run) in app.store.runs(inventory.cluster):
        try:
            state = app.store.state(inventory.cluster, run)
        except Refused:
            state = RunState()
        ours = (state.journal, state.adopted.get("journal"))
        if state.state != "aborted" and state.journal and manifest["journal"] in ours:
            raise Refused(
                f"run {run} is known on this machine ({state.state})",
                hint=f"drctl restore --resume {run} --inventory {inventory.path}, or "
                f"drctl rollback {run} --inventory {inventory.path}",
            )
        app.store.set_aside(inventory.cluster, run)
        return app.store.open_new(inventory.cluster, run)
    return app.store.create(inventory.cluster, run)


def describe(node: NodeRecord) -> dict[str, Any]:
    """What one node keeps of the run, for people and scripts."""
    last = max(node.jobs, key=lambda job: (job.at, job.attempt), default=None)
    return {
        "owner": dict(node.owner) or None,
        "manifest": node.manifest is not None and int(node.manifest.get("epoch", 0)),
        "jobs": len(node.jobs),
        "last_job": last and f"{last.step}-{last.attempt}",
        "last_status": last and ("unknown" if last.status is None else last.status),
        "ended": node.record and node.record.get("state"),
        "seconds_since": node.now - node.last if node.last else None,
    }
