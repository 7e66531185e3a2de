"""The one place where the parts are put together: what each command does."""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drctl import __version__, etcd, kube
from drctl.console import Watch
from drctl.engine import Engine
from drctl.errors import Refused, UsageError
from drctl.etcd.snapshot import inspect_snapshot
from drctl.inventory import Inventory, load_inventory
from drctl.jobs import Jobs
from drctl.journal import Journal
from drctl.plan import Plan, PlannedStep, drift
from drctl.planner import Planner
from drctl.report import restore_summary, rollback_summary
from drctl.runbook import Runbook, load_runbook, shipped_runbooks
from drctl.rundata import (
    begin,
    drifted,
    explained,
    manifest,
    new_run_id,
    prepare_facts,
    prepare_facts_again,
    rollback_plan,
    say_what_to_type,
    sending_steps,
    snapshot_facts,
    tool_facts,
)
from drctl.runstate import RunState, fold
from drctl.session import Session
from drctl.ssh import SshTransport
from drctl.store import Store
from drctl.transport import Transport
from drctl.verdict import Judge

JUDGES: dict[str, Judge] = {**etcd.JUDGES, **kube.JUDGES}
SUMMARIES: dict[str, Callable[[Plan, RunState], str]] = {
    "restore-summary": restore_summary,
    "rollback-summary": rollback_summary,
}
Ask = Callable[[str, str], str | None]
"""Show a text and ask for the cluster's name; how it was answered, or None for no."""


def connect(inventory: Inventory) -> Transport:
    return SshTransport(inventory.hosts, known_hosts=inventory.known_hosts)


