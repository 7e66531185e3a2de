"""The engine on small plans of its own, over a transport that answers what is scripted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from drctl.answer import AnswerError
from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.errors import (
    Aborted,
    AuthRefused,
    ConnectionLost,
    DrctlError,
    Drifted,
    LockHeld,
    NotProven,
    Refused,
    StepFailed,
    Unreachable,
)
from drctl.journal.chain import Journal
from drctl.journal.runstate import Event, RunState, fold
from drctl.plan.model import Plan, PlannedStep, Task
from drctl.transport import CommandResult, Script
from drctl.verdict import Gathered, Judge, Kind, Problem, Verdict
from tests.model.harness import Clock
from tests.support.fake_transport import FakeTransport

HOSTS = ("a", "b", "c")
Env = Mapping[str, str]
Answer = Callable[[str, Env], CommandResult | str]


def act(step: str, hosts: tuple[str, ...] = HOSTS, **more: Any) -> PlannedStep:
    task = Task(Script(f"{step}/observe", "look"), Script(f"{step}/act", "do"))
    tasks = dict.fromkeys(hosts, task)
    return PlannedStep(step, "phase", step, "run", step, tasks, resource=step, **more)


def gather(step: str, hosts: tuple[str, ...] = HOSTS, **more: Any) -> PlannedStep:
    tasks = {host: Task(observe=Script(step, "look")) for host in hosts}
    return PlannedStep(step, "phase", step, "gather", step, tasks, **{"judges": ("fine",), **more})


QUESTION = PlannedStep("agree", "phase", "agree", "confirm", text="go on?")


@dataclass
class Stage:
    """Nodes on which each action is done or not, and what goes wrong with them."""

    clock: Clock = field(default_factory=Clock)
    done: set[tuple[str, str]] = field(default_factory=set)  # (host, action)
    acts: list[tuple[str, str]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    judges: dict[str, Judge] = field(default_factory=lambda: {"fine": lambda _: Verdict()})
    journal: Journal = field(default_factory=lambda: Journal(None))
    confirm: Callable[[PlannedStep, RunState], str | None] = lambda *_: "typed"
    parallel: int = 1

    def __post_init__(self) -> None:
        self.transport = FakeTransport()
        self.journal.append(
            "run-started", run="r1", cluster="c", runbook="b", inventory="i", plan={}, values={}
        )
        self.answer("job/claim", self._claim)
        self.answer("job/release", self._release)
        self.answer("job/start", self._start)
        self.answer("job/wait", self._wait)

    def answer(self, script: str, answer: Answer) -> None:
        self.transport.handlers[script] = lambda host, _script, env: answer(host, env)

    def first(self, script: str, answer: Answer, *, times: int = 1, host: str = "") -> None:
        """`answer` for the first `times` calls on `host` (any, where empty), then as before."""
        usual, left = self.transport.handlers[script], [times]

        def either(name: str, body: Script, env: Env) -> CommandResult | str:
            if left[0] and host in ("", name):
                left[0] -= 1
                return answer(name, env)
            return usual(name, body, env)

        self.transport.handlers[script] = either

    def _claim(self, host: str, env: Env) -> CommandResult | str:
        if self.owners.get(host, "r1") != "r1":
            said = f"run={self.owners[host]}\nepoch=1\nwho=eve@x\nsince=noon\n"
            return CommandResult(75, said)
        self.owners[host] = "r1"
        return ""

    def _release(self, host: str, _env: Env) -> str:
        if self.owners.get(host) == "r1":
            del self.owners[host]
        return ""

    def _start(self, host: str, env: Env) -> CommandResult | str:
        if self.owners.get(host) != "r1":
            return CommandResult(75, f"run={self.owners.get(host, '')}\n")
        job = host, env["DRCTL_JOB"]
        if job not in self.jobs:
            action = env["DRCTL_ACTION"].removesuffix("/act")
            self.jobs[job] = 0
            self.acts.append((host, action))
            self.done.add((host, action))
        return f"done {self.jobs[job]}\n"

    def _wait(self, host: str, env: Env) -> str:
        status = self.jobs.get((host, env["DRCTL_JOB"]))
        return "never\n" if status is None else f"done {status}\n"

    def engine(self, *steps: PlannedStep, owns: tuple[str, ...] = HOSTS, **plan: Any) -> Engine:
        for step in steps:
            if step.kind == "act" and f"{step.id}/observe" not in self.transport.handlers:
                self._observable(step.id)
        state = fold(self.journal.events)
        self.journal.append("session", epoch=state.epoch + 1, direction="forward", steps=[])
        work = dict.fromkeys(HOSTS, "/w")
        session = Session(
            plan=Plan("b", "c", steps, work_dirs=work, owns=owns, **plan),
            transport=self.transport,
            journal=self.journal,
            jobs=Jobs(
                self.transport,
                run="r1",
                epoch=state.epoch + 1,
                who="me",
                work_dirs=work,
                sleep=self.clock.sleep,
                clock=self.clock,
            ),
            manifest=lambda _: "{}",
            record=lambda _, ended: json.dumps({"state": ended}),
            stop=self.stop,
            parallel=self.parallel,
            sleep=self.clock.sleep,
            clock=self.clock,
        )
        return Engine(session, self.judges, self.confirm)

    def _observable(self, action: str) -> None:
        self.answer(
            f"{action}/observe",
            lambda host, _: f"state={'after' if (host, action) in self.done else 'before'}\n",
        )

    def run(self, *steps: PlannedStep, **plan: Any) -> RunState:
        return self.engine(*steps, **plan).run()

    def fails(self, kind: type[DrctlError], *steps: PlannedStep, **plan: Any) -> DrctlError:
        with pytest.raises(kind) as caught:
            self.run(*steps, **plan)
        assert type(caught.value) is kind
        return caught.value

    @property
    def state(self) -> RunState:
        return fold(self.journal.events)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.journal.events]


def raising(error: DrctlError) -> Answer:
    def answer(host: str, _env: Env) -> str:
        raise type(error)(error.message, host=host)

    return answer


def after(effect: Callable[[], object], answer: Answer) -> Answer:
    """`answer`, once `effect` has happened."""

    def both(host: str, env: Env) -> CommandResult | str:
        effect()
        return answer(host, env)

    return both


def judging(effect: Callable[[], object], *problems: Problem) -> Judge:
    """A judge that says always the same, once `effect` has happened."""

    def judge(_: Gathered) -> Verdict:
        effect()
        return Verdict(problems=problems)

    return judge


LOST = raising(ConnectionLost("the connection broke"))
GONE = raising(Unreachable("no route to host"))


@pytest.fixture
def stage() -> Stage:
    return Stage()


# -- the ordinary course ------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [1, 8])
def test_every_host_finishes_a_step_before_the_next_begins(stage: Stage, parallel: int) -> None:
    stage.parallel = parallel
    assert stage.run(act("one"), act("two")).state == "done"
    assert sorted(stage.acts[:3]) == [(host, "one") for host in HOSTS]
    assert sorted(stage.acts[3:]) == [(host, "two") for host in HOSTS]
    assert stage.owners == {}


def test_the_intent_is_on_disk_before_the_act_and_the_result_after(stage: Stage) -> None:
    seen: list[list[str]] = []
    stage.first("job/start", after(lambda: seen.append(stage.kinds()), stage._start))
    stage.run(act("one", ("a",)))
    assert seen[0][-1] == "intent"
    assert "result" not in seen[0]
    assert stage.kinds()[stage.kinds().index("intent") + 1] == "result"


def test_what_is_done_already_is_not_done_again(stage: Stage) -> None:
    stage.done.add(("b", "one"))
    stage.run(act("one"))
    assert stage.acts == [("a", "one"), ("c", "one")]
    assert stage.state.of("one", "b").state == "done"
    assert stage.state.of("one", "b").attempts == 0


def test_values_are_journalled_before_they_are_used(stage: Stage) -> None:
    stage.judges["ids"] = lambda _: Verdict({"token": "t1", "inode": {h: f"i{h}" for h in HOSTS}})
    stage.answer("look", lambda *_: "")
    used: dict[str, tuple[str, str]] = {}

    def start(host: str, env: Env) -> CommandResult | str:
        used[host] = (env["DRCTL_BODY"], ",".join(stage.state.values))
        return stage._start(host, env)

    stage.answer("job/start", start)
    env = {"DRCTL_TOKEN": "value token", "DRCTL_INODE": "value inode"}
    step = act("one")
    step = replace(step, tasks={h: replace(t, env=env) for h, t in step.tasks.items()})
    stage.run(gather("look", judges=("ids",), yields=("token", "inode")), step)
    for host in HOSTS:
        body, known = used[host]
        assert "DRCTL_TOKEN=t1\n" in body
        assert f"DRCTL_INODE=i{host}\n" in body
        assert known == "token,inode"


def test_a_judge_that_forgets_a_value_is_a_bug(stage: Stage) -> None:
    stage.answer("look", lambda *_: "")
    error = stage.fails(DrctlError, gather("look", yields=("token",)))
    assert "no judge yielded 'token'" in error.message


# -- unknown is never "not done" ----------------------------------------------------------------


@pytest.mark.parametrize("said", ["state=unknown\nwhy=odd files\n", "", "state=maybe\n", "noise"])
def test_an_unclear_observation_is_never_acted_on(stage: Stage, said: str) -> None:
    stage.answer("one/observe", lambda *_: said)
    error = stage.fails(StepFailed, act("one"))
    assert "cannot tell whether one is done" in error.message
    assert ("odd files" in error.message) == ("why=" in said)
    assert stage.acts == []
    assert "intent" not in stage.kinds()


def test_an_observation_that_fails_is_never_acted_on(stage: Stage) -> None:
    stage.answer("one/observe", lambda *_: CommandResult(2, "state=before\n", "sh: not found"))
    error = stage.fails(StepFailed, act("one"))
    assert "failed with status 2: sh: not found" in error.message
    assert stage.acts == []


def test_a_failed_look_before_any_change_is_a_refusal(stage: Stage) -> None:
    stage.answer("look", lambda *_: CommandResult(2, "", "sh: not found"))
    assert stage.fails(Refused, gather("look"), act("one")).exit_code == 4
    assert stage.owners == {}


def test_an_act_whose_effect_is_not_there_has_failed(stage: Stage) -> None:
    stage.answer("one/observe", lambda *_: "state=before\n")
    error = stage.fails(StepFailed, act("one", ("a",)))
    assert "one ran but had no effect" in error.message
    assert (error.host, stage.acts) == ("a", [("a", "one")])


# -- connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [LOST, GONE])
def test_a_connection_lost_while_a_job_runs_is_taken_up_again(
    stage: Stage, trouble: Answer
) -> None:
    def begins_and_breaks(host: str, env: Env) -> CommandResult | str:
        stage._start(host, env)
        return trouble(host, env)

    stage.first("job/start", begins_and_breaks, host="b", times=1)
    assert stage.run(act("one")).state == "done"
    assert stage.acts.count(("b", "one")) == 1
    assert stage.state.of("one", "b").attempts == 1


def test_a_running_job_is_waited_for(stage: Stage) -> None:
    running = after(lambda: stage.clock.sleep(10), lambda *_: "running\n")
    stage.first("job/wait", running, times=5)
    stage.first("job/start", lambda h, e: stage._start(h, e) and "running\n")
    assert stage.run(act("one", ("a",))).state == "done"
    assert stage.transport.calls.count(("a", "job/wait")) == 6


def test_a_job_without_an_end_is_unknown_not_failed(stage: Stage) -> None:
    """And the next session waits for that very job before it looks at the node."""
    stage.first("job/start", lambda h, e: stage._start(h, e) and "running\n")
    stage.first("job/wait", after(lambda: stage.clock.sleep(10), lambda *_: "running\n"), times=30)
    error = stage.fails(StepFailed, act("one", ("a",)))
    assert "is still running after 300 s" in error.message
    assert error.hint == "resume: it attaches to the running job"
    stage.transport.calls.clear()
    assert stage.run(act("one", ("a",))).state == "done"
    assert stage.transport.calls[0] == ("a", "job/wait")
    assert stage.acts == [("a", "one")]


def test_silence_until_the_deadline_is_an_unknown_outcome(stage: Stage) -> None:
    stage.answer("job/start", LOST)
    error = stage.fails(StepFailed, act("one", ("a",)))
    assert error.exit_code == 5
    assert "result unknown" in error.message
    assert "resume" in (error.hint or "")
    assert stage.acts == []


def test_a_job_that_vanished_is_observed_again_at_resume(stage: Stage) -> None:
    stage.first("job/start", lambda *_: "lost\n")
    error = stage.fails(StepFailed, act("one", ("a",)))
    assert "ended without a status" in error.message
    assert stage.run(act("one", ("a",))).state == "done"
    assert stage.state.of("one", "a").attempts == 2


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(GONE, Unreachable), (raising(AuthRefused("permission denied")), AuthRefused)],
)
def test_unreachable_is_8_before_a_change_and_5_after(
    stage: Stage, trouble: Answer, kind: type[DrctlError]
) -> None:
    stage.answer("look", lambda *_: "")
    stage.first("look", trouble, host="b")
    assert stage.fails(kind, gather("look"), act("one")).exit_code == 8
    assert stage.acts == []
    stage.answer("again", trouble)
    error = stage.fails(StepFailed, gather("look"), act("one"), gather("again"))
    assert (error.exit_code, len(stage.acts)) == (5, 3)


def test_a_lost_answer_is_asked_for_again(stage: Stage) -> None:
    stage.answer("look", lambda *_: "")
    stage.first("look", LOST, times=2)
    assert stage.run(gather("look", ("a",))).state == "done"
    assert stage.transport.calls.count(("a", "look")) == 3


def test_a_tolerated_host_is_handed_over(stage: Stage) -> None:
    stage.answer("one/observe", lambda *_: "state=after\n")
    for script in ("job/claim", "one/observe", "job/release"):
        stage.first(script, GONE, host="c", times=99)
    state = stage.run(act("one", tolerate=True))
    assert state.state == "done"
    assert state.unreached == {"c": "no route to host"}
    assert "unclaimed" in stage.kinds()


def test_a_host_that_also_matters_elsewhere_is_not_tolerated(stage: Stage) -> None:
    stage.first("job/claim", GONE, host="c")
    stage.fails(Unreachable, act("one", tolerate=True), act("two"))
    assert stage.acts == []
    assert stage.owners == {}


def test_a_tolerated_host_that_comes_back_is_claimed_late(stage: Stage) -> None:
    stage.first("job/claim", GONE, host="c")
    state = stage.run(act("one", tolerate=True))
    assert (state.state, state.unreached) == ("done", {})
    assert ("c", "one") in stage.acts
    assert stage.owners == {}


# -- failures -----------------------------------------------------------------------------------


def failing(stage: Stage, host: str, times: int = 99) -> None:
    stage.first(
        "job/start", lambda *_: CommandResult(0, "done 3\n", "it broke"), times=times, host=host
    )


@pytest.mark.parametrize("parallel", [1, 8])
def test_one_failed_host_ends_the_run_after_its_step(stage: Stage, parallel: int) -> None:
    stage.parallel = parallel
    failing(stage, "a")
    error = stage.fails(StepFailed, act("one"), act("two"))
    assert (error.host, error.exit_code) == ("a", 5)
    assert "failed with status 3: it broke" in error.message
    assert sorted(stage.acts) == [("b", "one"), ("c", "one")]
    assert stage.state.state == "failed"
    assert stage.state.of("one", "b").state == "done"
    assert stage.owners == dict.fromkeys(HOSTS, "r1")  # until it is resumed or rolled back


def test_all_failed_hosts_are_named(stage: Stage) -> None:
    failing(stage, "")
    assert "\nb: one" in stage.fails(StepFailed, act("one")).message


def test_one_by_one_stops_at_the_first_failure(stage: Stage) -> None:
    stage.parallel = 8
    failing(stage, "b")
    stage.fails(StepFailed, act("one", strategy="one-by-one"))
    assert stage.acts == [("a", "one")]
    assert stage.state.of("one", "c").state == "pending"


@pytest.mark.parametrize("parallel", [1, 8])
def test_the_first_host_alone_proves_it_for_the_others(stage: Stage, parallel: int) -> None:
    stage.parallel = parallel
    failing(stage, "a")
    stage.fails(StepFailed, act("one", strategy="first-alone"))
    assert stage.acts == []
    assert stage.state.of("one", "b").state == "pending"


def test_after_the_first_host_the_others_go_together(stage: Stage) -> None:
    stage.parallel = 8
    failing(stage, "b")
    stage.fails(StepFailed, act("one", strategy="first-alone"))
    assert stage.acts == [("a", "one"), ("c", "one")]


def test_a_step_may_take_fewer_at_once_than_the_session(stage: Stage) -> None:
    stage.parallel, working, most = 8, [0], [0]

    def look(_host: str, _env: Env) -> str:
        working[0] += 1
        most[0] = max(most[0], working[0])
        time.sleep(0.05)
        working[0] -= 1
        return ""

    stage.answer("look", look)
    stage.run(gather("look"))
    assert most == [3]
    most[0] = 0
    stage.run(gather("look", at_once=2))
    assert most == [2]


def test_a_gather_waits_for_the_disk_twice_however_many_hosts(stage: Stage) -> None:
    """Once when it begins, once when all have answered; the steps' own two events aside."""
    written: list[int] = []
    append_all = stage.journal.append_all

    def counted(noted: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Event]:
        made = append_all(noted)
        written.append(len(made))
        return made

    stage.journal.append_all = counted  # type: ignore[method-assign]  # to count
    stage.answer("look", lambda *_: "")
    stage.run(gather("look"))
    assert written.count(3) == 2 and max(written) == 3


