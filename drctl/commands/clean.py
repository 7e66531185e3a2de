"""Old data that finished runs keep, removed on request: the clean runbook, in the journal of the
run that kept it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from drctl.errors import Refused, UsageError
from drctl.inventory import Inventory, load_inventory
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import operator
from drctl.plan.model import Plan, drift
from drctl.plan.runbook import load_runbook
from drctl.runs.app import App
from drctl.runs.leftovers import give_back
from drctl.runs.rundata import drifted, explained


def clean(app: App, inventory_path: Path, run: str | None) -> tuple[Plan, RunState]:
    """Remove the old data that `run` keeps, by default the latest finished run that keeps any.

    Raises Refused where that run is not finished, UsageError where nothing is kept.
    """
    inventory = load_inventory(inventory_path)
    with (
        app.store.lock(inventory.cluster, operator()),
        closing(app.transport(inventory)) as transport,
    ):
        chosen = _choose(app, inventory, run)
        with (
            closing(app.store.open(inventory.cluster, chosen)) as journal,
            explained(lambda: fold(journal.events)),
        ):
            _refuse_unless_done(fold(journal.events))
            forward = _forward(app, inventory, fold(journal.events))
            give_back(app.store, inventory, transport, operator(), but=chosen)
            app.learn(transport, inventory, journal, forward)
            state = fold(journal.events)
            _refuse_unless_done(state)
            plan = app.plan_of(inventory, forward)("clean", state)
            later = {"followed_by": ", ".join(sorted({f["run"] for f in state.followers.values()}))}
            plan = replace(plan, facts={**plan.facts, **later})
            return plan, app.execute(transport, plan, journal, "clean", "cleaned")


def _choose(app: App, inventory: Inventory, run: str | None) -> str:
    """The run that was asked for, else the latest that is done and not wholly cleaned."""
    if run:
        return run
    for cluster, name in reversed(app.store.runs(inventory.cluster)):
        state = app.store.state(cluster, name)
        half = state.unfinished or state.direction == "clean"
        if state.changed and state.state != "rolled-back" and (half or not state.cleaned):
            return name
    raise UsageError(f"no run of {inventory.cluster} keeps old data", hint="drctl runs list")


def _refuse_unless_done(state: RunState) -> None:
    if state.state == "rolled-back" or not state.changed:
        raise UsageError(f"run {state.run} keeps no old data: it is {state.state}")
    if state.unfinished:
        raise Refused(
            f"run {state.run} is not finished ({state.state}): its old data is what a resume or a "
            "rollback needs"
        )


def _forward(app: App, inventory: Inventory, state: RunState) -> Plan:
    """The run's plan, made anew. What else the inventory says may have changed since; where the
    members' data lies may not. Raises Drifted."""
    plan = app.plan(
        inventory,
        load_runbook(state.runbook),
        snapshot=state.plan["facts"].get("snapshot"),
        options=state.plan["options"],
        prepare=state.plan["facts"].get("prepare", {}),
    )
    paths = ("data_dir", "wal_dir", "work_dir")
    then, now = (
        {n: v for n, v in meaning.items() if n.rpartition(".")[2] in paths or n == "members"}
        for meaning in (state.plan["meaning"], plan.meaning)
    )
    if changed := drift(then, now):
        raise drifted(
            state.run, changed, "clean with the inventory of that time, or by hand: drctl runs show"
        )
    return plan
