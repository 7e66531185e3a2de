"""The data that a run begins with, leaves on its nodes, or is taken back by. No connection here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drctl import __version__
from drctl.errors import DrctlError, Drifted, LockHeld
from drctl.etcd.identity import predict
from drctl.etcd.snapshot import inspect_snapshot
from drctl.journal import Journal
from drctl.plan import Plan, undo_steps
from drctl.planner import Planner
from drctl.report import kept_at, next_command
from drctl.runbook import load_runbook
from drctl.runstate import RunState


def snapshot_facts(path: Path) -> dict[str, Any]:
    """What judges and the confirmation know of the snapshot; raises InvalidInput (exit 3)."""
    snapshot = inspect_snapshot(path.absolute())
    plain: dict[str, Any] = json.loads(json.dumps(snapshot.as_facts(time.time())))
    return plain


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
    """After a change every error's hint ends with the commands that lead out of it."""
    if not (state.changed and state.unfinished) or isinstance(error, LockHeld):
        return
    ways = [next_command(state)]
    if state.direction != "undo":
        ways.append(f"drctl rollback {state.run} --inventory {state.inventory}")
    lines = [error.hint] if error.hint else []
    lines += [f"then: {ways[0]}", *(f"or:   {way}" for way in ways[1:])]
    error.hint = "\n      ".join(lines)


def begun_steps(state: RunState) -> dict[str, frozenset[str]]:
    """Step id -> hosts on which a change was intended."""
    begun: dict[str, set[str]] = {}
    for (step, host), known in state.hosts.items():
        if known.attempts:
            begun.setdefault(step, set()).add(host)
    return {step: frozenset(hosts) for step, hosts in begun.items()}


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
    token = f"{plan.cluster}-{run}"
    members = {m["name"]: m["peer_urls"] for m in plan.facts["members"].values()}
    makers = {
        "token": lambda: token,
        "cluster-id": lambda: predict(members, token).cluster_hex,
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