@pytest.mark.parametrize(("named", "order"), [(["a"], "bca"), (["b", "a"], "cab"), ([], "abc")])
def test_hosts_that_a_value_names_come_last(stage: Stage, named: list[str], order: str) -> None:
    stage.judges["order"] = lambda _: Verdict({"late": named})
    stage.answer("look", lambda *_: "")
    stage.run(gather("look", judges=("order",), yields=("late",)), act("one", last="late"))
    assert [host for host, _ in stage.acts] == [*order]
    assert stage.state.values["late"] == named  # journalled: a resume keeps to it


def test_who_comes_last_does_not_begin_after_a_failure(stage: Stage) -> None:
    stage.parallel = 8
    stage.judges["order"] = lambda _: Verdict({"late": ["a"]})
    stage.answer("look", lambda *_: "")
    failing(stage, "b")
    steps = [gather("look", judges=("order",), yields=("late",)), act("one", last="late")]
    stage.fails(StepFailed, *steps)
    assert stage.acts == [("c", "one")]


@pytest.mark.parametrize(("repeatable", "ended"), [(True, "done"), (False, "failed")])
def test_only_what_is_repeatable_is_repeated(stage: Stage, repeatable: bool, ended: str) -> None:
    failing(stage, "a", times=2)
    steps = act("one", ("a",), repeatable=repeatable)
    if repeatable:
        stage.run(steps)
    else:
        stage.fails(StepFailed, steps)
    assert stage.state.state == ended
    assert stage.state.of("one", "a").attempts == (3 if repeatable else 1)


