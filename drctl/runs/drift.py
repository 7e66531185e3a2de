"""A run's plan made again, and held to what it meant when the run began: as far as the command that
asks still depends on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from shlex import quote
from typing import Any, Literal

from drctl.errors import Drifted, UsageError
from drctl.inventory import Inventory
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState
from drctl.kube import READY
from drctl.nodes.comparison import ABOUT_A_HOST
from drctl.plan.model import TEMPLATE, Plan, drift
from drctl.reading import ACCEPT
from drctl.runs.basis import Basis
from drctl.runs.undo import begun_steps

IN_STEP_1 = (ACCEPT, READY)
"""How the names begin of what nodes may differ in: it stays accepted as long as a run lasts."""

TEMPLATES = "templates"
"""The name that accepts every template's new text."""

ACCEPTABLE: Mapping[str, tuple[str, ...]] = {
    "forward": ("",),
    "undo": (*ABOUT_A_HOST, "secret.", "template", "steps"),
    "clean": (),
}
"""Direction -> how the names begin that may be accepted: a rollback has to find the run's data
where the run put it, and an upgrade of drctl must never block it."""

Direction = Literal["forward", "undo", "clean"]
Counts = Callable[[str], bool]
"""Whether a field of a plan's meaning matters for what is left to do."""


def plan_again(
    inventory: Inventory,
    basis: Basis,
    state: RunState,
    direction: Direction,
    *,
    hint: str,
    accepted: Collection[str] = (),
) -> Plan:
    """The plan of `state`'s run, made again. Raises Drifted where a field of its meaning changed:
    one that counts for what is left in that `direction`, and that was not `accepted` by name.
    `hint` is the first way out; the second is to accept what may be accepted."""
    plan = basis.plan(inventory)
    refuse_drift(state, plan, direction, hint=hint, accepted=accepted)
    return plan


def refuse_drift(
    state: RunState,
    plan: Plan,
    direction: Direction,
    *,
    hint: str,
    accepted: Collection[str] = (),
) -> None:
    """The same for a plan that is at hand: `state` may have learned since what is left to do."""
    counts = _COUNTS[direction](state, plan)
    changed = drift(state.plan["meaning"], plan.meaning)
    refused = {n: pair for n, pair in changed.items() if counts(n) and not accepts(accepted, n)}
    if refused:
        names = dict.fromkeys(TEMPLATES if _is_template(name) else name for name in refused)
        if all(name.startswith(ACCEPTABLE[direction]) for name in names):
            options = " ".join(f"--accept-drift {quote(name)}" for name in names)
            hint = f"{hint}, or accept it by name: {options}"
        raise drifted(state.run, refused, hint)


def accepts(accepted: Collection[str], field: str) -> bool:
    """Whether `field` is among the names that the operator accepted."""
    return field in accepted or (TEMPLATES in accepted and _is_template(field))


def journal_accepted(
    journal: Journal, state: RunState, plan: Plan, accepted: Collection[str]
) -> None:
    """What the operator accepted is from now on what the run means. Raises UsageError for a field
    that did not change."""
    changed = drift(state.plan["meaning"], plan.meaning)
    fields = {name: list(pair) for name, pair in changed.items() if accepts(accepted, name)}
    for name in accepted:
        if name.startswith((*ABOUT_A_HOST, *IN_STEP_1)) or any(
            accepts([name], field) for field in fields
        ):
            continue
        raise UsageError(
            f"nothing to accept: {name} did not change",
            hint=f"leave out --accept-drift {quote(name)}: what was accepted stays accepted",
        )
    if fields:
        meaning = {**state.plan["meaning"], **{name: plan.meaning.get(name) for name in fields}}
        meaning = {name: value for name, value in meaning.items() if value is not None}
        journal.append("drift-accepted", fields=fields, meaning=meaning)


def drifted(run: str, changed: Mapping[str, tuple[str, str]], hint: str) -> Drifted:
    """The refusal that names every field with its old and its new value; of a template's text, only
    that it changed."""
    lines = [
        f"{name}: its text changed" if _is_template(name) else f"{name}: was {a!r}, is {b!r}"
        for name, (a, b) in changed.items()
    ]
    return Drifted("\n  ".join([f"since run {run} began, this changed:", *lines]), hint=hint)


