"""The data that a run begins with, leaves on its nodes, or is taken back by. No connection here."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from drctl import __version__
from drctl.errors import DrctlError, Drifted, InvalidInput, LockHeld, UsageError
from drctl.etcd.identity import predict
from drctl.etcd.snapshot import inspect_snapshot
from drctl.inventory import Inventory
from drctl.journal import Journal, now
from drctl.plan import Plan, undo_steps
from drctl.planner import Planner
from drctl.prepare import installation
from drctl.report import kept_at
from drctl.runbook import Runbook, load_runbook
from drctl.runstate import RunState
from drctl.situation import situation


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


def prepare_facts(inventory: Inventory, book: Runbook) -> dict[str, Any]:
    """What is to be installed, where the runbook and the inventory speak of it; else {}. Raises
    InvalidInput where the local files are no good (exit 3)."""
    return installation(inventory) if book.prepares else {}


def prepare_facts_again(inventory: Inventory, book: Runbook, state: RunState) -> dict[str, Any]:
    """The same for an unfinished run. Files that were installed everywhere may be gone or expired
    by now: then they are what they were."""
    recorded: dict[str, Any] = state.plan["facts"].get("prepare", {})
    installing = [s["id"] for s in state.plan["steps"] if s["action"] == "prepare/install"]
    try:
        return prepare_facts(inventory, book)
    except InvalidInput:
        if recorded and all(step in state.steps_done for step in installing):
            return recorded
        raise


def rollback_plan(planner: Planner, forward: Plan, state: RunState) -> Plan:
    """The shipped rollback runbook around the undo of every step that `state` began."""
    begun = begun_steps(state)
    plan = planner.plan(
        load_runbook("rollback"), undo=lambda phase: undo_steps(forward, begun, phase)
    )
    actions = [step.action for step in forward.steps if step.id in begun]
    return replace(plan, owns=forward.owns, facts={**plan.facts, "begun": actions})


def drifted(run: str, changed: Mapping[str, tuple[str, str]], hint: str) -> Drifted:
    """The refusal that names every field with its old and its new value."""
    lines = [f"{name}: was {then!r}, is {is_!r}" for name, (then, is_) in changed.items()]
    return Drifted("\n  ".join([f"since run {run} began, this changed:", *lines]), hint=hint)


def say_what_to_type(error: DrctlError, state: RunState) -> None:
    """Every error of a run ends with the state of the cluster, what is safe to do and the commands
    that lead out of it. Not where another operator holds the lock: it is theirs to say."""
    if isinstance(error, LockHeld | UsageError):
        return
    found = situation(state)
    error.situation = found.document()
    error.hint = "\n".join([*([error.hint] if error.hint else []), *found.lines()])


@contextmanager
def explained(state: Callable[[], RunState]) -> Iterator[None]:
    """What is raised inside says how the run has left the cluster."""
    try:
        yield
    except DrctlError as error:
        say_what_to_type(error, state())
        raise


def begun_steps(state: RunState) -> dict[str, frozenset[str]]:
    """Step id -> hosts on which a change was intended."""
    begun: dict[str, set[str]] = {}
    for (step, host), known in state.hosts.items():
        if known.attempts:
            begun.setdefault(step, set()).add(host)
    return {step: frozenset(hosts) for step, hosts in begun.items()}


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
        plan=plan.record(),
        values=new_values(plan, run),
    )


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
    """What each node keeps of the run, so that another machine could take over."""
    snapshot = plan.facts.get("snapshot") or {}
    return json.dumps(
        {
            "run": state.run,
            "cluster": state.cluster,
            "runbook": state.runbook,
            "plan": state.plan.get("digest"),
            "snapshot": {k: snapshot.get(k) for k in ("path", "sha256", "size", "revision")},
            "values": state.values,
            "members": plan.facts.get("members"),
            "kept": kept_at(plan, state),
            "who": who,
            "started": state.started,
            "drctl": __version__,
        },
        sort_keys=True,
    )