def test_a_full_journal_after_a_change_is_a_failed_step(stage: Stage) -> None:
    """Exit 5, not 4: something was changed, and the journal could not even say how it ended."""
    engine = stage.engine(act("one"), act("two"))
    usual, full = stage.journal.append, Refused("the journal cannot be written", hint="free space")

    def append(kind: str, **body: Any) -> Any:
        if full_now or (kind, body.get("step")) == ("intent", "two"):
            full_now.append(True)
            raise full
        return usual(kind, **body)

    full_now: list[bool] = []
    stage.journal.append = append  # type: ignore[method-assign]  # the disk fills in the middle
    with pytest.raises(StepFailed, match="cannot be written") as caught:
        engine.run()
    assert caught.value.hint == "free space"
    assert [action for _, action in stage.acts] == ["one"] * 3


# -- judges -------------------------------------------------------------------------------------


def test_what_is_refused_before_the_first_change_is_told_all_at_once(stage: Stage) -> None:
    made: list[str] = []
    for name in ("one", "two", "three", "late"):
        problem = Problem(f"{name} is wrong", hint=f"mend {name}")
        stage.judges[name] = judging(partial(made.append, name), problem)
    for name in ("one", "two", "three", "late", "good"):
        stage.answer(name, lambda *_: "")
    error = stage.fails(
        Refused,
        gather("one", judges=("one",)),
        gather("two", judges=("two",)),  # may need what the first would have yielded
        gather("good", regardless=True),
        gather("three", judges=("three",), regardless=True),
        QUESTION,
        gather("late", judges=("late",), regardless=True),
    )
    assert error.message == "one: one is wrong\nthree: three is wrong"
    assert error.hint == "mend one; mend three"
    assert made == ["one", "three"]
    assert stage.state.steps_done == {"good"}


