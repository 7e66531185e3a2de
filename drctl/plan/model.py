"""The plan: every script of every step on every host, known before anything runs.

Plain data. `drctl.plan.planner` makes it; the engine runs it; a dry run prints it. `DRCTL_RUN`,
`DRCTL_WORK` and `DRCTL_HOST` are always there as shell variables; what else a script needs at run
time stands in `Task.env` with where it comes from, so the bytes that a dry run prints are the
bytes that a run executes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from drctl.transport import Script

Verb = Literal["gather", "service", "upload", "run", "confirm"]
StepKind = Literal["gather", "act", "confirm"]
Role = Literal["", "store", "client", "exchange", "install", "try", "untry"]
"""What a step is about, for the cluster: the service that holds its data (`store`) or one that
writes to it (`client`), other data put in the place of the store's (`exchange`), programs put on
blank hosts (`install`), or things of no worth made on hosts and removed again (`try`, `untry`). How
a run has left the cluster is derived from these, not from names."""
Strategy = Literal["together", "one-by-one", "first-alone"]
"""In which order a step goes over its hosts: all at once, one after the other, or the first alone,
to prove that it can be done, and then the others at once."""
TEMPLATE = "template."
"""So begins the name of the part of a plan's meaning that is a template's text."""
ALWAYS = ("DRCTL_RUN", "DRCTL_WORK", "DRCTL_HOST")


@dataclass(frozen=True)
class Task:
    """What one step does on one host. `env` maps a shell variable to its source: `value NAME`,
    `secret NAME` or `seen NAME`. `sources` are local files that are sent beforehand, by where they
    go: `seen NAME`, the path observed under that name (where it tells none, nothing is sent), or
    `run PATH`, below the run's own folder on the host; for a gather, below one of its own.
    DRCTL_SENT names that folder."""

    observe: Script | None = None
    act: Script | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    seen_of: str = ""  # the step whose first observation answers `seen`; "" = this step
    undo: Task | None = None

    @property
    def parts(self) -> frozenset[str]:
        """Every template that its scripts, or those of its undo, are made of."""
        scripts = [script for script in (self.observe, self.act) if script]
        own = {part for script in scripts for part in script.parts}
        return frozenset(own) | (self.undo.parts if self.undo else frozenset())


@dataclass(frozen=True)
class PlannedStep:
    """One step, resolved: the runbook's verb, the template (or folder of templates) that its
    scripts come from, and what it is about. Seconds for `deadline` and `patience`."""

    id: str
    phase: str
    title: str
    verb: Verb
    template: str = ""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    service: str = ""  # with `want`: the state in which this service shall be
    want: str = ""
    role: Role = ""
    undoes: str = ""  # the id of the step that this one undoes
    resource: str = ""  # steps on one resource supersede each other: the last one describes it
    judges: tuple[str, ...] = ()
    yields: tuple[str, ...] = ()
    text: str = ""
    tolerate: bool = False
    each_session: bool = False
    regardless: bool = False  # of a refusal before it: all of them are told at once
    strategy: Strategy = "together"
    at_once: int = 0  # hosts at the same time, at most; 0: as many as the session allows
    last: str = ""  # the value that names the hosts which come last, one at a time
    repeatable: bool = False
    rate: float | None = None  # MB (1e6 bytes) per second that each host is sent, at most
    patience: float = 0.0
    deadline: float = 300.0

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    @property
    def kind(self) -> StepKind:
        """What the engine does with it: look, change, or ask."""
        match self.verb:
            case "gather" | "confirm":
                return self.verb
            case _:
                return "act"

    @property
    def action(self) -> str:
        """What it does, in two words for people; nothing is derived from them."""
        words = f"{self.service} {self.want}" if self.service else self.template or self.verb
        return f"undo {words}" if self.undoes else words


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
    parallel: int | None = None  # hosts that are worked on at once, if the inventory says so
    owns: tuple[str, ...] = ()  # hosts that a run claims, sorted: the same order for everybody

    @property
    def digest(self) -> str:
        """sha256 of the plan's meaning; two plans that mean the same have the same digest."""
        return meaning_digest(self.meaning)

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
        steps = [{**asdict(step), "kind": step.kind} for step in self.steps]
        return {**asdict(replace(self, steps=())), "steps": steps, "digest": self.digest}

    def outline(self) -> list[dict[str, Any]]:
        """Its steps by name, without their scripts: what a reader of the journal needs to know of
        a session whose plan is not the run's own, as a rollback's."""
        names = ("id", "phase", "title", "kind", "judges", "hosts", "undoes")
        return [{name: getattr(step, name) for name in names} for step in self.steps]


def meaning_digest(meaning: Mapping[str, str]) -> str:
    """sha256 of a plan's meaning."""
    return hashlib.sha256(json.dumps(dict(meaning), sort_keys=True).encode()).hexdigest()


def undo_steps(
    forward: Plan, begun: Mapping[str, frozenset[str]], phase: str
) -> Iterator[PlannedStep]:
    """The steps that take `forward` back, last one first. `begun` maps a step's id to the hosts
    on which a change was intended; steps whose action leaves nothing behind have no undo. What was
    done twice is undone once: the first step saw how it was."""
    first: dict[tuple[str, str, str], str] = {}
    for step in forward.steps:
        for host in step.tasks:
            if host in begun.get(step.id, frozenset()):
                first.setdefault((step.resource, step.action, host), step.id)
    for step in reversed(forward.steps):
        tasks = {
            host: task.undo
            for host, task in step.tasks.items()
            if task.undo and first.get((step.resource, step.action, host)) == step.id
        }
        if tasks:
            yield replace(
                step,
                id=f"undo-{step.id}",
                phase=phase,
                title=f"roll back: {step.title}",
                undoes=step.id,
                resource=f"undo {step.resource}",
                tasks=tasks,
                strategy="together",
                last="",
                each_session=False,
            )


def drift(
    recorded: Mapping[str, str], current: Mapping[str, str], accepted: Collection[str] = ()
) -> dict[str, tuple[str, str]]:
    """Field -> (then, now) for everything in which two plans' meanings differ."""
    return {
        name: (recorded.get(name, "(absent)"), current.get(name, "(absent)"))
        for name in sorted({*recorded, *current})
        if recorded.get(name) != current.get(name) and name not in accepted
    }
