"""Many runs over the same nodes, each from a journal of its own, resumed, taken back, cleaned and
killed at any moment: what the nodes remember of them, against what happened.

The runs are real ones in all but length: they look whether anybody else is there, and restart the
kubelets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.errors import DrctlError, Refused, UsageError
from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState, fold
from drctl.nodes.comparison import compare, refuse_if_followed
from drctl.nodes.history import History, read_history
from drctl.nodes.records import ask
from drctl.plan.model import Plan
from drctl.runs.beginning import begin
from drctl.runs.judges import JUDGES
from drctl.runs.refusals import refuse_unless_resumable
from drctl.transport import CommandResult, Script
from tests.model.harness import (
    ENDS,
    INVENTORY,
    Clock,
    Killed,
    Moments,
    MortalJournal,
    MortalTransport,
    World,
)

EXAMPLES, STEPS, RUNS = 100, 18, 3
kills = st.none() | st.integers(0, 45)
some = st.integers(0, RUNS - 1)


class WatchedCluster(MortalTransport):
    """Notes which runs' changes stand on which host, in the order in which they came, as seen from
    outside: by claims that were let in, and by how those who gave a node back had ended."""

    direction = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stands: dict[str, list[str]] = defaultdict(list)

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        moments, self.moments = self.moments, Moments()
        owner = self.nodes[host].owner.get("run")
        result = super().run(host, script, env, deadline=deadline)
        self._note(host, script.name, env or {}, result, owner)
        self.moments = moments
        if script.name in ("job/start", "job/claim", "job/release"):
            moments.pass_by(f"after the effect of {script.name} on {host}")
        return result

    def _note(
        self, host: str, name: str, env: Mapping[str, str], result: CommandResult, owner: str | None
    ) -> None:
        run, there = env.get("DRCTL_RUN", ""), self.stands[host]
        if name == "job/claim" and result.ok and self.direction == "forward" and run not in there:
            there.append(run)
        if name == "job/release" and owner == run and not self.nodes[host].owner:
            ended = json.loads(env["DRCTL_RECORD"])["state"]
            if ended in ("rolled-back", "not begun") and run in there:
                there.remove(run)


class Runs(RuleBasedStateMachine):
    """Some runs, each of another machine."""

    facts: dict[str, Any]

    @initialize()
    def nodes(self) -> None:
        world = World.fresh(load_inventory(INVENTORY), "restore", self.facts)
        looks = world.plan.step("nobody-else")
        self.restart = world.plan.step("restart-kubelet")
        hosts = tuple(self.restart.hosts)
        looks = replace(looks, tasks={h: next(iter(looks.tasks.values())) for h in hosts})
        self.plan = replace(world.plan, steps=(looks, self.restart), owns=hosts)
        self.cluster = WatchedCluster(world.inventory, "")
        self.journals: list[MortalJournal] = []

    def plan_of(self, direction: str) -> Plan:
        if direction == "forward":
            return self.plan
        return replace(self.plan, steps=(replace(self.restart, id=f"{direction}-restart"),))

    # -- what operators do ------------------------------------------------------------------

    @rule(fatal=kills)
    def restore(self, fatal: int | None) -> None:
        if len(self.journals) < RUNS:
            run = f"20261123-00000{len(self.journals)}-run"
            self.journals.append(MortalJournal())
            begin(self.journals[-1], self.plan, run=run, runbook="restore", inventory="sim.yaml")
            self.live(self.journals[-1], "forward", fatal, anew=True)

    @rule(number=some, fatal=kills)
    def resume(self, number: int, fatal: int | None) -> None:
        self.live_if(number, "forward", fatal, lambda s: s.unfinished and s.direction == "forward")

    @rule(number=some, fatal=kills)
    def roll_back(self, number: int, fatal: int | None) -> None:
        self.take_back(number, fatal)

    def take_back(self, number: int, fatal: int | None) -> None:
        self.live_if(number, "undo", fatal, lambda s: s.changed and s.state != "rolled-back")

    @rule(number=some)
    def roll_back_undisturbed(self, number: int) -> None:
        self.take_back(number, None)

    @rule(number=some, fatal=kills)
    def clean(self, number: int, fatal: int | None) -> None:
        self.live_if(number, "clean", fatal, lambda s: s.state == "done")

    def live_if(self, number: int, direction: str, fatal: int | None, may: Any) -> None:
        if number < len(self.journals) and may(fold(self.journals[number].events)):
            self.live(self.journals[number], direction, fatal)

    def live(
        self, journal: MortalJournal, direction: str, fatal: int | None, anew: bool = False
    ) -> None:
        """One session as `drctl.runs.execute` begins it."""
        before = fold(journal.events)
        journal.moments = self.cluster.moments = Moments(fatal)
        self.cluster.direction = direction
        try:
            if not anew:
                self.compared(journal, direction)
            self.run(journal, direction)
        except Killed:
            pass
        except UsageError:
            assert direction == "forward"
        except DrctlError as error:
            assert error.code != "bug", error
            assert fatal is not None or error.exit_code in (4, 6, 7), error
        finally:
            journal.moments = self.cluster.moments = Moments()
        if direction != "forward":
            assert fold(journal.events).run == before.run

    def compared(self, journal: MortalJournal, direction: str) -> None:
        run = fold(journal.events).run
        work_dirs = {host: self.plan.work_dirs[host] for host in self.plan.owns}
        heard = ask(self.cluster, work_dirs, "node/records", run)
        told = {}
        for host, text in heard.texts.items():
            lines = [x.removeprefix("history:") for x in text.splitlines() if "history:" in x[:8]]
            told[host] = read_history(lines)
        compare(journal, told, heard.silent)
        assert fold(journal.events).compared["differ"] == {}
        if direction == "forward":
            refuse_unless_resumable(fold(journal.events))
        if direction == "clean":
            return
        try:
            refuse_if_followed(fold(journal.events))
        except Refused:
            assert self.was_followed(run), "refused, and nobody came after it"
            raise
        assert not self.was_followed(run), f"{run} was followed, and nobody says so"

    def was_followed(self, run: str) -> bool:
        return any(run in there and there[-1] != run for there in self.cluster.stands.values())

    def run(self, journal: MortalJournal, direction: str) -> RunState:
        state, clock, plan = fold(journal.events), Clock(), self.plan_of(direction)
        known = {"direction": direction, "steps": plan.outline()}
        journal.append("session", epoch=state.epoch + 1, **known)
        state = fold(journal.events)
        jobs = Jobs(
            self.cluster,
            run=state.run,
            epoch=state.epoch,
            who="model",
            direction=direction,
            journal=state.journal,
            head=lambda: journal.head,
            work_dirs=plan.work_dirs,
            sleep=clock.sleep,
            clock=clock,
        )
        session = Session(
            plan=plan,
            transport=self.cluster,
            journal=journal,
            jobs=jobs,
            manifest=lambda so_far: json.dumps({"epoch": so_far.epoch, "at": so_far.values_at}),
            record=lambda _, ended: json.dumps({"state": ended}),
            parallel=1,
            sleep=clock.sleep,
            clock=clock,
        )
        return Engine(session, JUDGES, lambda *_: "model").run(done=ENDS[direction])

    # -- what holds at every moment ---------------------------------------------------------

    def histories(self) -> dict[str, History]:
        return {host: read_history(node.history) for host, node in self.cluster.nodes.items()}

    @invariant()
    def the_nodes_remember_what_stands(self) -> None:
        for host, history in self.histories().items() if hasattr(self, "cluster") else ():
            assert history.problem == ""
            assert list(history.standing()) == self.cluster.stands[host], host

    @invariant()
    def what_they_saw_of_a_journal_is_in_it(self) -> None:
        for journal in self.journals if hasattr(self, "journals") else ():
            run = fold(journal.events).run
            for host, history in self.histories().items():
                for entry in history.of(run):
                    assert journal.hash_of(entry.head[0]) == entry.head[1], f"{run} on {host}"


def test_what_the_nodes_remember_is_what_happened(snapshot_facts: dict[str, Any]) -> None:
    class OurRuns(Runs):
        facts = snapshot_facts

    run_state_machine_as_test(
        OurRuns,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[p for p in Phase if p is not Phase.shrink],
        ),
    )