def test_a_lock_is_told_with_what_is_refused(stage: Stage) -> None:
    """Nobody is to mend a node on which another one's run is at work."""
    stage.judges["never"] = judging(lambda: None, Problem("wrong"))
    stage.judges["held"] = judging(lambda: None, Problem("locked by eve", kind="lock"))
    stage.answer("one", lambda *_: "")
    stage.answer("two", lambda *_: "")
    looks = gather("one", judges=("never",)), gather("two", judges=("held",), regardless=True)
    assert stage.fails(Refused, *looks).message == "one: wrong\ntwo: locked by eve"


def test_a_look_that_cannot_be_made_hides_no_refusal(stage: Stage) -> None:
    stage.judges["never"] = judging(lambda: None, Problem("wrong"))
    stage.answer("one", lambda *_: "")
    stage.answer("two", GONE)
    looks = gather("one", judges=("never",)), gather("two", regardless=True)
    assert stage.fails(Refused, *looks).message == "one: wrong"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("refused", Refused),
        ("missing", Refused),
        ("drift", Drifted),
        ("lock", LockHeld),
        ("unproven", NotProven),
    ],
)
def test_a_problem_ends_the_run_with_its_own_status(
    stage: Stage, kind: Kind, error: type[DrctlError]
) -> None:
    problems = (Problem("bad", "b", "mend it", kind), Problem("worse", None, "mend it", kind))
    stage.judges["strict"] = lambda _: Verdict(problems=problems)
    stage.answer("look", lambda *_: "")
    caught = stage.fails(error, gather("look", judges=("strict",)), act("one"))
    assert "look: " in caught.message
    assert "b: bad" in caught.message
    assert "worse" in caught.message
    assert caught.hint == "mend it"
    assert stage.acts == []
    assert "judged" in stage.kinds()


