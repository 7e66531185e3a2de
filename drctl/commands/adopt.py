"""Taking over a run whose controller's machine is gone: its journal is rebuilt from what the nodes
keep (`drctl.nodes.records`). No node is changed; the next session locks them with a newer epoch,
which fences the old controller off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drctl.errors import HostUnavailable, InvalidInput, LockHeld, Refused, UsageError
from drctl.etcd.snapshot import inspect_snapshot
from drctl.inventory import Inventory
from drctl.journal.chain import Journal, now
from drctl.journal.diagnosis import commands
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store
from drctl.nodes.agreement import (
    agreed_manifest,
    leaping,
    newest_epoch,
    refuse_other_owners,
    sign_of_life,
)
from drctl.nodes.catch_up import take_over
from drctl.nodes.comparison import compare, is_anothers
from drctl.nodes.files import Manifest
from drctl.nodes.history import History
from drctl.nodes.records import (
    Found,
    NodeRecord,
    ask,
    not_believed,
    read_nodes,
    read_owner,
    run_ids,
)
from drctl.plan.model import drift
from drctl.plan.runbook import load_runbook, shipped_runbooks
from drctl.runs.basis import Basis
from drctl.runs.beginning import begin_adopted
from drctl.runs.controller import Controller
from drctl.runs.drift import drifted
from drctl.runs.facts import prepare_facts_of_nodes
from drctl.runs.stray_copies import sweep
from drctl.runs.undo import plans_after
from drctl.transport import Transport
from drctl.ui.console import tell

LEFT_OUT = "left out, as requested"
LIVING_SECONDS = 60.0
"""A controller that left a trace on a node this recently may still be at work."""


@dataclass(frozen=True)
class Adopted:
    """What was found per node, which did not answer, which were not trusted, and what the rebuilt
    journal adds up to."""

    state: RunState
    nodes: Mapping[str, dict[str, Any]]
    silent: Mapping[str, str]
    unbelieved: Mapping[str, str]
    drift: Mapping[str, tuple[str, str]]


def adopt(
    controller: Controller,
    inventory: Inventory,
    run: str | None,
    *,
    snapshot: Path | None = None,
    runbook: str | None = None,
    gone: bool = False,
    without: Collection[str] = (),
) -> Adopted:
    """Rebuild the journal of `run`, by default of the run that holds the nodes' locks.

    `gone`: the operator says that the machine which controlled it is gone for good. `without`:
    hosts that are not asked, as one of them could block it.

    Raises Refused where there is no such run, where the nodes disagree or where it is known here;
    LockHeld where its controller may be alive; Drifted for another snapshot; InvalidInput where the
    run's runbook must be given.
    """
    work_dirs = _work_dirs(inventory, without)
    with controller.alone(inventory) as transport:
        chosen = run or _the_run(transport, work_dirs, controller.at_once(inventory))
        found = read_nodes(transport, work_dirs, chosen, parallel=controller.at_once(inventory))
        manifest = _manifest(inventory, chosen, found)
        found = found.but(
            leaping(found.nodes, manifest.epoch, {}), dict.fromkeys(without, LEFT_OUT)
        )
        nodes = found.nodes
        for line in sweep(transport, {host: work_dirs[host] for host in nodes}, remove=False):
            tell(line)
        _refuse_a_living_controller(chosen, nodes, manifest, gone)
        basis = _basis(manifest, snapshot, runbook)
        plan = basis.plan(inventory)
        histories = {host: node.history for host, node in nodes.items()}
        known = (inventory.cluster, chosen)
        with closing(_free_journal(controller.store, known, manifest, histories)) as journal:
            begin_adopted(
                journal,
                plan,
                manifest,
                runbook=str(Path(runbook).absolute()) if runbook else manifest.runbook,
                inventory=str(inventory.path),
                adopted=_origin(controller.who, manifest, found),
            )
            take_over(journal, nodes, plan, plans_after(basis.planner(inventory), plan))
            compare(journal, histories, found.silent)
            state = fold(journal.events)
    changed = drift(manifest.meaning, plan.meaning)
    return Adopted(state, state.adopted["nodes"], found.silent, found.unbelieved, changed)


def _work_dirs(inventory: Inventory, without: Collection[str]) -> dict[str, str]:
    hosts = inventory.host_group("all")
    if unknown := sorted({*without} - {*hosts}):
        raise UsageError(f"--without {unknown[0]}: not a host of this inventory")
    if not {*hosts} - {*without}:
        raise UsageError("--without: no host would be left", hint="give --without for fewer hosts")
    return {name: inventory.hosts[name].work_dir for name in hosts if name not in without}


def _origin(who: str, manifest: Manifest, found: Found) -> dict[str, Any]:
    """From what the journal is rebuilt: for it to keep."""
    nodes = found.nodes
    return {
        "by": who,
        "at": now().isoformat(timespec="seconds"),
        "journal": manifest.journal,
        "epoch": newest_epoch(nodes),
        "nodes": {host: describe(node) for host, node in nodes.items()},
        "lines": {host: node.history.last for host, node in nodes.items()},
        "silent": dict(found.silent),
        "unbelieved": dict(found.unbelieved),
    }


def _the_run(transport: Transport, work_dirs: Mapping[str, str], parallel: int) -> str:
    """The run that holds the nodes' locks; else the latest that most of them know."""
    heard = ask(transport, work_dirs, "node/runs", parallel=parallel)
    if not heard.texts:
        raise _nobody_answers({**heard.silent, **heard.failed})
    owners: dict[str, str] = {}
    known: Counter[str] = Counter()
    for host, text in heard.texts.items():
        known.update(run_ids(text))
        with suppress(ValueError):  # it is named when its records are read
            lines = [x.removeprefix("owner:") for x in text.splitlines() if x.startswith("owner:")]
            if owner := read_owner(lines):
                owners[host] = owner.run
    if len(set(owners.values())) > 1:
        found = ", ".join(f"{host}: {run}" for host, run in owners.items())
        raise Refused(
            f"the nodes disagree: they are locked by different runs ({found})",
            hint="finish one of them first, on the machine where it runs; or name the run you "
            "mean: drctl runs adopt RUN; leave out a node you do not trust: --without HOST",
        )
    if owners:
        return next(iter(owners.values()))
    if known:
        most = [run for run, count in known.items() if 2 * count > len(heard.texts)]
        return max(most or known)
    raise Refused(
        f"no run found: {', '.join(heard.texts)} have no records of any",
        hint="check `work_dir` in the inventory: the run may have used another one",
    )


