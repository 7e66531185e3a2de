"""Runs of the real engine over the simulated cluster, killed at a chosen moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.app import JUDGES
from drctl.engine import Engine
from drctl.inventory import Inventory
from drctl.jobs import Jobs
from drctl.journal import Journal
from drctl.plan import Plan
from drctl.planner import Planner
from drctl.runbook import load_runbook
from drctl.rundata import begin, manifest, rollback_plan
from drctl.runstate import Event, RunState, fold
from drctl.session import Session
from drctl.transport import CommandResult, Script
from tests.model.installation import NAMES, made_up_installation
from tests.model.simulation import SimulatedCluster

RUN = "20261123-000000-sim"


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

    def session(
        self,
        *,
        fatal: int | None = None,
        undo: bool = False,
        look: Callable[[str], None] = lambda _: None,
    ) -> RunState | None:
        """One controller's life; None when it was killed at moment `fatal`. `look` is called at
        each moment."""
        moments = Moments(fatal, look=look)
        self.journal.moments = self.cluster.moments = moments
        try:
            return self._live(undo)
        except Killed:
            return None
        finally:
            self.moments = moments
            self.journal.moments = self.cluster.moments = Moments()

    def _live(self, undo: bool) -> RunState:
        state = fold(self.journal.events)
        plan = rollback_plan(self.planner, self.plan, state) if undo else self.plan
        epoch = state.epoch + 1
        self.journal.append("session", epoch=epoch, direction="undo" if undo else "forward")
        jobs = Jobs(
            self.cluster,
            run=RUN,
            epoch=epoch,
            who="model",
            work_dirs=plan.work_dirs,
            sleep=lambda _: None,
        )
        session = Session(
            plan=plan,
            transport=self.cluster,
            journal=self.journal,
            jobs=jobs,
            manifest=lambda state: manifest(plan, state, "model"),
            parallel=1,
            sleep=lambda _: None,
        )
        engine = Engine(session, JUDGES, lambda _step, _state: "model")
        return engine.run(done="rolled-back" if undo else "done")

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {name: node.condition() for name, node in self.cluster.nodes.items()}


def moments_of(world: World, **kwargs: Any) -> Iterator[tuple[int, str]]:
    """Every moment of an undisturbed session of `world`."""
    assert world.session(**kwargs) is not None
    return enumerate(world.moments.names)


INVENTORY = Path(__file__).parent / "sim.yaml"
BLANK = Path(__file__).parent / "sim-blank.yaml"