def test_patience_asks_again_until_it_is_good(stage: Stage) -> None:
    asked: list[int] = []

    def third_time(_: Gathered) -> Verdict:
        asked.append(1)
        return Verdict() if len(asked) == 3 else Verdict(problems=(Problem("not yet"),))

    stage.judges["slow"] = third_time
    stage.answer("look", lambda *_: "")
    assert stage.run(gather("look", judges=("slow",), patience=30)).state == "done"
    assert len(asked) == 3


def test_patience_ends(stage: Stage) -> None:
    asked: list[int] = []
    stage.judges["never"] = judging(lambda: asked.append(1), Problem("no"))
    stage.answer("look", lambda *_: "")
    stage.fails(Refused, gather("look", judges=("never",), patience=5))
    assert len(asked) == 10  # after 0.1 s, then ever later, in the end once a second


def test_judges_see_each_others_values_and_who_was_silent(stage: Stage) -> None:
    seen: list[Gathered] = []
    stage.judges["first"] = lambda _: Verdict({"x": 1})

    def second(gathered: Gathered) -> Verdict:
        seen.append(gathered)
        return Verdict({"y": 2})

    stage.judges["second"] = second
    stage.answer("look", lambda host, _: GONE(host, _) if host == "b" else f"from {host}")
    state = stage.run(gather("look", judges=("first", "second"), tolerate=True), facts={"f": 1})
    assert seen[0].answers == {"a": "from a", "c": "from c"}
    assert seen[0].silent == {"b": "no route to host"}
    assert (seen[0].values["x"], seen[0].values["run"], seen[0].facts) == (1, "r1", {"f": 1})
    assert state.values == {"x": 1, "y": 2}
    assert state.unreached == {"b": "no route to host"}


