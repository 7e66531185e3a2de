"""The plan: every script of every step on every host, known before anything runs.

A template sees the inventory's values as literals. What is known only at run time it names with
`value("token")` (handed on by a judge) or `seen("inode")` (what this step observed before it
acted): both become shell variables, listed in `Task.env` with where they come from, so the bytes
that a dry run prints are the bytes that a run executes. `DRCTL_RUN`, `DRCTL_WORK` and
`DRCTL_HOST` are always there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from drctl.errors import Fault, InvalidInput
from drctl.inventory import Inventory, Member, Service
from drctl.render import has_template, render_script
from drctl.runbook import Phase, Runbook, Step
from drctl.transport import Script

StepKind = Literal["gather", "act", "confirm"]
ALWAYS = ("DRCTL_RUN", "DRCTL_WORK", "DRCTL_HOST")
UPLOADS = {"snapshot": "stage/snapshot"}  # what `upload:` sends -> the action that receives it


@dataclass(frozen=True)
class Task:
    """What one step does on one host. `env` maps a shell variable to its source:
    `value NAME` or `seen NAME`."""

    observe: Script | None = None
    act: Script | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None  # local file sent before `act`, to the path observed as `target`
    seen_of: str = ""  # the step whose first observation answers `seen`; "" = this step
    undo: Task | None = None


@dataclass(frozen=True)
class PlannedStep:
    """One step, resolved. Seconds for `deadline` and `patience`."""

    id: str
    phase: str
    title: str
    kind: StepKind
    action: str
    tasks: Mapping[str, Task] = field(default_factory=dict)
    resource: str = ""  # steps on one resource supersede each other: the last one describes it
    judges: tuple[str, ...] = ()
    yields: tuple[str, ...] = ()
    text: str = ""
    tolerate: bool = False
    each_session: bool = False
    one_by_one: bool = False
    repeatable: bool = False
    patience: float = 0.0
    deadline: float = 300.0

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.tasks)


@dataclass(frozen=True)
class Plan:
    """All steps in order of execution, what judges may know, and what the plan means."""

    runbook: str
    cluster: str
    steps: tuple[PlannedStep, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    meaning: Mapping[str, str] = field(default_factory=dict)
    new_values: Mapping[str, str] = field(default_factory=dict)
    work_dirs: Mapping[str, str] = field(default_factory=dict)
    owns: tuple[str, ...] = ()  # hosts that a run claims, sorted: the same order for everybody

    @property
    def digest(self) -> str:
        """sha256 of the plan's meaning; two plans that mean the same have the same digest."""
        return hashlib.sha256(json.dumps(dict(self.meaning), sort_keys=True).encode()).hexdigest()

    def step(self, step_id: str) -> PlannedStep:
        return next(step for step in self.steps if step.id == step_id)

    def checks(self) -> Plan:
        """The plan up to its first change, without questions: what a dry run connects for."""
        checks = []
        for step in self.steps:
            if step.kind == "act":
                break
            if step.kind == "gather":
                checks.append(step)
        return replace(self, steps=tuple(checks))

    def record(self) -> dict[str, Any]:
        """The whole plan as plain JSON data, for the journal."""
        return {**asdict(self), "digest": self.digest}


class _Names:
    """Given to a template as `value` and `seen`; remembers what the template asked for."""

    def __init__(self) -> None:
        self.env: dict[str, str] = {}

    def _variable(self, kind: str, name: str) -> str:
        prefix = "DRCTL_SEEN_" if kind == "seen" else "DRCTL_"
        variable = f"{prefix}{name.upper()}"
        self.env[variable] = f"{kind} {name}"
        return f"${{{variable}}}"

    def value(self, name: str) -> str:
        return self._variable("value", name)

    def seen(self, name: str) -> str:
        return self._variable("seen", name)


