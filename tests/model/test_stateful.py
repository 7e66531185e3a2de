"""Hypothesis plays operator and Murphy: sessions that are killed, cut off, answered late or not at
all, machines that die in the middle of a rename, a second operator, an old session that wakes up,
units that somebody starts; and after each of it the invariants of a restore.

    DRCTL_MODEL_EXAMPLES=2000 pytest tests/model/test_stateful.py    (default: 25, always the same)

With more examples than the default the stories are drawn at random; a violation prints its story.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.errors import DrctlError
from drctl.etcd.identity import predict
from drctl.inventory import load_inventory
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import RunState, fold
from drctl.plan.model import Plan
from drctl.runs.beginning import begin
from drctl.runs.left_on_nodes import manifest, record
from drctl.runs.undo import rollback_plan
from tests.model.harness import INVENTORY, RUN, Clock, Killed, Moments, MortalJournal, World
from tests.model.rough import JOB_FAULTS, LOOK_FAULTS, UPLOAD_FAULTS, RoughCluster, Weather
from tests.model.simulation import OLD_TOKEN, Node
from tests.support.rig import READ_ONLY

DEFAULT = 25
EXAMPLES = int(os.environ.get("DRCTL_MODEL_EXAMPLES", DEFAULT))
STEPS = 10
MEMBERS = ("m1", "m2", "m3")
FAIR = Weather()
orders = st.sampled_from(["restore", "restore-staged"])
weathers = st.builds(
    Weather,
    looks=st.dictionaries(st.integers(0, 60), st.sampled_from(LOOK_FAULTS), max_size=3),
    jobs=st.dictionaries(st.integers(0, 25), st.sampled_from(JOB_FAULTS), max_size=4),
    uploads=st.dictionaries(st.integers(0, 3), st.sampled_from(UPLOAD_FAULTS), max_size=1),
)
kills = st.integers(0, 160)
moments = kills | kills | kills | st.none()


class Story(RuleBasedStateMachine):
    """One restore of one cluster, by as many sessions as it takes."""

    facts: dict[str, Any]  # of the snapshot

    @initialize(order=orders)
    def a_cluster_and_a_plan(self, order: str) -> None:
        planned = _planned(order, self.facts)
        self.world = planned.again()
        self.cluster = RoughCluster(planned.inventory, self.facts["sha256"])
        self.world.cluster = self.cluster
        self.start = self.world.conditions()
        self.wanted = _undisturbed(order, self.facts)

    # -- what the operator does -------------------------------------------------------------

    @property
    def state(self) -> RunState:
        return fold(self.world.journal.events)

    @property
    def ended(self) -> bool:
        return self.state.state in ("done", "rolled-back")

    @precondition(lambda self: not self.ended and self.state.direction == "forward")
    @rule(weather=weathers, fatal=moments)
    def restore_or_resume(self, weather: Weather, fatal: int | None) -> None:
        self.live("forward", weather, fatal)

    @precondition(lambda self: self.state.changed and self.state.state != "rolled-back")
    @rule(weather=weathers, fatal=moments)
    def roll_back(self, weather: Weather, fatal: int | None) -> None:
        self.live("undo", weather, fatal)

    @precondition(lambda self: any(node.owner for node in self.cluster.nodes.values()))
    @rule(order=orders)
    def a_second_operator(self, order: str) -> None:
        """I9: another machine, another run. It changes nothing and says why."""
        before = self.world.conditions(), _effects(self.cluster)
        journal = MortalJournal()
        plan = _planned(order, self.facts).plan
        begin(journal, plan, run="20261123-000001-two", runbook=order, inventory="sim.yaml")
        error = self.attempt(journal, plan, "forward", run="20261123-000001-two")
        assert isinstance(error, DrctlError)
        assert error.exit_code in (4, 5, 7, 8), error
        assert (self.world.conditions(), _effects(self.cluster)) == before

    @rule(order=orders, weather=weathers)
    def somebody_rehearses(self, order: str, weather: Weather) -> None:
        """I7: a dry run changes nothing on any node, whatever it finds and however it ends."""
        before, calls = copy.deepcopy(self.cluster.nodes), len(self.cluster.calls)
        plan = _planned(order, self.facts).plan.checks()
        journal = MortalJournal()
        begin(journal, plan, run="check", runbook=order, inventory="sim.yaml")
        self.cluster.weather = Weather(weather.looks, weather.jobs, weather.uploads)
        error = self.attempt(journal, plan, "forward", run="check")
        self.cluster.weather = Weather()
        assert error is None or error.code != "bug", error
        assert self.cluster.nodes == before, "I7"
        assert {name for _, name in self.cluster.calls[calls:]} <= READ_ONLY, "I7"

    @precondition(lambda self: not self.ended and self.state.values.get("machine_id"))
    @rule(host=st.sampled_from(MEMBERS), undo=st.booleans())
    def another_machine_has_the_address(self, host: str, undo: bool) -> None:
        """I8: that the run went to one machine and comes back to another is said by name, with
        both values, and nothing is done anywhere."""
        node, was = self.cluster.nodes[host], self.state.values["machine_id"][host]
        node.machine_id = "0" * 32
        before, there = _but_owners(self.world.conditions()), copy.deepcopy(node)
        back = (undo and self.state.changed) or self.state.direction == "undo"
        error = self.live("undo" if back else "forward", FAIR, None)
        assert error, "I8: not noticed"
        assert error.exit_code == 6, error
        for word in (f"machine_id.{host}", was, node.machine_id):
            assert word in f"{error.message} {error.hint}", f"I8: {error} does not name {word}"
        assert _but_owners(self.world.conditions()) == before, "I8: changed"
        assert node == there, "I8: something was left on another machine"
        node.machine_id = was

    @precondition(lambda self: self.state.epoch > 1)
    @rule(host=st.sampled_from(MEMBERS), step=st.sampled_from(["stop-etcd", "swap", "start-etcd"]))
    def an_old_session_wakes_up(self, host: str, step: str) -> None:
        """A frozen laptop goes on where it stopped; its epoch is over."""
        owner = self.cluster.nodes[host].owner
        if owner.get("epoch") == "1":
            return  # the newer sessions did not get as far as to take this node
        before = self.world.conditions(), _effects(self.cluster)
        task = self.world.plan.step(step).tasks[host]
        assert task.act
        jobs = self.jobs(RUN, 1)
        with pytest.raises(DrctlError):
            jobs.perform(host, f"{step}-99", task.act, {}, step=step, seen="{}", deadline=60)
        assert (self.world.conditions(), _effects(self.cluster)) == before

    @precondition(lambda self: not self.ended and self.state.direction == "forward")
    @rule(at=kills, direction=st.sampled_from(["forward", "undo"]))
    def a_frozen_session_goes_on_after_another(self, at: int, direction: str) -> None:
        """A laptop freezes in the middle; the run is taken over on another machine, which has what
        the journal held then, and goes on or back. Then the laptop wakes up and goes on too."""
        frozen = self.world.journal
        taken_over: list[MortalJournal] = []

        def freeze(_moment: str) -> None:
            if len(frozen.moments.names) > at and not taken_over and self.all_claimed:
                taken_over.append(MortalJournal.of(frozen.events))
                self.world.journal = taken_over[0]
                back = direction == "undo" and self.state.changed
                self.live("undo" if back else "forward", FAIR, None)
                frozen.moments = self.cluster.moments = asleep

        asleep = Moments(None, look=freeze)
        self.live("forward", FAIR, None, asleep)
        if taken_over:
            self.world.journal = taken_over[0]

    # -- what happens to machines -----------------------------------------------------------

    @rule(host=st.sampled_from([*MEMBERS, "w1"]))
    def a_machine_restarts(self, host: str) -> None:
        self.cluster.reboot(host)

    @rule(host=st.sampled_from(MEMBERS), unit=st.sampled_from(["etcd", "kube-apiserver"]))
    def somebody_starts_a_unit(self, host: str, unit: str) -> None:
        self.cluster.nudge(host, unit)

    @property
    def all_claimed(self) -> bool:
        """Only then can another machine know of the run, and its claim keep this one out."""
        return all(self.cluster.nodes[host].owner for host in self.world.plan.owns)

    # -- sessions ---------------------------------------------------------------------------

    def live(
        self,
        direction: str,
        weather: Weather,
        fatal: int | None,
        moments: Moments | None = None,
    ) -> DrctlError | None:
        """One session of the run; None when it ended well or was killed."""
        state = self.state
        plan = self.world.plan
        if direction == "undo":
            plan = rollback_plan(self.world.planner, plan, state)
        journal = self.world.journal
        known = {"direction": direction, "steps": plan.outline()}
        journal.append("session", epoch=state.epoch + 1, **known)
        self.cluster.weather = Weather(weather.looks, weather.jobs, weather.uploads)
        journal.moments = self.cluster.moments = moments or Moments(fatal)
        try:
            error = self.attempt(journal, plan, direction)
        except Killed:
            return None
        finally:
            self.cluster.weather = Weather()
            journal.moments = self.cluster.moments = Moments()
        if error is None:
            if journal is self.world.journal:  # else it woke up and has nothing to say any more
                self.it_is_as_it_says()
        else:
            assert error.message
            assert error.code != "bug", error
        return error

    def jobs(self, run: str, epoch: int, journal: MortalJournal | None = None) -> Jobs:
        clock = Clock()
        return Jobs(
            self.cluster,
            run=run,
            epoch=epoch,
            who="model",
            direction=fold(journal.events).direction if journal else "forward",
            head=lambda: (journal or self.world.journal).head,
            work_dirs=self.world.plan.work_dirs,
            sleep=clock.sleep,
            clock=clock,
        )

    def attempt(
        self, journal: MortalJournal, plan: Plan, direction: str, run: str = RUN
    ) -> DrctlError | None:
        state, clock = fold(journal.events), Clock()
        session = Session(
            plan=plan,
            transport=self.cluster,
            journal=journal,
            jobs=self.jobs(run, max(state.epoch, 1), journal),
            manifest=lambda so_far: manifest(plan, so_far, "model"),
            record=lambda so_far, ended: record(plan, so_far, ended, "model"),
            parallel=1,
            sleep=clock.sleep,
            clock=clock,
        )
        engine = Engine(session, _judges(), lambda _step, _state: "model")
        try:
            engine.run(done="rolled-back" if direction == "undo" else "done")
        except DrctlError as error:
            return error
        return None

    def it_is_as_it_says(self) -> None:
        """I4, I5, I12: an end is the end of an undisturbed run, or the beginning again."""
        wanted = {"done": self.wanted, "rolled-back": self.start}[self.state.state]
        assert self.world.conditions() == wanted, f"{self.state.state}, and yet not as it should be"

    # -- what holds at every moment ---------------------------------------------------------

    @property
    def members(self) -> list[tuple[str, Node]]:
        return [(name, self.cluster.nodes[name]) for name in MEMBERS]

    @invariant()
    def the_original_is_at_one_place(self) -> None:
        for name, node in self.members:
            places = (node.live == OLD_TOKEN) + (node.kept == OLD_TOKEN)
            assert places == 1, f"I2: {name} has its original at {places} places"

    @invariant()
    def no_etcd_starts_empty_or_from_half_the_data(self) -> None:
        for name, node in self.members:
            assert node.live is not None or "etcd" in node.fenced, f"I3: {name} could start empty"
            assert not (node.services["etcd"] and node.live is None), f"I3: {name} runs on nothing"
            assert not (node.services["etcd"] and "etcd" in node.fenced), f"I3: {name}: no fence"

    @invariant()
    def two_clusters_never_meet(self) -> None:
        running = {node.live for _, node in self.members if node.services["etcd"]}
        assert len(running) <= 1, f"I4: members of {running} run at once"
        token = self.state.values.get("token")
        assert running <= {OLD_TOKEN, token}, f"I4: {running}, planned {token}"
        names = {m.name: m.peer_urls for m in self.world.inventory.members}
        planned = predict(names, str(token)).cluster_hex
        assert planned != predict(names, OLD_TOKEN).cluster_hex

    @invariant()
    def what_destroys_happens_once(self) -> None:
        for name, node in self.members:
            for effect, times in node.effects.items():
                assert times <= 1, f"I6: {effect} on {name} {times} times"

    @invariant()
    def before_the_first_change_nothing_is_changed(self) -> None:
        if any(known.attempts for known in self.state.hosts.values()):
            return
        now = _but_owners(self.world.conditions())
        assert now == self.start, "I1: changed without an intent"

    @invariant()
    def the_situation_is_told(self) -> None:
        told = situation(self.state)
        assert told.lines()
        assert all(command.startswith("drctl ") for command in told.commands)
        down = [n for n, node in self.members if "etcd" in node.fenced]
        if told.word in ("untouched", "beside", "services-stopped", "done", "rolled-back"):
            assert not down, f"told {told.word}, and {down} are fenced"
        if told.word in ("mixed", "down-with-restored-data"):
            assert len(down) == len(MEMBERS), f"told {told.word}, and only {down} are fenced"

    def teardown(self) -> None:
        """Murphy goes home. Whatever happened: the commands that are offered lead to an end."""
        if not hasattr(self, "world"):
            return
        for _ in range(3):
            if self.ended:
                break
            direction = "undo" if self.state.direction == "undo" else "forward"
            error = self.live(direction, FAIR, None)
        assert self.ended, f"I5: no end in fair weather: {error}"
        self.it_is_as_it_says()


_cache: dict[str, Any] = {}


def _judges() -> Any:
    from drctl.runs.judges import JUDGES

    return JUDGES


def _planned(order: str, facts: dict[str, Any]) -> World:
    """The plan of an order, made once."""
    if order not in _cache:
        _cache[order] = World.fresh(load_inventory(INVENTORY), order, facts)
    planned: World = _cache[order]
    return planned


def _undisturbed(order: str, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if f"{order} ended" not in _cache:
        world = _planned(order, facts).again()
        assert world.session() is not None
        _cache[f"{order} ended"] = world.conditions()
    ended: dict[str, dict[str, Any]] = _cache[f"{order} ended"]
    return ended


def _but_owners(conditions: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without the claims: a new session renews the run's own."""
    return {name: {**is_, "owner": {}} for name, is_ in conditions.items()}