def _is_template(field: str) -> bool:
    return field.startswith(TEMPLATE)


# -- what counts for what is left to do ---------------------------------------------------------


def _forward(state: RunState, plan: Plan) -> Counts:
    """All that the inventory and the runbook say, and the scripts that are still to run: those of
    steps that are not over, and of the last one begun on each resource, which is looked at, and
    done once more where that no longer holds (`drctl.engine.walk`)."""
    begun = _touched(state)
    last = {s.resource: s.id for s in plan.steps if s.kind == "act" and s.id in begun}

    def parts(step: Mapping[str, Any], task: Mapping[str, Any]) -> Iterator[str]:
        hosts = step["tasks"] if step["kind"] == "act" else ()
        over = state.changed and not step["each_session"] and _is_over(state, step["id"], hosts)
        if not over or step["id"] in last.values():
            yield from _parts(task)

    left = _templates(state, plan, parts)
    return lambda field: field.removeprefix(TEMPLATE) in left if _is_template(field) else True


def _undo(state: RunState, plan: Plan) -> Counts:
    """All that the inventory says, and of the runbook the steps that were begun, their order and
    the scripts that roll them back, where that is not over yet or is checked again: nothing else
    that an upgrade brought may stop a rollback."""
    begun, touched = begun_steps(state, plan), _touched(state)
    back = {step["undoes"]: step["id"] for step in state.later.values() if step["undoes"]}
    last = {s.resource: s.id for s in reversed(plan.steps) if back.get(s.id) in touched}

    def parts(step: Mapping[str, Any], task: Mapping[str, Any]) -> Iterator[str]:
        hosts = begun.get(step["id"])
        over = hosts and _is_over(state, back.get(step["id"], ""), hosts)
        if task["undo"] and hosts and (not over or step["id"] in last.values()):
            yield from _parts(task["undo"])

    left = _templates(state, plan, parts)
    meanings = (state.plan["meaning"], plan.meaning)
    then, now = ([s for s in m.get("steps", "").split() if s in begun] for m in meanings)

    undoes = [task.undo for step in plan.steps for task in step.tasks.values() if task.undo]
    sent = {place for undo in undoes for place in undo.sources}
    idle = {
        f"{tool}.sha256" for tool in plan.facts.get("tools", ()) if f"run tools/{tool}" not in sent
    }

    def counts(field: str) -> bool:
        if _is_template(field):
            return field.removeprefix(TEMPLATE) in left
        if field in idle:  # a program that nothing sends on the way back
            return False
        if field == "steps":
            return then != now
        return field.removeprefix("steps.") in begun if field.startswith("steps.") else True

    return counts


def _clean(_state: RunState, _plan: Plan) -> Counts:
    """Where the members' data is. What else the inventory says may have changed since."""
    paths = ("data_dir", "wal_dir", "work_dir")
    return lambda field: field == "members" or field.rpartition(".")[2] in paths


_COUNTS: Mapping[Direction, Callable[[RunState, Plan], Counts]] = {
    "forward": _forward,
    "undo": _undo,
    "clean": _clean,
}


def _touched(state: RunState) -> frozenset[str]:
    """The steps that are done, or that were meant to change any host."""
    meant = {step for (step, _), known in state.hosts.items() if known.attempts}
    return frozenset(meant | state.steps_done)


def _is_over(state: RunState, step: str, hosts: Collection[str]) -> bool:
    """Whether a step was done, and without none of these hosts."""
    known = (state.hosts.get((step, host)) for host in hosts)
    ended = all(host and host.state in ("done", "unreachable") for host in known)
    return step in state.steps_done and ended


def _templates(
    state: RunState,
    plan: Plan,
    parts: Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[str]],
) -> set[str]:
    """What `parts` finds in the tasks of both plans: a template may have gone, or come."""
    steps = [*state.plan["steps"], *plan.record()["steps"]]
    return {part for step in steps for task in step["tasks"].values() for part in parts(step, task)}


def _parts(task: Mapping[str, Any]) -> Iterator[str]:
    for script in (task["observe"], task["act"]):
        yield from script["parts"] if script else ()
