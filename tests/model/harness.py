"""Runs of the real engine over the simulated cluster, killed at a chosen moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.inventory import Inventory
from drctl.journal.chain import Journal, now
from drctl.journal.runstate import Event, RunState, fold
from drctl.nodes.agreement import agreed_manifest, newest_epoch
from drctl.nodes.catch_up import learn, needed_hosts, take_over
from drctl.nodes.comparison import compare, refuse_if_followed
from drctl.nodes.records import NodeRecord, read_nodes
from drctl.plan.model import Plan
from drctl.plan.planner import Planner
from drctl.plan.runbook import load_runbook
from drctl.runs.beginning import begin, begin_adopted
from drctl.runs.judges import JUDGES
from drctl.runs.left_on_nodes import manifest, record
from drctl.runs.undo import clean_plan, rollback_plan
from drctl.transport import CommandResult, Script
from tests.model.installation import NAMES, made_up_installation
from tests.model.simulation import SimulatedCluster

RUN = "20261123-000000-51a51a"
ENDS = {"forward": "done", "undo": "rolled-back", "clean": "cleaned"}


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Killed(BaseException):
    """kill -9: nothing of the controller runs after it."""


@dataclass
class Moments:
    """Counts the moments at which a controller can be killed, and kills at number `fatal`."""

    fatal: int | None = None
    names: list[str] = field(default_factory=list)
    look: Callable[[str], None] = lambda _: None

    def pass_by(self, name: str) -> None:
        self.names.append(name)
        self.look(name)
        if len(self.names) - 1 == self.fatal:
            raise Killed(name)


class MortalJournal(Journal):
    """A journal whose controller may die just after each record.

    Together with the moments after each effect these are all distinct ones: just before a record
    the disk and the nodes are as they were after the record or the effect before it.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self.moments = Moments()

    @classmethod
    def of(cls, events: Sequence[Event]) -> MortalJournal:
        """The very same events, hash for hash."""
        at = iter([event.when for event in events])
        journal = cls()
        journal._clock = lambda: next(at)
        for event in events:
            journal.append(event.kind, **event.body)
        journal._clock = now
        return journal

    def append(self, kind: str, **body: Any) -> Event:
        where = f"{kind} {body.get('step', '')} {body.get('host', '')}".strip()
        event = super().append(kind, **body)
        self.moments.pass_by(f"after {where}")
        return event


class MortalTransport(SimulatedCluster):
    """Nodes on which an effect may be the last thing that the controller caused."""

    moments = Moments()

    def run(self, host: str, script: Script, *args: Any, **kwargs: Any) -> CommandResult:
        result = super().run(host, script, *args, **kwargs)
        if script.name in ("job/start", "job/claim", "job/release"):
            self.moments.pass_by(f"after the effect of {script.name} on {host}")
        return result

    def upload(self, host: str, *args: Any, **kwargs: Any) -> None:
        super().upload(host, *args, **kwargs)
        self.moments.pass_by(f"after the upload to {host}")