def _nobody_answers(silent: Mapping[str, str]) -> HostUnavailable:
    why = [f"{host}: {reason}" for host, reason in silent.items()]
    return HostUnavailable("\n  ".join(["no host answers", *why]))


def _manifest(inventory: Inventory, run: str, found: Found) -> Manifest:
    if not found.nodes and found.unbelieved:
        raise not_believed(run, found.unbelieved, "")
    if not found.nodes:
        raise _nobody_answers(found.silent)
    refuse_other_owners(run, found.nodes)
    manifest = agreed_manifest(run, found.nodes, [member.host for member in inventory.members])
    if manifest is None:
        raise Refused(
            f"no run {run!r} found: {', '.join(found.nodes)} have no valid manifest of it",
            hint="compare the run's name and `work_dir` in the inventory with the nodes'",
        )
    if manifest.cluster != inventory.cluster:
        raise Refused(
            f"run {run} is of cluster {manifest.cluster}, but the inventory names "
            f"{inventory.cluster}",
            hint="use that cluster's inventory",
        )
    return manifest


def _refuse_a_living_controller(
    run: str, nodes: Mapping[str, NodeRecord], manifest: Manifest, gone: bool
) -> None:
    age = sign_of_life(nodes)
    if gone or age is None or age > LIVING_SECONDS:
        return
    raise LockHeld(
        f"run {run} may still be active: {manifest.who} worked on a node {age:.0f} s ago",
        hint="make sure it has stopped, and wait a minute; if that machine is gone for good: "
        "--gone",
    )


def _basis(manifest: Manifest, snapshot: Path | None, runbook: str | None) -> Basis:
    """As the nodes keep it; the local files are this machine's."""
    # A path on this machine that a node names is not opened: it decides what root does everywhere.
    if runbook is None and manifest.runbook not in shipped_runbooks():
        raise InvalidInput(
            f"the run used its own runbook: {manifest.runbook}",
            hint="give that file with --runbook",
        )
    return Basis(
        load_runbook(runbook or manifest.runbook),
        _snapshot(manifest, snapshot),
        manifest.options.model_dump(exclude_defaults=True),
        prepare_facts_of_nodes(manifest.prepare),
    )


def _snapshot(manifest: Manifest, given: Path | None) -> dict[str, Any]:
    """The snapshot's facts as the run knew them, at the path where it is on this machine."""
    facts: dict[str, Any] = dict(manifest.snapshot)
    if given is None:
        return facts
    found = inspect_snapshot(given)
    if found.sha256 != manifest.sha256:
        changed = {"snapshot.sha256": (manifest.sha256, found.sha256)}
        raise drifted(manifest.run, changed, "give the same file that the run restores")
    return {**facts, "path": str(given.absolute())}


def _free_journal(
    store: Store, known: tuple[str, str], manifest: Manifest, histories: Mapping[str, History]
) -> Journal:
    """A new journal of the run. One that no longer counts (damaged, empty, not the one that the
    nodes saw, or of a session before a takeover) is kept beside it; raises Refused
    where it does count."""
    cluster, run = known
    if known in store.runs(cluster):
        state = RunState()
        with suppress(Refused), closing(store.open(cluster, run)) as journal:
            if not is_anothers(journal, histories):
                state = fold(journal.events)
        ours = (state.journal, state.adopted.get("journal"))
        if state.state != "aborted" and state.journal and manifest.journal in ours:
            raise Refused(
                f"run {run} is known on this machine ({state.state})",
                hint=", or ".join(commands(state)),
            )
        store.set_aside(cluster, run)
        return store.open_new(cluster, run)
    return store.create(cluster, run)


def describe(node: NodeRecord) -> dict[str, Any]:
    """What one node keeps of the run, for people and scripts."""
    last = max(node.jobs, key=lambda job: (job.at, job.attempt), default=None)
    return {
        "owner": node.owner.model_dump(mode="json") if node.owner else None,
        "manifest": node.manifest is not None and node.manifest.epoch,
        "jobs": len(node.jobs),
        "last_job": last and f"{last.step}-{last.attempt}",
        "last_status": last and ("unknown" if last.status is None else last.status),
        "ended": node.ending and node.ending.state,
        "seconds_since": node.now - node.last if node.last else None,
    }
