"""The data that a run begins with or leaves on its nodes. No connection here."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drctl import __version__
from drctl.errors import (
    DrctlError,
    Drifted,
    InvalidInput,
    LockHeld,
    Refused,
    Unreachable,
    UsageError,
)
from drctl.etcd.identity import predict
from drctl.etcd.snapshot import inspect_snapshot
from drctl.etcd.values import SHOWN
from drctl.inventory import Inventory
from drctl.journal.chain import Journal, now
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import FORMAT, RunState
from drctl.nodes.comparison import ABOUT_A_HOST
from drctl.nodes.files import Manifest
from drctl.plan.model import Plan, drift
from drctl.plan.planner import Planner
from drctl.plan.prepare import installation
from drctl.plan.runbook import Runbook
from drctl.ui.documents import kept_at


def snapshot_facts(path: Path) -> dict[str, Any]:
    """What judges and the confirmation know of the snapshot; raises InvalidInput (exit 3)."""
    snapshot = inspect_snapshot(path.absolute())
    plain: dict[str, Any] = json.loads(json.dumps(snapshot.as_facts(time.time())))
    return plain


def tool_facts(inventory: Inventory) -> dict[str, Any]:
    """The programs that are sent to nodes, each with its digest; raises InvalidInput (exit 3)."""
    paths = {member.tools.upload for member in inventory.members} - {None}
    sent = {}
    for path in paths:
        try:
            with Path(str(path)).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read here: {error.strerror}",
                hint=f"mend etcd.etcdutl in {inventory.path}",
            ) from error
        sent["etcdutl"] = {"path": str(path), "sha256": digest}
    return {"tools": sent} if sent else {}


def planner(
    inventory: Inventory,
    snapshot: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    prepare: Mapping[str, Any],
    judges: Iterable[str],
) -> Planner:
    """Makes plans of what is known here before a run."""
    facts = {"snapshot": snapshot, "prepare": prepare}
    return Planner(
        inventory=inventory.without(options.get("abandon", ())),
        facts={
            **{name: dict(known) for name, known in facts.items() if known},
            **tool_facts(inventory),
        },
        options=options,
        source=snapshot["path"] if snapshot else None,
        judges=frozenset(judges),
    )


def prepare_facts(inventory: Inventory, book: Runbook) -> dict[str, Any]:
    """What is to be installed, where the runbook and the inventory speak of it; else {}. Raises
    InvalidInput where the local files are no good (exit 3)."""
    return installation(inventory) if book.prepares else {}


def prepare_facts_again(inventory: Inventory, book: Runbook, state: RunState) -> dict[str, Any]:
    """The same for an unfinished run. Files that were installed everywhere may be gone or expired
    by now: then they are what they were."""
    recorded: dict[str, Any] = state.plan["facts"].get("prepare", {})
    installing = [s["id"] for s in state.plan["steps"] if s["role"] == "install"]
    try:
        return prepare_facts(inventory, book)
    except InvalidInput:
        if recorded and all(step in state.steps_done for step in installing):
            return recorded
        raise


def drifted(run: str, changed: Mapping[str, tuple[str, str]], hint: str) -> Drifted:
    """The refusal that names every field with its old and its new value."""
    lines = [f"{name}: was {then!r}, is {is_!r}" for name, (then, is_) in changed.items()]
    return Drifted("\n  ".join([f"since run {run} began, this changed:", *lines]), hint=hint)


def refuse_if_unfinished(latest: RunState | None) -> None:
    """Raises Refused where the latest run that changed anything has not ended."""
    if latest and latest.unfinished:
        error = Refused(
            f"run {latest.run} of {latest.cluster} is not finished ({latest.state})",
            hint="go on with it or take it back before a new one begins",
        )
        say_what_to_type(error, latest)
        raise error


def refuse_unless_returnable(state: RunState) -> None:
    """Raises UsageError where there is nothing to take back, Refused where the old data that a
    rollback needs was removed, be it in part."""
    if not state.changed:
        raise UsageError(f"run {state.run} has changed nothing", hint="drctl runs list")
    if state.cleaned:
        raise Refused(
            f"run {state.run} cannot be taken back: its old data was removed by `drctl clean`, "
            f"which began {state.cleaned[:19]}",
        )


def refuse_unless_resumable(state: RunState) -> None:
    """Raises UsageError where nothing is left to do, Refused where the run is being taken back."""
    if not state.unfinished:
        raise UsageError(f"run {state.run} is {state.state}; there is nothing to resume")
    if state.direction == "undo":
        raise Refused(f"run {state.run} is being taken back")


def accept_or_refuse(
    journal: Journal, state: RunState, plan: Plan, accepted: tuple[str, ...]
) -> None:
    """Raises Drifted where `plan` no longer means what the run began with, and the operator did
    not accept just that; what was accepted is journalled."""
    changed = drift(state.plan["meaning"], plan.meaning)
    refused = {name: pair for name, pair in changed.items() if name not in accepted}
    if refused:
        accept = " ".join(f"--accept-drift {name}" for name in refused)
        raise drifted(state.run, refused, f"put it back, or accept it by name: {accept}")
    unknown = [f for f in accepted if f not in changed and not f.startswith(ABOUT_A_HOST)]
    if unknown:
        raise UsageError(f"nothing to accept: {', '.join(unknown)} did not change")
    if changed:
        fields = {name: list(pair) for name, pair in changed.items()}
        journal.append("drift-accepted", fields=fields, meaning=plan.meaning)


def snapshot_now(state: RunState, given: Path | None) -> dict[str, Any]:
    """The snapshot's digest as it is now; a file already sent everywhere may be gone."""
    recorded = state.plan["facts"]["snapshot"]["path"]
    path = given or Path(recorded)
    sent = sending_steps(state.plan, recorded)
    if not path.exists() and given is None and all(step in state.steps_done for step in sent):
        return {}
    found = inspect_snapshot(path)
    return {"path": str(path.absolute()), "sha256": found.sha256}