@dataclass(frozen=True)
class Planner:
    """Resolves a runbook against an inventory; pure, and raises InvalidInput with every fault."""

    inventory: Inventory
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None  # the local snapshot
    judges: frozenset[str] = frozenset()

    def plan(self, runbook: Runbook, *, undo: Callable[[str], Iterator[PlannedStep]] | None = None) -> Plan:
        """`undo` yields the steps that a phase with `undo: true` stands for."""
        facts = {**inventory_facts(self.inventory), **self.facts}
        steps: list[PlannedStep] = []
        faults: list[Fault] = []
        for phase in runbook.phases:
            if phase.undo and undo:
                steps.extend(undo(phase.title))
            for step in phase.steps:
                try:
                    steps.extend(self._resolve(phase, step, facts))
                except InvalidInput as error:
                    faults.append(Fault(str(error), path=f"{runbook.runbook}: {step.id}"))
        faults.extend(self._undefined(runbook, steps))
        if faults:
            raise InvalidInput(
                f"the runbook {runbook.runbook} does not fit this inventory", faults=tuple(faults)
            )
        return Plan(
            runbook=runbook.runbook,
            cluster=self.inventory.cluster,
            steps=tuple(steps),
            facts=facts,
            options=dict(self.options),
            meaning=self._meaning(steps),
            new_values={name: value.new for name, value in runbook.values.items()},
            owns=tuple(sorted({host for step in steps for host in step.tasks})),
            work_dirs={name: host.work_dir for name, host in self.inventory.hosts.items()},
        )

    def _meaning(self, steps: list[PlannedStep]) -> dict[str, str]:
        meaning = dict(self.inventory.meaning())
        if snapshot := self.facts.get("snapshot"):
            meaning["snapshot.sha256"] = snapshot["sha256"]
        changes = [step for step in steps if step.kind == "act"]
        meaning["steps"] = " ".join(step.id for step in changes)
        for step in changes:
            meaning[f"steps.{step.id}"] = f"{step.action} on {' '.join(step.hosts)}"
        return meaning

    def _resolve(self, phase: Phase, step: Step, facts: Mapping[str, Any]) -> Iterator[PlannedStep]:
        if step.confirm is not None:
            yield self._step(phase, step, "confirm", "confirm", {}, text=step.confirm)
            return
        service = self._service(step)
        hosts = self._hosts(step, service)
        if not hosts and step.optional:
            return
        if not hosts:
            raise InvalidInput("no host to run on", hint="mend `groups`, or say `optional: true`")
        action = self._action(step, service)
        kind: StepKind = "gather" if step.gather else "act"
        tasks = {host: self._task(kind, action, host, service, step, facts) for host in hosts}
        resource = f"service {service.name}" if service else action.split("/")[0]
        label = f"{service.name} {step.want}" if service else action
        yield self._step(
            phase,
            step,
            kind,
            label,
            tasks,
            resource=resource if kind == "act" else "",
            one_by_one=bool(
                service and service.start == "one-by-one" and step.want in ("running", "restarted")
            ),
        )

    @staticmethod
    def _step(
        phase: Phase, step: Step, kind: StepKind, action: str, tasks: dict[str, Task], **more: Any
    ) -> PlannedStep:
        return PlannedStep(
            id=step.id,
            phase=phase.title,
            title=step.title or action,
            kind=kind,
            action=action,
            tasks=tasks,
            judges=step.judge,
            yields=step.yields,
            tolerate=step.tolerate == "unreachable",
            each_session=step.each_session,
            repeatable=step.repeatable,
            patience=step.patience,
            deadline=step.deadline,
            **more,
        )

    def _service(self, step: Step) -> Service | None:
        if step.service is None:
            return None
        return self.inventory.service(step.service)

    def _hosts(self, step: Step, service: Service | None) -> tuple[str, ...]:
        chosen = self.inventory.host_group(step.hosts) if step.hosts else ()
        if service is None:
            return chosen
        return tuple(h for h in service.hosts if not step.hosts or h in chosen)

    @staticmethod
    def _action(step: Step, service: Service | None) -> str:
        if service:
            return f"service/{step.want}"
        return step.gather or step.run or UPLOADS[str(step.upload)]

    def _task(
        self,
        kind: StepKind,
        action: str,
        host: str,
        service: Service | None,
        step: Step,
        facts: Mapping[str, Any],
    ) -> Task:
        context = self._context(host, service, facts)
        if unknown := set(step.judge) - self.judges:
            known = ", ".join(sorted(self.judges))
            raise InvalidInput(f"no judge {', '.join(unknown)}; there are {known}")
        if kind == "gather":
            names = _Names()
            script = render_script(action, None, value=names.value, seen=names.seen, **context)
            return Task(observe=script, env=names.env)
        task = _action_task(action, context)
        if step.upload:
            task = replace(task, source=self.source)
        if has_template(f"{action}/undo/act.sh"):
            undo = replace(_action_task(f"{action}/undo", context), seen_of=step.id)
            task = replace(task, undo=undo)
        return task

    def _context(
        self, host: str, service: Service | None, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        members = {m.host: m for m in self.inventory.members}
        return {
            "host": self.inventory.hosts[host],
            "member": members.get(host),
            "members": self.inventory.members,
            "service": service,
            "services": [s for s in self.inventory.services.values() if host in s.hosts],
            "units": service.units if service else (),
            "etcd_unit": self.inventory.services["etcd"].units[0],
            "settle": self.inventory.settle_seconds,
            "snapshot": facts.get("snapshot", {}),
        }

    def _undefined(self, runbook: Runbook, steps: list[PlannedStep]) -> Iterator[Fault]:
        known = set(runbook.values) | set(self.options.get("vars", {}))
        for step in steps:
            wanted = {
                source.removeprefix("value ")
                for task in step.tasks.values()
                for source in task.env.values()
                if source.startswith("value ")
            }
            if not step.id.startswith("undo-"):  # a run's own steps have their values already
                for name in sorted(wanted - known):
                    yield Fault(
                        f"uses the value {name!r}, which no step before it yields",
                        path=f"{runbook.runbook}: {step.id}",
                    )
            known |= set(step.yields)


def _action_task(action: str, context: Mapping[str, Any]) -> Task:
    names = _Names()
    scripts = [
        render_script(f"{action}/{part}", None, value=names.value, seen=names.seen, **context)
        for part in ("observe", "act")
    ]
    return Task(observe=scripts[0], act=scripts[1], env=names.env)


def inventory_facts(inventory: Inventory) -> dict[str, Any]:
    """What judges may know of the inventory, as plain data."""
    return {
        "cluster": inventory.cluster,
        "members": {m.host: member_facts(m) for m in inventory.members},
        "services": {s.name: {"hosts": s.hosts, "units": s.units} for s in inventory.services.values()},
    }


def member_facts(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "peer_urls": list(member.peer_urls),
        "client_urls": list(member.client_urls),
        "data_dir": member.data_dir,
        "wal_dir": member.wal_dir,
        "owner": member.owner,
    }


def undo_steps(
    forward: Plan, begun: Mapping[str, frozenset[str]], phase: str
) -> Iterator[PlannedStep]:
    """The steps that take `forward` back, last one first. `begun` maps a step's id to the hosts
    on which a change was intended; steps whose action leaves nothing behind have no undo."""
    for step in reversed(forward.steps):
        tasks = {
            host: task.undo
            for host, task in step.tasks.items()
            if task.undo and host in begun.get(step.id, frozenset())
        }
        if tasks:
            yield replace(
                step,
                id=f"undo-{step.id}",
                phase=phase,
                title=f"take back: {step.title}",
                action=f"undo {step.action}",
                resource=f"undo {step.id}",
                tasks=tasks,
                one_by_one=False,
                each_session=False,
            )


def drift(recorded: Mapping[str, str], current: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Field -> (then, now) for everything in which two plans' meanings differ."""
    return {
        name: (recorded.get(name, "(absent)"), current.get(name, "(absent)"))
        for name in sorted({*recorded, *current})
        if recorded.get(name) != current.get(name)
    }