def operator() -> str:
    """user@machine, for locks and journals."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@dataclass(frozen=True)
class App:
    """What is the same for all commands of one invocation."""

    state_dir: Path
    ask: Ask
    quiet: bool = False
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
        return self._planner(inventory, snapshot, options or {}, prepare).plan(runbook)

    @staticmethod
    def _planner(
        inventory: Inventory,
        snapshot: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        prepare: Mapping[str, Any],
    ) -> Planner:
        facts = {"snapshot": snapshot, "prepare": prepare}
        return Planner(
            inventory=inventory,
            facts={
                **{name: dict(known) for name, known in facts.items() if known},
                **tool_facts(inventory),
            },
            options=options,
            source=snapshot["path"] if snapshot else None,
            judges=frozenset(JUDGES),
        )

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
            with closing(journal):
                return plan, self._execute(inventory, plan, journal, "forward", "done")

    def _new_run(
        self, inventory: Inventory, runbook: str, snapshot: Path | None, options: Mapping[str, Any]
    ) -> tuple[Plan, Journal]:
        self._refuse_if_unfinished(inventory)
        facts = snapshot_facts(snapshot) if snapshot else None
        book = load_runbook(runbook)
        if runbook not in shipped_runbooks():
            runbook = str(Path(runbook).absolute())  # a resume may be typed in another folder
        plan = self.plan(inventory, book, snapshot=facts, options=options)
        run = new_run_id()
        journal = self.store.create(inventory.cluster, run)
        begin(journal, plan, run=run, runbook=runbook, inventory=str(inventory.path))
        return plan, journal

    def _refuse_if_unfinished(self, inventory: Inventory) -> None:
        latest = self.latest(inventory.cluster, changed=True)
        if latest and latest.unfinished:
            error = Refused(
                f"run {latest.run} of {inventory.cluster} is not finished ({latest.state})",
                hint="go on with it or take it back before a new one begins",
            )
            say_what_to_type(error, latest)
            raise error

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
            if not state.unfinished:
                raise UsageError(f"run {run} is {state.state}; there is nothing to resume")
            with explained(lambda: state):
                if state.direction == "undo":
                    raise Refused(f"run {run} is being taken back")
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
            facts = {**facts, **self._snapshot_now(state, snapshot)}
        book = load_runbook(state.runbook)
        options = {**state.plan["options"], "accept_drift": list(accept_drift)}
        prepare = prepare_facts_again(inventory, book, state)
        plan = self.plan(inventory, book, snapshot=facts, options=options, prepare=prepare)
        changed = drift(state.plan["meaning"], plan.meaning)
        refused = {name: pair for name, pair in changed.items() if name not in accept_drift}
        if refused:
            accept = " ".join(f"--accept-drift {name}" for name in refused)
            raise drifted(state.run, refused, f"put it back, or accept it by name: {accept}")
        unknown = [f for f in accept_drift if f not in changed and not f.startswith("machine_id.")]
        if unknown:
            raise UsageError(f"nothing to accept: {', '.join(unknown)} did not change")
        if changed:
            fields = {name: list(pair) for name, pair in changed.items()}
            journal.append("drift-accepted", fields=fields, meaning=plan.meaning)
        return plan

    @staticmethod
    def _snapshot_now(state: RunState, given: Path | None) -> dict[str, Any]:
        """The snapshot's digest as it is now; a file already sent everywhere may be gone."""
        recorded = state.plan["facts"]["snapshot"]["path"]
        path = given or Path(recorded)
        sent = sending_steps(state.plan, recorded)
        if not path.exists() and given is None and all(step in state.steps_done for step in sent):
            return {}
        found = asdict(inspect_snapshot(path))
        return {"path": str(path.absolute()), "sha256": found["sha256"]}

    def rollback(self, inventory_path: Path, run: str | None) -> tuple[Plan, RunState]:
        """Take a run back, by default the latest of the inventory's cluster."""
        inventory = load_inventory(inventory_path)
        with self.store.lock(inventory.cluster, operator()):
            latest = self.latest(inventory.cluster, changed=True)
            if latest is None:
                raise UsageError(
                    f"no run has changed anything of {inventory.cluster}", hint="drctl runs list"
                )
            if run and run != latest.run:
                raise Refused(
                    f"run {run} is not the latest of {inventory.cluster}: "
                    f"{latest.run} came after it",
                    hint=f"drctl runs show {latest.run}",
                )
            with closing(self.store.open(inventory.cluster, latest.run)) as journal:
                with explained(lambda: fold(journal.events)):
                    plan = self._rollback_plan(inventory, fold(journal.events))
                return plan, self._execute(inventory, plan, journal, "undo", "rolled-back")

    def _rollback_plan(self, inventory: Inventory, state: RunState) -> Plan:
        if state.state == "rolled-back":
            raise UsageError(f"run {state.run} is rolled back already")
        facts, prepare = (state.plan["facts"].get(name) for name in ("snapshot", "prepare"))
        book = load_runbook(state.runbook)
        options = state.plan["options"]
        prepare = prepare or {}
        forward = self.plan(inventory, book, snapshot=facts, options=options, prepare=prepare)
        if changed := drift(state.plan["meaning"], forward.meaning):
            raise drifted(state.run, changed, "a rollback needs the run's inventory and runbook")
        planner = self._planner(inventory, facts, options, prepare)
        return rollback_plan(planner, forward, state)

    def _execute(
        self, inventory: Inventory, plan: Plan, journal: Journal, direction: str, done: str
    ) -> RunState:
        state = fold(journal.events)
        journal.append(
            "session",
            epoch=state.epoch + 1,
            direction=direction,
            who=operator(),
            process=os.getpid(),
            drctl=__version__,
            digest=plan.digest,
            steps=plan.outline(),
        )
        engine = self._engine(inventory, plan, journal)
        with explained(lambda: fold(journal.events)), engine as walk:
            return walk.run(done=done)

    # -- checks: plans of gathers only, journalled in memory ---------------------------------

    def check(self, inventory: Inventory, plan: Plan) -> RunState:
        """Run a plan that changes nothing; raises what its judges refuse."""
        journal = Journal(None)
        with closing(journal):
            begin(journal, plan, run="check", runbook=plan.runbook, inventory=str(inventory.path))
            with self._engine(inventory, plan, journal) as engine:
                return engine.run()

    @contextmanager
    def _engine(self, inventory: Inventory, plan: Plan, journal: Journal) -> Iterator[Engine]:
        state = fold(journal.events)
        transport = self.transport(inventory)
        watch = Watch(plan, quiet=self.quiet)
        journal.subscribe(watch)
        jobs = Jobs(
            transport,
            run=state.run,
            epoch=state.epoch,
            who=operator(),
            work_dirs=plan.work_dirs,
            sleep=self.sleep,
        )

        def confirm(step: PlannedStep, so_far: RunState) -> str | None:
            watch.pause()
            summary = SUMMARIES.get(step.text)
            text = summary(plan, so_far) if summary else step.text
            answer = self.ask(text, plan.cluster)
            watch.__enter__()
            return answer

        try:
            with watch:
                session = Session(
                    plan=plan,
                    transport=transport,
                    journal=journal,
                    jobs=jobs,
                    manifest=lambda so_far: manifest(plan, so_far, operator()),
                    listener=watch,
                    stop=self.stop,
                    parallel=self.parallel,
                    sleep=self.sleep,
                )
                yield Engine(session, JUDGES, confirm)
        finally:
            transport.close()

    # -- what was done ----------------------------------------------------------------------

    def latest(self, cluster: str, *, changed: bool = False) -> RunState | None:
        """The latest run, or with `changed` the latest that meant to change any node."""
        states = (self.store.state(*pair) for pair in reversed(self.store.runs(cluster)))
        return next((state for state in states if state.changed or not changed), None)
