"""The plan of each shipped runbook, as it was last looked at by a person.

A change of a runbook, a template or the planner shows here as a difference to review. To take it
over: DRCTL_UPDATE_GOLDEN=1 pytest tests/plan/test_golden.py, then read `git diff`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan, PlannedStep, Task
from drctl.plan.runbook import load_runbook, shipped_runbooks
from drctl.render import render
from drctl.runs.undo import clean_plan, rollback_plan
from drctl.transport import Script
from tests.house import ROOT
from tests.model.harness import BLANK, INVENTORY
from tests.plan.test_plan import planner

GOLDEN = Path(__file__).parent / "golden"
KUBEADM = Path(__file__).parent / "kubeadm.yaml"
ON_NEW_HOSTS = "restore-on-new-hosts"
NAMES = (*shipped_runbooks(), ON_NEW_HOSTS)


def plan_of(name: str, inventory: Path = INVENTORY) -> Plan:
    """The plan; for `rollback` that of a restore which began everything."""
    if name == ON_NEW_HOSTS:
        return planner(load_inventory(BLANK)).plan(load_runbook("restore"))
    maker = planner(load_inventory(inventory))
    if name == "clean":
        return clean_plan(maker, RunState(values={"stage": {}, "wal_stage": {}}))
    if name != "rollback":
        return maker.plan(load_runbook(name))
    forward = maker.plan(load_runbook("restore"))
    state = RunState(values={"proven_revision": 1_000_000_031})
    for step in forward.steps:
        for host in step.hosts if step.kind == "act" else ():
            state.intend(step.id, host, 1)
    return rollback_plan(maker, forward, state)


def outline(plan: Plan) -> Iterator[str]:
    """Everything of a plan but the scripts' text."""
    yield f"owns {' '.join(plan.owns)}"
    yield from (f"makes {name}: {kind}" for name, kind in plan.new_values.items())
    phase = ""
    for step in plan.steps:
        if step.phase != phase:
            phase = step.phase
            yield f"\n== {phase}"
        yield f"{step.id}: {step.kind} {step.action} on {' '.join(step.hosts) or '-'}"
        yield from (f"    {line}" for line in details(step))


def details(step: PlannedStep) -> Iterator[str]:
    if step.text:
        yield f"asks {step.text}"
    if step.judges:
        yield f"judged by {' '.join(step.judges)}"
    if step.yields:
        yield f"yields {' '.join(step.yields)}"
    flags = ("tolerate", "each_session", "repeatable")
    how = [flag for flag in flags if getattr(step, flag)]
    how += [step.strategy] * (step.strategy != "together")
    how += [f"last: {step.last}"] * bool(step.last)
    yield f"deadline {step.deadline:g} patience {step.patience:g} {' '.join(how)}".rstrip()
    for task in list(step.tasks.values())[:1]:
        for name, source in task.sources.items():
            yield f"uploads {source.removeprefix(f'{ROOT}/')} to {name}"
        yield from (f"{variable} = {source}" for variable, source in task.env.items())
        if task.undo:
            yield "can be taken back"


def every_script(plan: Plan) -> Iterator[tuple[str, Script]]:
    """(where it runs, script) of a plan."""
    for step in plan.steps:
        where = step.resource.removeprefix("undo ") if step.resource.startswith("service") else ""
        for host, task in step.tasks.items():
            yield from ((f"{host} {where}".strip(), script) for script in scripts(task))


def scripts(task: Task) -> Iterator[Script]:
    yield from (script for script in (task.observe, task.act) if script)


def folded(script: Script) -> str:
    """The script, without what nearly all of them have in common."""
    return script.body.replace(render("node/safe.sh"), "######## (node/safe)\n")


def bodies() -> Iterator[str]:
    """Each script once in full; of the other hosts and services only what differs."""
    yield f"######## node/safe\n{render('node/safe.sh')}"
    seen: dict[str, dict[str, str]] = {}
    for name in NAMES:
        for where, script in every_script(plan_of(name)):
            seen.setdefault(script.name, {}).setdefault(where, folded(script))
    for what, by_place in sorted(seen.items()):
        (first, body), *others = by_place.items()
        yield f"\n######## {what} on {first}"
        yield body.rstrip("\n")
        for place, other in others:
            yield f"######## {what} on {place}: what differs"
            yield from changed_lines(body, other)


def changed_lines(one: str, other: str) -> Iterator[str]:
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), n=0, lineterm="")
    yield from (line for line in list(lines)[2:] if not line.startswith("@@"))


def compare(path: Path, text: str) -> None:
    if os.environ.get("DRCTL_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"see {__name__}'s first lines"


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_as_reviewed(name: str) -> None:
    compare(GOLDEN / f"{name}.txt", "\n".join(outline(plan_of(name))) + "\n")


def test_the_scripts_are_as_reviewed() -> None:
    compare(GOLDEN / "scripts.txt", "\n".join(bodies()).lstrip("\n") + "\n")


def test_the_scripts_of_a_kubeadm_host_are_as_reviewed() -> None:
    """Where they are not like everybody's: the manager's and the tools'."""
    plan = plan_of("restore", KUBEADM)
    steps = [plan.step(name).tasks["m1"] for name in ("stop-etcd", "live")]
    texts = [f"######## {s.name}\n{folded(s)}" for task in steps for s in list(scripts(task))[-1:]]
    compare(GOLDEN / "kubeadm.txt", "\n".join(texts))


def test_every_runbook_has_its_golden_plan() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {*NAMES, "scripts", "kubeadm"}