@dataclass
class World:
    """One cluster, one run of one runbook, and as many sessions as it takes."""

    inventory: Inventory
    planner: Planner
    plan: Plan
    cluster: MortalTransport
    journal: MortalJournal
    lose_writes: bool = False  # what the operator says to a rollback
    run: str = RUN

    @classmethod
    def fresh(cls, inventory: Inventory, runbook: str, snapshot: dict[str, Any]) -> World:
        folder = Path(snapshot["path"]).parent
        for name in NAMES:
            (folder / name).touch()
        prepare = made_up_installation(inventory, str(folder))
        planner = Planner(
            inventory=inventory,
            facts={"snapshot": snapshot, "prepare": prepare},
            options={"replace_healthy": inventory.prepare is None},
            source=snapshot["path"],
            judges=frozenset(JUDGES),
        )
        plan = planner.plan(load_runbook(runbook))
        return cls.of(inventory, planner, plan)

    @classmethod
    def of(cls, inventory: Inventory, planner: Planner, plan: Plan) -> World:
        cluster = MortalTransport(inventory, plan.facts["snapshot"]["sha256"])
        if inventory.prepare:
            cluster.empty()
        journal = MortalJournal()
        begin(journal, plan, run=RUN, runbook=plan.runbook, inventory="sim.yaml")
        return cls(inventory, planner, plan, cluster, journal)

    def again(self) -> World:
        """The same plan on untouched nodes."""
        return World.of(self.inventory, self.planner, self.plan)

    def other(self, run: str) -> World:
        """Another operator's run of the same plan, on the same nodes."""
        journal = MortalJournal()
        begin(journal, self.plan, run=run, runbook=self.plan.runbook, inventory="sim.yaml")
        return replace(self, journal=journal, run=run)

    def lose(self, events: int) -> None:
        """The journal keeps its first `events` events and loses its tail."""
        self.journal = MortalJournal.of(self.journal.events[:events])

    def adopt(self) -> None:
        """The controller's machine is gone: another one rebuilds the journal from the nodes."""
        nodes = self.records()
        manifest = agreed_manifest(RUN, nodes, needed_hosts(self.plan))
        assert manifest, "no node knows of the run"
        self.journal = MortalJournal()
        histories = {host: node.history for host, node in nodes.items()}
        before = {
            "journal": manifest.journal,
            "epoch": newest_epoch(nodes),
            "lines": {host: history.last for host, history in histories.items()},
        }
        begin_adopted(
            self.journal,
            self.plan,
            manifest,
            runbook=manifest.runbook,
            inventory="sim.yaml",
            adopted=before,
        )
        take_over(self.journal, nodes, self.plan, self._plan_of)
        compare(self.journal, histories, {})

    def records(self) -> dict[str, NodeRecord]:
        work_dirs = {host: self.plan.work_dirs[host] for host in self.plan.owns}
        found = read_nodes(self.cluster, work_dirs, RUN)
        assert not found.unbelieved
        return dict(found.nodes)

    def _plan_of(self, direction: str, state: RunState) -> Plan:
        if direction == "clean":
            return clean_plan(self.planner, state)
        return rollback_plan(self.planner, self.plan, state, lose_writes=self.lose_writes)

    def session(
        self,
        *,
        fatal: int | None = None,
        undo: bool = False,
        clean: bool = False,
        look: Callable[[str], None] = lambda _: None,
    ) -> RunState | None:
        """One controller's life; None when it was killed at moment `fatal`. `look` is called at
        each moment."""
        moments = Moments(fatal, look=look)
        self.journal.moments = self.cluster.moments = moments
        try:
            return self._live("undo" if undo else "clean" if clean else "forward")
        except Killed:
            return None
        finally:
            self.moments = moments
            self.journal.moments = self.cluster.moments = Moments()

    def _live(self, direction: str) -> RunState:
        if any(node.papers for node in self.cluster.nodes.values()):  # not a new run
            learn(self.cluster, self.journal, self.plan, self._plan_of, parallel=1)
            if direction != "clean":
                refuse_if_followed(fold(self.journal.events))
        state = fold(self.journal.events)
        plan = self.plan if direction == "forward" else self._plan_of(direction, state)
        epoch = state.epoch + 1
        self.journal.append("session", epoch=epoch, direction=direction, steps=plan.outline())
        jobs = Jobs(
            self.cluster,
            run=self.run,
            epoch=epoch,
            who="model",
            direction=direction,
            journal=state.journal,
            head=lambda: self.journal.head,
            work_dirs=plan.work_dirs,
            sleep=lambda _: None,
        )
        clock = Clock()
        session = Session(
            plan=plan,
            transport=self.cluster,
            journal=self.journal,
            jobs=jobs,
            manifest=lambda state: manifest(plan, state, "model"),
            record=lambda state, ended: record(plan, state, ended, "model"),
            parallel=1,
            sleep=clock.sleep,
            clock=clock,
        )
        engine = Engine(session, JUDGES, lambda _step, _state: "model")
        return engine.run(done=ENDS[direction])

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {name: node.condition() for name, node in self.cluster.nodes.items()}


INVENTORY = Path(__file__).parent / "sim.yaml"
BLANK = Path(__file__).parent / "sim-blank.yaml"