def say_what_to_type(error: DrctlError, state: RunState) -> None:
    """Every error of a run ends with the state of the cluster, what is safe to do and the commands
    that lead out of it. Not where another operator holds the lock: it is theirs to say."""
    if isinstance(error, LockHeld | UsageError):
        return
    if type(error) is Unreachable and not state.changed and error.host in _members(state):
        way = f"or, if that machine is lost, go on without it: --abandon {error.host}"
        error.hint = f"{error.hint}; {way}"
    found = situation(state)
    error.situation = found.document()
    error.hint = "\n".join([*([error.hint] if error.hint else []), *found.lines()])


def _members(state: RunState) -> Mapping[str, Any]:
    members: Mapping[str, Any] = state.plan.get("facts", {}).get("members", {})
    return members


@contextmanager
def explained(state: Callable[[], RunState]) -> Iterator[None]:
    """What is raised inside says how the run has left the cluster."""
    try:
        yield
    except DrctlError as error:
        say_what_to_type(error, state())
        raise


def new_run_id() -> str:
    """When the run began, to the millisecond, so that ids sort as the runs began; and a bit of
    chance against another machine's."""
    at = now()
    return f"{at:%Y%m%d-%H%M%S}-{at.microsecond // 1000:03x}{secrets.token_hex(2)[:3]}"


def sending_steps(recorded: Mapping[str, Any], path: str) -> list[str]:
    """The steps of a journalled plan that send the local file. (`source`: an older drctl's.)"""
    return [
        step["id"]
        for step in recorded["steps"]
        if any(
            path in (task.get("source"), *task.get("sources", {}).values())
            for task in step["tasks"].values()
        )
    ]


def begin(journal: Journal, plan: Plan, *, run: str, runbook: str, inventory: str) -> None:
    """The first event of a run: the whole plan and the new values, in one record, so that no run
    exists without its token."""
    journal.append(
        "run-started",
        run=run,
        cluster=plan.cluster,
        runbook=runbook,
        inventory=inventory,
        drctl=__version__,
        format=FORMAT,
        journal_id=secrets.token_hex(8),
        plan=plan.record(),
        values=new_values(plan, run),
    )