# -- the operator -------------------------------------------------------------------------------


def test_a_stop_ends_the_run_between_steps_and_it_can_be_resumed(stage: Stage) -> None:
    stage.first("job/start", after(stage.stop.set, stage._start))
    error = stage.fails(Aborted, act("one"), act("two"))
    assert error.exit_code == 10
    assert (stage.state.state, stage.state.unfinished) == ("aborted", True)
    assert [action for _, action in stage.acts] == ["one"] * 3
    stage.stop.clear()
    assert stage.run(act("one"), act("two")).state == "done"
    assert [action for _, action in stage.acts] == ["one"] * 3 + ["two"] * 3


def test_a_stop_ends_patience_too(stage: Stage) -> None:
    stage.judges["never"] = judging(stage.stop.set, Problem("no"))
    stage.answer("look", lambda *_: "")
    stage.fails(Aborted, gather("look", judges=("never",), patience=3600))


def test_a_no_changes_nothing(stage: Stage) -> None:
    stage.confirm = lambda *_: None
    assert stage.fails(Aborted, QUESTION, act("one")).exit_code == 10
    assert (stage.acts, stage.owners, stage.state.state) == ([], {}, "aborted")


def test_a_question_is_asked_again_until_something_was_changed(stage: Stage) -> None:
    asked: list[int] = []

    def confirm(_step: PlannedStep, _state: RunState) -> str:
        asked.append(1)
        return "typed"

    stage.confirm = confirm
    stage.first("job/claim", GONE)
    stage.fails(Unreachable, QUESTION, act("one"))
    failing(stage, "a", times=1)
    stage.fails(StepFailed, QUESTION, act("one"))
    stage.run(QUESTION, act("one"))
    assert len(asked) == 2


