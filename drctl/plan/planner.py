"""From a runbook and an inventory to a plan. Pure: it opens no connection and reads no clock.

A template sees the inventory's values as literals. What is known only at run time it names with
`value("token")` (handed on by a judge, or given by the operator) or `seen("inode")` (what this step
observed before it acted): both become shell variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from drctl.errors import Fault, InvalidInput
from drctl.inventory import Inventory, Service
from drctl.inventory.reach import reach
from drctl.plan.claims import client_ports, inventory_facts
from drctl.plan.model import TEMPLATE, Plan, PlannedStep, Role, Task
from drctl.plan.runbook import Phase, Runbook, Step
from drctl.plan.sample import sample
from drctl.plan.secrets import KIND
from drctl.render import has_template, render_script, template_digest
from drctl.transport import Script

RESTARTS_AT_ONCE = 50
"""Kubelets that start list their pods and nodes at an apiserver that has just come back itself."""
# what `upload:` sends -> the action that receives it
UPLOADS = {"snapshot": "stage/snapshot", "installation": "prepare/install", "sample": "try"}
ROLES: Mapping[str, Role] = {
    "etcd/swap": "exchange",
    "prepare/install": "install",
    "try": "try",
    "try/undo": "untry",
}
"""What the shipped actions are for the cluster; a runbook says it of an action of its own."""


class _Names:
    """Given to a template as `value`, `seen` and `sent`; remembers what the template asked for."""

    def __init__(self, tools: Mapping[str, Mapping[str, str]], secrets: Iterable[str] = ()) -> None:
        self._tools = tools
        self._secrets = frozenset(secrets)
        self.env: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def _variable(self, kind: str, name: str) -> str:
        prefix = "DRCTL_SEEN_" if kind == "seen" else "DRCTL_"
        variable = f"{prefix}{name.upper()}"
        self.env[variable] = f"{kind} {name}"
        return f"${{{variable}}}"

    def value(self, name: str) -> str:
        return self._variable(KIND if name in self._secrets else "value", name)

    def seen(self, name: str) -> str:
        return self._variable("seen", name)

    def sent(self, tool: str) -> Mapping[str, str]:
        """A program that is sent before the script runs; `target` is below the run's folder."""
        found = {**self._tools[tool], "target": f"tools/{tool}"}
        self.sources[f"run {found['target']}"] = found["path"]
        return found

    def given(self) -> dict[str, Any]:
        return {"value": self.value, "seen": self.seen, "sent": self.sent}

    def task(self, observe: Script, act: Script | None = None) -> Task:
        return Task(observe, act, env=self.env, sources=self.sources)


Undo = Callable[[str], Iterator[PlannedStep]]
"""Given a phase's title, the steps that roll a run back."""


