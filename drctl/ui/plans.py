"""A plan before it runs, as plain data and as text: what a dry run shows. Pure: no terminal."""

from __future__ import annotations

from typing import Any

from drctl.plan.model import ALWAYS, Plan, PlannedStep, Task
from drctl.render import render


def _commands(task: Task) -> list[str]:
    commands = [f"upload {source}" for source in task.sources.values()]
    script = task.act or task.observe
    if script:
        commands.append(script.body)
    return commands


def plan_document(plan: Plan) -> dict[str, Any]:
    """`restore --dry-run --output json`: the very scripts of a run, in order of execution."""
    steps = [
        {
            "id": step.id,
            "phase": step.phase,
            "host": host,
            "action": step.action,
            "commands": _commands(task),
            "observe": task.observe.body if task.observe and task.act else "",
            "variables": {**dict.fromkeys(ALWAYS, "the run"), **task.env},
        }
        for step in plan.steps
        for host, task in step.tasks.items()
    ]
    return {
        "runbook": plan.runbook,
        "cluster": plan.cluster,
        "snapshot": plan.facts.get("snapshot"),
        "digest": plan.digest,
        "steps": steps,
        "wrapper": render("job/start.sh"),
        "claim": render("job/claim.sh"),
    }


def plan_text(plan: Plan) -> str:
    """What a dry run prints: phases, steps, hosts, and every command once per distinct body."""
    lines: list[str] = []
    phase = ""
    for step in plan.steps:
        if step.phase != phase:
            phase = step.phase
            lines += ["", phase]
        lines.append(f"  {step.id}: {step.title}")
        lines += _step_lines(step)
    lines += ["", "Every change runs on its node inside this wrapper:"]
    lines += [f"    {line}" for line in render("job/start.sh").splitlines() if line.strip()]
    return "\n".join(lines).lstrip("\n")


def _step_lines(step: PlannedStep) -> list[str]:
    bodies: dict[str, list[str]] = {}
    for host, task in step.tasks.items():
        for command in _commands(task):
            bodies.setdefault(command, []).append(host)
    lines = []
    for body, hosts in bodies.items():
        lines.append(f"    on {', '.join(hosts)}:")
        lines += [f"      {line}" for line in body.splitlines() if line.strip()]
    sources = {v: s for task in step.tasks.values() for v, s in task.env.items()}
    lines += [f"      # {variable}: {source}" for variable, source in sources.items()]
    return lines