# -- two operators ------------------------------------------------------------------------------


def test_the_second_of_two_runs_lets_go_of_what_it_took(stage: Stage) -> None:
    stage.owners["b"] = "r2"
    error = stage.fails(LockHeld, act("one"))
    assert error.exit_code == 7
    assert (error.host, error.message) == (
        "b",
        "the node is locked by run r2 of eve@x since noon",
    )
    assert stage.owners == {"b": "r2"}
    assert (stage.acts, stage.state.changed) == ([], False)


def test_a_busy_node_of_this_very_run_is_waited_for(stage: Stage) -> None:
    busy = CommandResult(75, "busy=job\nrun=r1\nepoch=1\n")
    stage.first("job/claim", lambda *_: busy, times=3)
    assert stage.run(act("one")).state == "done"


def test_a_busy_node_of_this_run_is_not_waited_for_without_end(stage: Stage) -> None:
    busy = CommandResult(75, "busy=job\nrun=r1\nepoch=9\nwho=me\nsince=noon\n")
    stage.answer("job/claim", lambda *_: busy)
    assert "newer session (epoch 9)" in stage.fails(LockHeld, act("one")).message


def test_a_run_that_lost_its_nodes_in_the_middle_stops(stage: Stage) -> None:
    def taken(host: str, _env: Env) -> CommandResult:
        return CommandResult(75, "run=r1\nepoch=2\nwho=eve@x\nsince=noon\n")

    stage.first("job/start", taken, host="b")
    error = stage.fails(LockHeld, act("one"), act("two"))
    assert "this run, from a newer session (epoch 2)" in error.message
    assert ("a", "two") not in stage.acts


def test_a_node_that_cannot_be_claimed_says_why(stage: Stage) -> None:
    stage.first("job/claim", lambda *_: CommandResult(69, "", "flock is not installed"), host="b")
    error = stage.fails(Refused, act("one"))
    assert "cannot lock the node: flock is not installed" in error.message
    assert (error.exit_code, stage.owners) == (4, {})


def test_a_node_that_is_gone_at_the_end_does_not_spoil_it(stage: Stage) -> None:
    stage.first("job/release", GONE, host="c")
    assert stage.run(act("one")).state == "done"
    assert set(stage.state.unreleased) == {"c"}


def test_looking_has_a_deadline_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that may take an hour does not wait an hour for a frozen peer's look."""
    asked: dict[str, float] = {}
    run = stage.transport.run

    def noted(host: str, script: Script, *rest: Any, deadline: float) -> CommandResult:
        asked[script.name] = deadline
        return run(host, script, *rest, deadline=deadline)

    monkeypatch.setattr(stage.transport, "run", noted)
    assert stage.run(act("one", ("a",), deadline=3600.0)).state == "done"
    assert asked["one/observe"] <= 120


def raises(error: DrctlError) -> str:
    raise error


def sending_look(stage: Stage) -> tuple[PlannedStep, list[tuple[str, str]]]:
    """A gather whose script needs a file there, on one host that is another run's, and what is
    called there."""
    task = Task(observe=Script("facts", "look"), sources={"run tools/x": __file__})
    step = replace(gather("facts", hosts=("a",)), tasks={"a": task})
    stage.owners["a"] = "r9"
    told: list[tuple[str, str]] = []

    def note(name: str, env: Env) -> str:
        told.append((name, env.get("DRCTL_SENT") or env["DRCTL_LOOK"]))
        return ""

    stage.answer("job/look", lambda _, env: note("look", env))
    stage.answer("job/looked", lambda _, env: note("looked", env))
    stage.answer("facts", lambda _, env: note("facts", env))
    stage.transport.on_upload = lambda _host, _source, target: told.append(("upload", target))
    return step, told


def test_a_look_that_needs_a_file_claims_nothing() -> None:
    stage = Stage()
    step, told = sending_look(stage)
    stage.run(step)
    (_, look), (_, target), (_, folder), ended = told
    assert folder.endswith(f"/looks/{look}") and look.startswith("r1-")
    assert target == f"{folder}/tools/x"
    assert ended == ("looked", look)
    assert stage.owners == {"a": "r9"}
    assert {name for _, name in stage.transport.calls} == {
        "job/look",
        "upload",
        "facts",
        "job/looked",
    }