@dataclass(frozen=True)
class Planner:
    """Resolves a runbook against an inventory; pure, and raises InvalidInput with every fault."""

    inventory: Inventory
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None  # the local snapshot
    judges: frozenset[str] = frozenset()

    def plan(
        self,
        runbook: Runbook,
        *,
        undo: Undo | None = None,
        known: frozenset[str] = frozenset(),
    ) -> Plan:
        """`undo` yields the steps that a phase with `undo: true` stands for; `known` names the
        values that the run has already."""
        facts = {**inventory_facts(self.inventory), **self.facts}
        steps: list[PlannedStep] = []
        faults: list[Fault] = []
        for phase in runbook.phases:
            if phase.undo and undo:
                steps.extend(undo(phase.title))
            elif phase.undo:
                faults.append(
                    Fault("only `drctl rollback` has a run to roll back", path=runbook.runbook)
                )
            for step in phase.steps:
                try:
                    steps.extend(self._resolve(phase, step, facts))
                except InvalidInput as error:
                    faults.append(Fault(str(error), path=f"{runbook.runbook}: {step.id}"))
        faults.extend(self._undefined(runbook, steps, known))
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
            owns=tuple(
                sorted({h for step in steps for h in step.tasks} - {*self.inventory.abandoned})
            ),
            parallel=self.inventory.parallel,
            work_dirs={name: host.work_dir for name, host in self.inventory.hosts.items()},
        )

    @property
    def _secrets(self) -> Mapping[str, str]:
        """Name -> seal of what the operator keeps out of every record."""
        found: Mapping[str, str] = self.options.get("secrets", {})
        return found

    def _meaning(self, steps: list[PlannedStep]) -> dict[str, str]:
        meaning = dict(self.inventory.meaning())
        if snapshot := self.facts.get("snapshot"):
            meaning["snapshot.sha256"] = snapshot["sha256"]
        for tool, sent in self.facts.get("tools", {}).items():
            meaning[f"{tool}.sha256"] = sent["sha256"]
        meaning |= _meaning_of_files(self.facts)
        meaning |= {f"secret.{name}": sealed for name, sealed in self._secrets.items()}
        changes = [step for step in steps if step.kind == "act"]
        meaning["steps"] = " ".join(step.id for step in changes)
        for step in changes:
            meaning[f"steps.{step.id}"] = f"{step.action} on {' '.join(step.hosts)}"
        parts = {part for step in steps for task in step.tasks.values() for part in task.parts}
        meaning |= {f"{TEMPLATE}{part}": template_digest(part) for part in parts}
        return meaning

    def _resolve(self, phase: Phase, step: Step, facts: Mapping[str, Any]) -> Iterator[PlannedStep]:
        if step.confirm is not None:
            yield self._step(phase, step, text=step.confirm)
            return
        service = self._service(step)
        hosts = self._hosts(step, service)
        if not hosts and step.optional:
            return
        if not hosts:
            raise InvalidInput("no host to run on", hint="fix `groups`, or set `optional: true`")
        template = self._template(step, service)
        tasks = {host: self._task(template, host, service, step, facts) for host in hosts}
        about: dict[str, Any] = {}
        if service:
            about = {
                "service": service.name,
                "want": step.want,
                "role": service.role,
                "resource": f"service {service.name}",
                "at_once": RESTARTS_AT_ONCE if step.want == "restarted" else 0,
                "strategy": service.start if step.want in ("running", "restarted") else "together",
            }
        elif not step.gather:
            role = step.role or ROLES.get(template, "")
            about = {"role": role, "resource": template.split("/")[0]}
        yield self._step(phase, step, template=template, tasks=tasks, **about)

    @staticmethod
    def _step(phase: Phase, step: Step, **more: Any) -> PlannedStep:
        planned = PlannedStep(
            id=step.id,
            phase=phase.title,
            title=step.title,
            verb=step.verb,
            judges=step.judge,
            yields=step.yields,
            tolerate=step.tolerate == "unreachable",
            each_session=step.each_session,
            regardless=step.regardless,
            repeatable=step.repeatable,
            patience=step.patience,
            deadline=step.deadline,
            rate=step.rate,
            last=step.last or "",
            **more,
        )
        return planned if planned.title else replace(planned, title=planned.action)

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
    def _template(step: Step, service: Service | None) -> str:
        if service:
            return f"service/{step.want}"
        return step.gather or step.run or UPLOADS[str(step.upload)]

    def _task(
        self,
        template: str,
        host: str,
        service: Service | None,
        step: Step,
        facts: Mapping[str, Any],
    ) -> Task:
        context = self._context(host, service, facts)
        if unknown := set(step.judge) - self.judges:
            known = ", ".join(sorted(self.judges))
            raise InvalidInput(f"no such judge: {', '.join(unknown)}; known: {known}")
        if step.gather:
            names = _Names(facts.get("tools", {}), self._secrets)
            return names.task(render_script(template, None, **names.given(), **context))
        tools = facts.get("tools", {})
        task = _action_task(template, context, _Names(tools, self._secrets))
        if step.upload:
            sources = self._sources(step.upload, host, facts)
            task = replace(task, sources={**task.sources, **sources})
        if has_template(f"{template}/undo/act.sh"):
            names = _Names(tools, self._secrets)
            undo = _action_task(f"{template}/undo", context, names)
            task = replace(task, undo=replace(undo, seen_of=step.id))
        return task

    def _sources(self, upload: str, host: str, facts: Mapping[str, Any]) -> dict[str, str]:
        """What `upload` sends to `host`, as in `Task.sources`."""
        if upload == "installation":
            files = facts["prepare"]["hosts"][host]["files"]
            return {f"seen target_{file['name']}": file["source"] for file in files}
        if upload == "sample":
            return {"seen target": sample()["path"]}
        return {"seen target": self.source} if self.source else {}

    def _context(
        self, host: str, service: Service | None, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            **host_context(self.inventory, host),
            "service": service,
            "units": service.units if service else (),
            "snapshot": facts.get("snapshot", {}),
            "sample": sample(),
            "proven_revision": facts.get("proven_revision"),
            **installed(facts, host),
        }

    def _undefined(
        self, runbook: Runbook, steps: list[PlannedStep], known_before: frozenset[str]
    ) -> Iterator[Fault]:
        """Values that nothing yields before their use, or that come from two sides."""
        given = dict.fromkeys(self.options.get("vars", {}), "--var")
        given |= dict.fromkeys(self._secrets, "--secret")
        for name in sorted(given.keys() & set(runbook.values)):
            what = f"{given[name]} {name}: the runbook generates this value"
            yield Fault(what, path=runbook.runbook)
        known = set(runbook.values) | given.keys() | known_before
        for step in steps:
            wanted = {
                source.removeprefix("value ")
                for task in step.tasks.values()
                for source in task.env.values()
                if source.startswith("value ")
            }
            wanted |= {step.last} - {""}
            if not step.undoes:  # a run's own steps have their values already
                for name in sorted(wanted - known):
                    yield Fault(
                        f"uses the value {name!r}, which no earlier step yields",
                        path=f"{runbook.runbook}: {step.id}",
                    )
            known |= set(step.yields)


def installed(facts: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What is installed on `host`, for its templates; nothing where it is not to be prepared."""
    prepare = facts.get("prepare") or {"hosts": {}}
    if host not in prepare["hosts"]:
        return {}
    return {**prepare["hosts"][host], "flags": prepare["flags"]}


def _action_task(action: str, context: Mapping[str, Any], names: _Names) -> Task:
    observe, act = (
        render_script(f"{action}/{part}", None, **names.given(), **context)
        for part in ("observe", "act")
    )
    return names.task(observe, act)


def host_context(inventory: Inventory, host: str) -> dict[str, Any]:
    """What every template may know of the host it is for."""
    members = {m.host: m for m in inventory.members}
    return {
        "host": inventory.hosts[host],
        "kubernetes": inventory.kubernetes[host],
        "member": members.get(host),
        "members": inventory.members,
        "reach": reach(inventory.members),
        "abandoned_members": inventory.abandoned_members,
        "services": [s for s in inventory.services.values() if host in s.hosts],
        "etcd_unit": inventory.services["etcd"].units[0],
        "settle": inventory.settle_seconds,
        "client_ports": client_ports(inventory),
    }


def _meaning_of_files(facts: Mapping[str, Any]) -> dict[str, str]:
    """What is installed where, by the files' digests."""
    prepare = facts.get("prepare") or {"hosts": {}, "flags": {}}
    meaning = {f"prepare.flags.{name}": value for name, value in prepare["flags"].items()}
    for host, what in prepare["hosts"].items():
        for file in what["files"]:
            meaning[f"prepare.{host}.{file['path']}"] = file["sha256"]
    return meaning
