"""The one place where the parts are put together: what each command does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl import __version__, etcd, kube
from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.errors import UsageError
from drctl.inventory import Inventory, load_inventory
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store, operator
from drctl.nodes.catch_up import PlanOf, began, learn
from drctl.nodes.comparison import refuse_if_followed
from drctl.plan.model import Plan, PlannedStep, drift
from drctl.plan.runbook import Runbook, load_runbook, shipped_runbooks
from drctl.plan.secrets import HidingTransport, Secrets, hider
from drctl.runs.leftovers import give_back
from drctl.runs.readback import refuse_given_twice, refuse_unreadable, refuse_unreadable_beginning
from drctl.runs.rundata import (
    accept_or_refuse,
    begin,
    drifted,
    explained,
    manifest,
    new_run_id,
    planner,
    prepare_facts,
    prepare_facts_again,
    record,
    refuse_if_unfinished,
    refuse_unless_resumable,
    refuse_unless_returnable,
    snapshot_facts,
    snapshot_now,
)
from drctl.runs.seals import sealed, sealed_anew
from drctl.runs.stray_copies import swept
from drctl.runs.undo import clean_plan, rollback_plan
from drctl.ssh import SshTransport
from drctl.transport import Transport
from drctl.ui.console import Watch
from drctl.ui.prompts import question
from drctl.verdict import Judge

JUDGES: dict[str, Judge] = {**etcd.JUDGES, **kube.JUDGES}
Ask = Callable[[str, str], str | None]
"""Show a text and ask for the words that mean yes; how it was answered, or None for no."""


def connect(inventory: Inventory) -> Transport:
    return SshTransport(inventory.hosts, known_hosts=inventory.known_hosts)


@dataclass(frozen=True)
class App:
    """What is the same for all commands of one invocation."""

    state_dir: Path
    ask: Ask
    quiet: bool = False
    secrets: Secrets = field(default_factory=Secrets)
    transport: Callable[[Inventory], Transport] = connect
    parallel: int = 8
    sleep: Callable[[float], None] = time.sleep
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def store(self) -> Store:
        return Store(self.state_dir)

    # -- planning ---------------------------------------------------------------------------

    def plan(
        self,
        inventory: Inventory,
        runbook: Runbook,
        *,
        snapshot: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        prepare: Mapping[str, Any] | None = None,
    ) -> Plan:
        """`prepare` are the facts of what is to be installed; by default they are read anew."""
        if prepare is None:
            prepare = prepare_facts(inventory, runbook)
        return planner(inventory, snapshot, options or {}, prepare, JUDGES).plan(runbook)

    # -- runs that change something ---------------------------------------------------------

    def restore(
        self,
        inventory_path: Path,
        runbook: str,
        snapshot: Path | None,
        *,
        resume: str | None = None,
        options: Mapping[str, Any] | None = None,
        accept_drift: tuple[str, ...] = (),
    ) -> tuple[Plan, RunState]:
        """A new run, or with `resume` (a run's id, or "" for the latest) an unfinished one."""
        inventory = load_inventory(inventory_path)
        with self.store.lock(inventory.cluster, operator()):
            if resume is None:
                plan, journal = self._new_run(inventory, runbook, snapshot, options or {})
            else:
                plan, journal = self._resumed(inventory, resume, snapshot, accept_drift)
            with (
                closing(journal),
                explained(lambda: fold(journal.events)),
                closing(self.transport(inventory)) as transport,
            ):
                run = fold(journal.events).run
                give_back(self.store, inventory, transport, operator(), but=run)
                if resume is not None:
                    self.learn(transport, inventory, journal, plan, accept_drift=accept_drift)
                    refuse_unless_resumable(fold(journal.events))
                    refuse_if_followed(fold(journal.events))
                return plan, self.execute(transport, plan, journal, "forward", "done")

    def _new_run(
        self, inventory: Inventory, runbook: str, snapshot: Path | None, options: Mapping[str, Any]
    ) -> tuple[Plan, Journal]:
        refuse_if_unfinished(self.latest(inventory.cluster, changed=True))
        facts = snapshot_facts(snapshot) if snapshot else None
        book = load_runbook(runbook)
        if runbook not in shipped_runbooks():
            runbook = str(Path(runbook).absolute())  # a resume may be typed in another folder
        options = sealed(self.store, self.secrets, options)
        plan = self.plan(inventory, book, snapshot=facts, options=options)
        run = new_run_id()
        names = {"run": run, "runbook": runbook, "inventory": str(inventory.path)}
        refuse_given_twice(plan)
        refuse_unreadable_beginning(plan, operator(), **names)
        journal = self.store.create(inventory.cluster, run)
        begin(journal, plan, **names)
        return plan, journal

    def _resumed(
        self,
        inventory: Inventory,
        resume: str,
        snapshot: Path | None,
        accept_drift: tuple[str, ...],
    ) -> tuple[Plan, Journal]:
        run = resume or self._latest_unfinished(inventory.cluster)
        journal = self.store.open(inventory.cluster, run)
        try:
            state = fold(journal.events)
            with explained(lambda: state):
                refuse_unless_resumable(state)
                plan = self._same_plan(inventory, state, snapshot, accept_drift, journal)
        except BaseException:
            journal.close()
            raise
        return plan, journal

    def _latest_unfinished(self, cluster: str) -> str:
        latest = self.latest(cluster)
        if latest is None or not latest.unfinished:
            raise UsageError(f"no run of {cluster} is unfinished", hint="drctl runs list")
        return latest.run

    def _same_plan(
        self,
        inventory: Inventory,
        state: RunState,
        snapshot: Path | None,
        accept_drift: tuple[str, ...],
        journal: Journal,
    ) -> Plan:
        """The run's plan, made anew; raises Drifted where it no longer means the same."""
        facts = state.plan["facts"].get("snapshot")
        if facts:
            facts = {**facts, **snapshot_now(state, snapshot)}
        book = load_runbook(state.runbook)
        again = sealed_anew(self.store, self.secrets, state)
        options = {**again, "accept_drift": [*accept_drift]}
        prepare = prepare_facts_again(inventory, book, state)
        plan = self.plan(inventory, book, snapshot=facts, options=options, prepare=prepare)
        accept_or_refuse(journal, state, plan, accept_drift)
        return plan

    def learn(
        self, transport: Transport, inventory: Inventory, journal: Journal, plan: Plan, **how: Any
    ) -> None:
        """Journal what the nodes know beyond the journal; a tail may be lost. `without` and
        `accept_drift` as in a rollback."""
        plan_of = self.plan_of(inventory, plan)
        learn(transport, journal, plan, plan_of, how, parallel=self.parallel)

    def plan_of(self, inventory: Inventory, forward: Plan, **options: Any) -> PlanOf:
        """Makes the plan that takes `forward` back (`rollback_plan`), or removes what it kept."""

        def plan(direction: str, state: RunState) -> Plan:
            facts, prepare = (forward.facts.get(name) for name in ("snapshot", "prepare"))
            again = planner(inventory, facts, forward.options, prepare or {}, JUDGES)
            if direction == "clean":
                return clean_plan(again, state)
            return rollback_plan(again, forward, state, **options)

        return plan

    def rollback(
        self, inventory_path: Path, run: str | None, **options: Any
    ) -> tuple[Plan, RunState]:
        """Take a run back, by default the latest of the inventory's cluster, with the options of
        `rollback_plan`. Without `lose_writes` it refuses where that would lose writes."""
        inventory = load_inventory(inventory_path)
        with self.store.lock(inventory.cluster, operator()):
            chosen = run or self._to_take_back(inventory)
            with (
                closing(self.store.open(inventory.cluster, chosen)) as journal,
                explained(lambda: fold(journal.events)),
            ):
                forward = self.forward_plan(inventory, fold(journal.events), **options)
                with closing(self.transport(inventory)) as transport:
                    give_back(self.store, inventory, transport, operator(), but=chosen)
                    self.learn(transport, inventory, journal, forward, **options)
                    refuse_unless_returnable(fold(journal.events))
                    refuse_if_followed(fold(journal.events))
                    plan_of = self.plan_of(inventory, forward, **options)
                    plan = plan_of("undo", fold(journal.events))
                    return plan, self.execute(transport, plan, journal, "undo", "rolled-back")

    def _to_take_back(self, inventory: Inventory) -> str:
        """The latest run that changed anything, by its journal or by what the nodes say."""
        newest, latest = (self.latest(inventory.cluster, changed=c) for c in (False, True))
        if newest and not newest.changed:  # by its journal; but that may have lost its tail
            with closing(self.transport(inventory)) as transport:
                latest = newest if began(transport, inventory, newest.run) else latest
        if latest is None:
            nothing = f"no run has changed anything of {inventory.cluster}"
            raise UsageError(nothing, hint="drctl runs list")
        return latest.run

    def forward_plan(self, inventory: Inventory, state: RunState, **options: Any) -> Plan:
        """The plan that is to be taken back; raises Drifted where it is no longer the same."""
        if state.state == "rolled-back" and not state.left_out:
            raise UsageError(f"run {state.run} is rolled back already", hint="drctl runs list")
        facts, prepare = (state.plan["facts"].get(name) for name in ("snapshot", "prepare"))
        book = load_runbook(state.runbook)
        recorded = sealed_anew(self.store, self.secrets, state, undo=True)
        known = {"snapshot": facts, "prepare": prepare or {}}
        forward = self.plan(inventory, book, options=recorded, **known)
        if changed := drift(state.plan["meaning"], forward.meaning, options["accept_drift"]):
            raise drifted(state.run, changed, "a rollback needs the run's inventory and runbook")
        return forward

    def execute(
        self, transport: Transport, plan: Plan, journal: Journal, direction: str, done: str
    ) -> RunState:
        """A session of its own over what `plan` leaves to do; raises the error that ended it."""
        state = fold(journal.events)
        refuse_unreadable(plan, state, operator())
        journal.append(
            "session",
            epoch=state.epoch + 1,
            direction=direction,
            who=operator(),
            process=os.getpid(),
            drctl=__version__,
            digest=plan.digest,
            steps=plan.outline(),
            **({"without": list(without)} if (without := plan.options.get("without")) else {}),
        )
        with swept(transport, plan, journal), self._engine(transport, plan, journal) as engine:
            return engine.run(done=done)

    # -- checks: plans of gathers only, journalled in memory ---------------------------------

    def check(self, inventory: Inventory, plan: Plan, **sweeping: Any) -> RunState:
        """Run a plan that changes nothing; raises what its judges refuse. `swept` gets the rest."""
        journal = Journal(None)
        with closing(journal), closing(self.transport(inventory)) as transport:
            begin(journal, plan, run="check", runbook=plan.runbook, inventory=str(inventory.path))
            looked = swept(transport, plan, journal, **{"remove": False, **sweeping})
            with looked, self._engine(transport, plan, journal) as engine:
                return engine.run()

    @contextmanager
    def _engine(self, transport: Transport, plan: Plan, journal: Journal) -> Iterator[Engine]:
        state = fold(journal.events)
        watch = Watch(plan, quiet=self.quiet)
        transport = HidingTransport(transport, hider(self.secrets.given))
        journal.subscribe(watch)
        jobs = Jobs(
            transport,
            run=state.run,
            epoch=state.epoch,
            who=operator(),
            direction=state.direction,
            journal=state.journal,
            head=lambda: journal.head,
            work_dirs=plan.work_dirs,
            sleep=self.sleep,
        )

        def confirm(step: PlannedStep, so_far: RunState) -> str | None:
            watch.pause()
            answer = self.ask(*question(plan, step, so_far))
            watch.__enter__()
            return answer

        for host, why in state.compared.get("differ", {}).items():
            watch.say(f"warning: {host}: {why}", "yellow")
        with watch:
            session = Session(
                plan=plan,
                transport=transport,
                journal=journal,
                jobs=jobs,
                manifest=lambda so_far: manifest(plan, so_far, operator()),
                record=lambda so_far, ended: record(plan, so_far, ended, operator()),
                listener=watch,
                stop=self.stop,
                parallel=self.parallel,
                secrets=self.secrets.given,
                sleep=self.sleep,
            )
            yield Engine(session, JUDGES, confirm)

    # -- what was done ----------------------------------------------------------------------

    def latest(self, cluster: str, *, changed: bool = False) -> RunState | None:
        """The latest run, or with `changed` the latest that meant to change any node."""
        states = (self.store.state(*pair) for pair in reversed(self.store.runs(cluster)))
        return next((state for state in states if state.changed or not changed), None)