def begin_adopted(
    journal: Journal,
    plan: Plan,
    found: Manifest,
    *,
    runbook: str,
    inventory: str,
    adopted: Any,
) -> None:
    """The first event of a journal that is rebuilt from the manifest `found` on the nodes."""
    meant = {**plan.record(), "meaning": found.meaning, "digest": found.plan}
    journal.append(
        "run-started",
        run=found.run,
        cluster=found.cluster,
        runbook=runbook,
        inventory=inventory,
        drctl=__version__,
        format=FORMAT,
        journal_id=secrets.token_hex(8),
        plan=meant,
        values=found.values,
        started=found.started,
        digests=found.plans[:-1],
        adopted=adopted,
    )


def without_sources(prepare: Mapping[str, Any]) -> dict[str, Any]:
    """What is installed where, as nodes tell it: without the local files that they name. What is
    sent is read from this machine's own inventory."""
    hosts = {
        host: {**what, "files": [{**file, "source": ""} for file in what["files"]]}
        for host, what in prepare.get("hosts", {}).items()
    }
    return {**prepare, "hosts": hosts} if hosts else {}


def new_values(plan: Plan, run: str) -> dict[str, str]:
    """The operator's `--var`s and the values that a runbook asks to be made new, journalled
    before their first use."""
    token, blank = f"{plan.cluster}-{run}", f"{plan.cluster}-{run}-blank"
    members = {m["name"]: m["peer_urls"] for m in plan.facts["members"].values()}
    makers = {
        "token": lambda: token,
        "cluster-id": lambda: predict(members, token).cluster_hex,
        "blank-token": lambda: blank,
        "blank-cluster-id": lambda: predict(members, blank).cluster_hex,
    }
    made = {name: makers[kind]() for name, kind in plan.new_values.items()}
    return {**plan.options.get("vars", {}), **made}


def manifest(plan: Plan, state: RunState, who: str) -> str:
    """What each node keeps of the run while it goes on: all that another machine needs to take
    it over (`drctl.nodes.records` reads it). `epoch` and `values_at` tell which of two is newer."""
    return json.dumps(
        {
            "format": FORMAT,
            "run": state.run,
            "cluster": state.cluster,
            "runbook": state.runbook,
            "journal": state.journal,
            "epoch": state.epoch,
            "values_at": state.values_at,
            "plan": state.digests[-1],
            "plans": state.digests,
            "meaning": state.plan["meaning"],
            "options": state.plan["options"],
            "snapshot": plan.facts.get("snapshot") or {},
            "prepare": plan.facts.get("prepare") or {},
            "values": {name: v for name, v in state.values.items() if name not in SHOWN},
            "kept": kept_at(plan, state),
            "who": who,
            "started": state.started,
            "drctl": __version__,
        },
        sort_keys=True,
    )


def record(plan: Plan, state: RunState, ended: str, who: str) -> str:
    """What each node keeps of the run once it is over: when, from what, where the old data is."""
    snapshot = plan.facts.get("snapshot") or {}
    lost = state.values.get("would_be_lost") or {}  # a rollback saw how far clients had come
    reached = [r for r in (state.values.get("proven_revision"), lost.get("latest")) if r]
    return json.dumps(
        {
            "run": state.run,
            "cluster": state.cluster,
            "state": ended,
            "at": now().isoformat(timespec="seconds"),
            "snapshot": {k: snapshot.get(k) for k in ("sha256", "size", "revision", "taken_at")},
            "cluster_id": state.values.get("cluster_id"),
            "reached": max(reached, default=None),  # the next restore bumps above it
            "kept": kept_at(plan, state) if ended == "done" else [],
            "who": who,
            "drctl": __version__,
        },
        sort_keys=True,
    )
