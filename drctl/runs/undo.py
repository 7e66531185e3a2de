"""The plans that come after a run: what rolls it back, and what removes the old data that it kept.
No connection here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from drctl.errors import Drifted, UsageError
from drctl.journal.runstate import RunState
from drctl.nodes.catch_up import PlanOf
from drctl.plan.model import Plan, Task, undo_steps
from drctl.plan.planner import Planner
from drctl.plan.runbook import load_runbook

START = ("running", "restarted")
"""What a client of the data is wanted to be when it is let in."""


def plans_after(planner: Planner, forward: Plan, **options: Any) -> PlanOf:
    """Makes the plan that rolls `forward` back, with the options of `rollback_plan`, or the one
    that removes what it kept; by the planner that made `forward`."""

    def plan(direction: str, state: RunState) -> Plan:
        if direction == "clean":
            return clean_plan(planner, state)
        return rollback_plan(planner, forward, state, **options)

    return plan


def rollback_plan(
    planner: Planner,
    forward: Plan,
    state: RunState,
    *,
    lose_writes: bool = False,
    accept_drift: Collection[str] = (),
    without: Collection[str] = (),
) -> Plan:
    """The shipped rollback runbook around the undo of every step that `state` began.
    `lose_writes`: the operator agreed to lose what was written since, or is there to be asked.
    `accept_drift`: machine_id.HOST of each host that may be another machine than the run's.
    `without`: hosts that are not contacted at all."""
    begun = begun_steps(state, forward)
    _refuse_unknown_steps(begun, forward, state)
    before = state.before_undo[0] if state.direction == "undo" else state.state
    let_in = [s for s in forward.steps if s.id in begun and s.role == "client" and s.want in START]
    facts = {
        **planner.facts,
        "let_in": [step.action for step in let_in],
        "ended": before == "done",
        "taken_back": state.taking_back,
        "proven_revision": state.values.get("proven_revision"),
        "without": sorted(without),
    }
    asked = {"lose_writes": lose_writes, "accept_drift": [*accept_drift], "without": [*without]}
    plan = replace(planner, facts=facts, options={**planner.options, **asked}).plan(
        load_runbook("rollback"), undo=lambda phase: undo_steps(forward, begun, phase)
    )
    # Revisions go backwards here. A kubelet that has seen the restored cluster's would wait for
    # those above them forever; one that has not is left alone.
    seen = any(step.service == "apiserver" for step in let_in)
    steps = tuple(s for s in plan.steps if seen or s.kind != "act" or s.undoes)
    return left_alone(replace(plan, owns=forward.owns, steps=steps), facts["without"])


def _refuse_unknown_steps(
    begun: Mapping[str, frozenset[str]], forward: Plan, state: RunState
) -> None:
    """Raises Drifted for a step that was begun and that this drctl's plan does not undo."""
    hosts = {step.id: {*step.hosts} for step in forward.steps}
    for step, ours in begun.items():
        if step not in state.later and not ours <= hosts.get(step, set()):
            raise Drifted(
                f"{step} was started on {', '.join(sorted(ours))}, but the runbook no longer has "
                "it there",
                hint=f"put the runbook back, or use drctl {state.drctl}, which began this run",
            )


def left_alone(plan: Plan, hosts: Collection[str]) -> Plan:
    """`plan` on all hosts but these. Raises UsageError for a host that has no part in it, and where
    nothing would be left to do."""
    if unknown := sorted({*hosts} - {*plan.owns}):
        raise UsageError(
            f"--without {unknown[0]}: not a host of this run", hint=f"known: {', '.join(plan.owns)}"
        )
    kept = tuple(host for host in plan.owns if host not in hosts)
    if not kept:
        raise UsageError("--without: no host would be left", hint="give --without for fewer hosts")
    steps = [
        replace(step, tasks={h: task for h, task in step.tasks.items() if h in kept})
        for step in plan.steps
    ]
    return replace(plan, owns=kept, steps=tuple(s for s in steps if s.tasks or s.kind == "confirm"))


def clean_plan(planner: Planner, state: RunState) -> Plan:
    """The shipped clean runbook, with the paths that the run chose."""
    return planner.plan(load_runbook("clean"), known=frozenset(state.values))


def begun_steps(state: RunState, forward: Plan) -> dict[str, frozenset[str]]:
    """Step id -> hosts on which a change was intended, or may have been: an upload leaves no
    record on its node, and the journal may have lost its tail."""
    begun: dict[str, set[str]] = {}
    for (step, host), known in state.hosts.items():
        if known.attempts:
            begun.setdefault(step, set()).add(host)
    for planned in forward.steps if state.changed else ():
        for host, task in planned.tasks.items():
            if task.sources and task.undo and _has_values(task.undo, state):
                begun.setdefault(planned.id, set()).add(host)
    return {step: frozenset(hosts) for step, hosts in begun.items()}


def _has_values(task: Task, state: RunState) -> bool:
    wanted = (source.partition(" ") for source in task.env.values())
    return all(kind != "value" or name in state.values for kind, _, name in wanted)