def _effects(cluster: RoughCluster) -> dict[str, dict[str, int]]:
    return {name: dict(node.effects) for name, node in cluster.nodes.items()}


def test_whatever_happens_the_invariants_hold(snapshot_facts: dict[str, Any]) -> None:
    class OurStory(Story):
        facts = snapshot_facts

    run_state_machine_as_test(
        OurStory,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=EXAMPLES == DEFAULT,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            # Shrinking a story of whole restores takes minutes; EXAMPLES beyond the default pay it.
            phases=[p for p in Phase if p is not Phase.shrink or EXAMPLES != DEFAULT],
        ),
    )


@pytest.mark.parametrize("direction", ["forward", "undo"])
@pytest.mark.parametrize("order", ["restore", "restore-staged"])
def test_a_session_that_slept_does_no_harm(
    order: str, direction: str, snapshot_facts: dict[str, Any]
) -> None:
    """Frozen at every tenth moment. Found with it: a session that woke up sent the snapshot again
    to nodes that were done with it, where the copy then stayed."""

    class OurStory(Story):
        facts = snapshot_facts

    for at in range({"forward": 0, "undo": 5}[direction], 190, 10):
        story = OurStory()
        story.a_cluster_and_a_plan(order)
        Story.a_frozen_session_goes_on_after_another(story, at, direction)
        for holds in (
            Story.the_original_is_at_one_place,
            Story.no_etcd_starts_empty_or_from_half_the_data,
            Story.two_clusters_never_meet,
            Story.what_destroys_happens_once,
        ):
            holds(story)
        story.teardown()