def test_a_look_that_was_lost_is_sent_its_file_anew() -> None:
    """The script may have run, and have taken the file away."""
    stage = Stage()
    step, told = sending_look(stage)
    stage.first("facts", lambda *_: raises(ConnectionLost("cut")))
    stage.run(step)
    calls = [name for name, _ in told]
    assert calls == ["look", "upload", "looked", "look", "upload", "facts", "looked"]
    assert told[0][1] != told[3][1]


def test_a_look_that_fails_leaves_nothing() -> None:
    stage = Stage()
    step, told = sending_look(stage)

    def full(_host: str, _source: object, _target: str) -> None:
        raise StepFailed("no space left on device")

    stage.transport.on_upload = full
    stage.first("job/looked", lambda _, env: raises(ConnectionLost(env["DRCTL_LOOK"])))
    assert "no space left" in stage.fails(Refused, step).message
    assert stage.transport.calls[-1] == ("a", "job/looked")
    assert [name for name, _ in told] == ["look"]


def sending_act(stage: Stage, seen: str) -> PlannedStep:
    """An act that sends a file to where the node says, with a place of the run's own choice."""
    task = Task(
        Script("send/observe", "look"),
        Script("send/act", "do"),
        env={"DRCTL_STAGE": "value stage"},
        sources={"seen target": __file__},
    )
    stage.answer("job/owned", lambda *_: "")
    stage.answer(
        "send/observe",
        lambda host, _: (
            "state=after\n" if (host, "send") in stage.done else f"state=before\n{seen}"
        ),
    )
    if "stage" not in fold(stage.journal.events).values:
        stage.journal.append("value", name="stage", value={"a": "/data.drctl"}, step="facts")
    return replace(act("send", hosts=("a",)), tasks={"a": task})


@pytest.mark.parametrize("target", ["/data.drctl/r1/snapshot.db.part", "/w/r1/files/etcd"])
def test_a_file_is_sent_where_the_run_has_its_places(target: str) -> None:
    stage = Stage()
    sent: list[str] = []
    stage.transport.on_upload = lambda _host, _source, target: sent.append(target)
    stage.run(sending_act(stage, f"target={target}\n"))
    assert sent == [target]


@pytest.mark.parametrize(
    "target",
    [
        "/etc/cron.d/x",
        "/data.drctl/r2/x",  # another run's
        "/data.drctl/r1/../../etc/cron.d/x",
        "/data.drctl/r1//x",
        "/data.drctl/r1",
        "/data.drctl/r10/x",
        "/w/owner",
        "relative/x",
    ],
)
def test_a_node_cannot_say_that_a_file_goes_elsewhere(target: str) -> None:
    stage = Stage()
    error = stage.fails(StepFailed, sending_act(stage, f"target={target}\n"))
    assert "is outside this run's directories" in error.message and error.host == "a"
    assert ("a", "upload") not in stage.transport.calls and stage.acts == []


@pytest.mark.parametrize(
    "said", ["state=before\nstate=after\n", "state=before\nwhy=\x1b]0;x\x07\n", "x" * 2_000_000]
)
def test_a_garbled_observation_changes_nothing(said: str) -> None:
    stage = Stage()
    step = act("stop", hosts=("a",))
    stage.answer("stop/observe", lambda *_: said)
    error = stage.fails(AnswerError, step)
    assert "invalid answer" in error.message and error.host == "a"
    assert (error.exit_code, error.code) == (StepFailed.exit_code, StepFailed.code)
    assert stage.acts == [] and len(error.message) < 300 and error.message.isprintable()


def test_whose_the_node_is_reaches_no_terminal_as_it_was_said() -> None:
    stage = Stage()
    stage.answer("job/claim", lambda *_: CommandResult(75, "run=r9\nwho=\x1b]0;x\x07\n"))
    error = stage.fails(Refused, act("stop", hosts=("a",)))
    assert error.message.isprintable() and "invalid answer" in error.message
    long = f"run=r9\nwho={'x' * 9999}\u202e\nsince=noon\n"
    stage.answer("job/claim", lambda *_: CommandResult(75, long))
    held = stage.fails(LockHeld, act("stop", hosts=("a",)))
    assert held.message.isprintable() and len(held.message) < 500
