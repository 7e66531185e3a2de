"""The engine: steps on hosts, a barrier between steps, every change journalled around.

    gather    ask every host, let one judge look at all answers, keep the values it yields
    act       per host: observe -> (before) intent -> job -> observe -> (after) result
    confirm   ask the operator once

An observation is `state=before`, `after` or `unknown` plus facts; unknown is never "not done".
The engine knows no product, no service and no dry run: a dry run is a plan of gathers only.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from drctl.errors import (
    Aborted,
    ConnectionLost,
    Drifted,
    DrctlError,
    HostUnavailable,
    LockHeld,
    NotProven,
    Refused,
    StepFailed,
    Unreachable,
)
from drctl.jobs import Jobs, fields
from drctl.journal import Journal, RunState, apply_event, fold
from drctl.plan import Plan, PlannedStep, Task
from drctl.transport import Transport
from drctl.verdict import Evidence, Judge, Kind, Problem, Verdict

KEPT_ANSWER = 16_384  # characters of one host's answer that the journal keeps as evidence
CLAIM_SECONDS = 60.0


class Listener(Protocol):
    """Hears what has no place in the journal: bytes moved, and questions asked again."""

    def progress(self, step: PlannedStep, host: str, done: int, total: int) -> None: ...

    def waiting(self, step: PlannedStep, why: str) -> None: ...


class Silent:
    """A listener that does not listen."""

    def progress(self, step: PlannedStep, host: str, done: int, total: int) -> None:
        pass

    def waiting(self, step: PlannedStep, why: str) -> None:
        pass


Confirm = Callable[[PlannedStep, RunState], str | None]
"""Ask the operator; how it was answered ("typed", "--yes"), or None for no."""


@dataclass
class Engine:
    """Runs one plan. `stop` asks it to end at the next safe point (Aborted)."""

    plan: Plan
    transport: Transport
    journal: Journal
    jobs: Jobs
    judges: Mapping[str, Judge]
    confirm: Confirm
    manifest: Callable[[RunState], str]
    listener: Listener = field(default_factory=Silent)
    stop: threading.Event = field(default_factory=threading.Event)
    parallel: int = 8
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.state = fold(self.journal.events)
        self._claimed = False
        self._state_lock = threading.Lock()

    # -- the run ----------------------------------------------------------------------------

    def run(self, *, done: str = "done") -> RunState:
        """Execute what is left of the plan; raises the error that ended it.

        The journal's last event says how it ended: `done` (or what the caller calls it),
        `failed` or `aborted`.
        """
        try:
            self._settle_pending()
            if self.state.changed:
                self._claim()
            for step in self.plan.steps:
                self._check_stop()
                self._step(step)
            self._release(done)
            self._note("finished", state=done)
        except Aborted as error:
            self._end("aborted", error)
            raise
        except DrctlError as error:
            final = self._as_seen_by_the_operator(error)
            self._end("failed", final)
            raise final from error
        return self.state

    def _end(self, state: str, error: DrctlError) -> None:
        self._note(
            "finished",
            state=state,
            error={"code": error.code, "message": error.message, "host": error.host},
        )

    def _as_seen_by_the_operator(self, error: DrctlError) -> DrctlError:
        """Before the first change an unreachable host is exit 8, afterwards a failed step."""
        if not self.state.changed:
            if isinstance(error, StepFailed):
                return Refused(error.message, host=error.host, hint=error.hint)
            return error
        if isinstance(error, HostUnavailable | Refused):
            return StepFailed(error.message, host=error.host, hint=error.hint)
        return error

    def _note(self, kind: str, **body: Any) -> None:
        with self._state_lock:
            apply_event(self.state, self.journal.append(kind, **body))

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Aborted("ended by the operator at a safe point", hint="resume or roll back")

    # -- who owns the nodes -----------------------------------------------------------------

    def _settle_pending(self) -> None:
        """Wait for jobs that an earlier session started and whose end it did not see."""
        for (step_id, host), known in list(self.state.hosts.items()):
            if known.state == "intended":
                job = job_id(step_id, known.attempts)
                deadline = self._deadline_of(step_id)
                report = self.jobs.settle(host, job, deadline=deadline)
                self._note("settled", step=step_id, host=host, job=job, state=report.state)

    def _deadline_of(self, step_id: str) -> float:
        known = [step.deadline for step in self.plan.steps if step.id == step_id]
        return known[0] if known else 300.0

    def _claim(self) -> None:
        """Make this run the owner of all its hosts, in one order for everybody, so that one of
        two operators wins. Where it cannot, and nothing was changed yet, it lets go of all."""
        if self._claimed:
            return
        fresh = not self.state.changed
        self._note("claiming")
        manifest = self.manifest(self.state)
        for host in self.plan.owns:
            try:
                self.jobs.claim(host, manifest, deadline=CLAIM_SECONDS)
            except (LockHeld, HostUnavailable, StepFailed) as error:
                if isinstance(error, HostUnavailable) and self._may_miss(host):
                    self._note("unclaimed", host=host, detail=error.message)
                    continue
                if fresh:
                    self._release("not begun")
                raise
        self._claimed = True

    def _may_miss(self, host: str) -> bool:
        steps = [s for s in self.plan.steps if host in s.tasks and s.kind == "act"]
        return all(step.tolerate for step in steps)

    def _release(self, done: str) -> None:
        if not self.state.claimed:
            return
        record = json.dumps({"run": self.state.run, "state": done})
        for host in self.plan.owns:
            try:
                self.jobs.release(host, record, deadline=CLAIM_SECONDS)
            except HostUnavailable as error:
                self._note("unreleased", host=host, detail=error.message)
        self._note("released")

    # -- one step ---------------------------------------------------------------------------

    def _step(self, step: PlannedStep) -> None:
        if self._is_over(step):
            return
        self._note("step-started", step=step.id)
        if step.kind == "confirm":
            self._confirm(step)
        elif step.kind == "gather":
            self._gather(step)
        else:
            self._claim()
            self._act(step)

    def _is_over(self, step: PlannedStep) -> bool:
        """Done before, and still to be relied on. While nothing was changed, every look at the
        nodes is taken anew: what a refused run saw may be days old."""
        if step.id not in self.state.steps_done or step.each_session:
            return False
        return self.state.changed and not self._describes(step)

    def _describes(self, step: PlannedStep) -> bool:
        """Whether `step` is the last finished one on its resource: what it left must still hold,
        so a resumed run observes it again."""
        if step.kind != "act":
            return False
        same = [s.id for s in self.plan.steps if s.resource == step.resource]
        begun = [s for s in same if s in self.state.steps_done or self._begun(s)]
        return bool(begun) and begun[-1] == step.id

    def _begun(self, step_id: str) -> bool:
        return any(sid == step_id and h.attempts for (sid, _), h in self.state.hosts.items())

    def _confirm(self, step: PlannedStep) -> None:
        how = self.confirm(step, self.state)
        if how is None:
            raise Aborted("not confirmed", hint="nothing was done after the question")
        self._note("confirmed", step=step.id, how=how)
        self._note("step-done", step=step.id)

    def _each_host(self, step: PlannedStep, work: Callable[[str], None]) -> dict[str, DrctlError]:
        """Run `work` for every host; one that fails does not stop the others, except where they
        go one by one."""
        failures: dict[str, DrctlError] = {}

        def guarded(host: str) -> None:
            try:
                work(host)
            except DrctlError as error:
                error.host = error.host or host
                failures[host] = error

        if step.one_by_one or self.parallel == 1:
            for host in step.hosts:
                guarded(host)
                if failures and step.one_by_one:
                    break
            return failures
        with ThreadPoolExecutor(max_workers=min(self.parallel, len(step.hosts))) as pool:
            list(pool.map(guarded, step.hosts))
        return failures

    # -- gather and judge -------------------------------------------------------------------

    def _gather(self, step: PlannedStep) -> None:
        ends = self.clock() + step.patience
        while True:
            answers, silent = self._ask(step)
            verdict = self._judge(step, answers, silent)
            if not verdict.problems or self.clock() >= ends:
                break
            self._check_stop()
            self.listener.waiting(step, verdict.problems[0].message)
            self.sleep(1.0)
        self._record_answers(step, answers, silent)
        if verdict.problems:
            self._note(
                "judged", step=step.id, problems=[_problem_record(p) for p in verdict.problems]
            )
            raise self._refusal(step, verdict.problems)
        for name in step.yields:
            if name not in verdict.values:
                raise DrctlError(f"{step.id}: no judge yielded {name!r}")
        for name, value in verdict.values.items():
            if self.state.values.get(name) != value:
                self._note("value", name=name, value=value, step=step.id)
        self._note(
            "step-done",
            step=step.id,
            findings=list(verdict.findings),
            warnings=list(verdict.warnings),
        )

    def _ask(self, step: PlannedStep) -> tuple[dict[str, str], dict[str, str]]:
        answers: dict[str, str] = {}

        def ask(host: str) -> None:
            if (step.id, host) not in self.state.hosts:
                self._note("host-started", step=step.id, host=host)
            answers[host] = self._observe_text(step, host, step.tasks[host])

        failures = self._each_host(step, ask)
        for error in failures.values():
            if not (step.tolerate and isinstance(error, HostUnavailable)):
                raise error
        silent = {host: error.message for host, error in failures.items()}
        return {host: answers[host] for host in step.hosts if host in answers}, silent

    def _judge(
        self, step: PlannedStep, answers: Mapping[str, str], silent: Mapping[str, str]
    ) -> Verdict:
        """All judges of the step in turn; each sees the values that those before it yielded."""
        total = Verdict()
        for name in step.judges:
            evidence = Evidence(
                answers=answers,
                silent=silent,
                facts=self.plan.facts,
                values={**self.state.values, "run": self.state.run, **total.values},
                options=self.plan.options,
            )
            total = total.and_then(self.judges[name](evidence))
        return total

    def _record_answers(
        self, step: PlannedStep, answers: Mapping[str, str], silent: Mapping[str, str]
    ) -> None:
        for host, text in answers.items():
            self._note("result", step=step.id, host=host, state="done", answer=text[:KEPT_ANSWER])
        for host, why in silent.items():
            self._note("result", step=step.id, host=host, state="unreachable", detail=why)

    def _refusal(self, step: PlannedStep, problems: tuple[Problem, ...]) -> DrctlError:
        lines = [f"{p.host}: {p.message}" if p.host else p.message for p in problems]
        hints = list(dict.fromkeys(p.hint for p in problems if p.hint))
        first = problems[0]
        return _ERRORS[first.kind](
            f"{step.id}: " + ("\n" + "  " if len(lines) > 1 else "") + "\n  ".join(lines),
            hint="; ".join(hints) or None,
        )

    # -- observe, decide, act, verify -------------------------------------------------------

    def _act(self, step: PlannedStep) -> None:
        def act(host: str) -> None:
            self._note("host-started", step=step.id, host=host)
            try:
                self._act_on(step, host)
            except DrctlError as error:
                missing = isinstance(error, HostUnavailable) and step.tolerate
                state = "unreachable" if missing else "failed"
                self._note("result", step=step.id, host=host, state=state, detail=error.message)
                if not missing:
                    raise

        failures = self._each_host(step, act)
        if failures:
            raise _worst(step, failures)
        self._note("step-done", step=step.id)

    def _act_on(self, step: PlannedStep, host: str) -> None:
        attempts = 3 if step.repeatable else 1
        for attempt in Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_fixed(2),
            retry=retry_if_exception_type((StepFailed, ConnectionLost)),
            sleep=self.sleep,
            reraise=True,
        ):
            with attempt:
                self._observe_act_verify(step, host)

    def _observe_act_verify(self, step: PlannedStep, host: str) -> None:
        task = step.tasks[host]
        assert task.act is not None
        before = self._observe(step, host, task)
        if before["state"] == "before":
            attempt = self.state.of(step.id, host).attempts + 1
            self._note("intent", step=step.id, host=host, attempt=attempt, seen=before)
            self._upload(step, host, task, before)
            result = self.jobs.perform(
                host,
                job_id(step.id, attempt),
                task.act,
                self._env(step, host, task),
                step=step.id,
                seen=json.dumps(before),
                deadline=step.deadline,
            )
            if not result.ok:
                raise _failed(step, host, result.stderr or result.stdout, result.status)
            after = self._observe(step, host, task)
            if after["state"] != "after":
                raise StepFailed(
                    f"{step.id} ran, but its effect is not there: "
                    + (after.get("why") or f"state {after['state']}"),
                    host=host,
                    hint="look at that node, then resume",
                )
        self._note("result", step=step.id, host=host, state="done", seen=before)

    def _upload(
        self, step: PlannedStep, host: str, task: Task, before: Mapping[str, str]
    ) -> None:
        if task.source is None:
            return
        def progress(done: int, total: int) -> None:
            self._check_stop()
            self.listener.progress(step, host, done, total)

        self.transport.upload(
            host, Path(task.source), before["target"], deadline=step.deadline, progress=progress
        )

    def _observe(self, step: PlannedStep, host: str, task: Task) -> dict[str, str]:
        seen = fields(self._observe_text(step, host, task))
        if seen.get("state") not in ("before", "after"):
            raise StepFailed(
                f"cannot tell whether {step.id} is done: {seen.get('why', 'no answer')}",
                host=host,
                hint="look at that node; drctl changes nothing while this is unclear",
            )
        return seen

    def _observe_text(self, step: PlannedStep, host: str, task: Task) -> str:
        """Run the observation; reading is safe to repeat, so a lost answer is asked for again."""
        assert task.observe is not None
        script = task.observe
        result = None
        for attempt in Retrying(
            stop=stop_after_attempt(3),
            wait=wait_fixed(1),
            retry=retry_if_exception_type((ConnectionLost, Unreachable))
            if self.state.changed
            else retry_if_exception_type(ConnectionLost),
            sleep=self.sleep,
            reraise=True,
            before_sleep=lambda r: self.listener.waiting(step, _why(r)),
        ):
            with attempt:
                env = {**self.jobs.base_env(host), **self._env(step, host, task)}
                result = self.transport.run(host, script, env, deadline=step.deadline)
        assert result is not None
        if not result.ok:
            raise _failed(step, host, result.stderr or result.stdout, result.status)
        return result.stdout

    def _env(self, step: PlannedStep, host: str, task: Task) -> dict[str, str]:
        return {
            variable: self._lookup(source, task.seen_of or step.id, host)
            for variable, source in task.env.items()
        }

    def _lookup(self, source: str, step_id: str, host: str) -> str:
        kind, _, name = source.partition(" ")
        if kind == "seen":
            known = self.state.hosts.get((step_id, host))
            return known.seen.get(name, "") if known else ""
        value = self.state.values[name]
        if isinstance(value, Mapping):
            value = value[host]
        return str(value)


_ERRORS: dict[Kind, type[DrctlError]] = {
    "refused": Refused,
    "missing": Refused,
    "drift": Drifted,
    "lock": LockHeld,
    "unproven": NotProven,
}


def job_id(step: str, attempt: int) -> str:
    return f"{step}-{attempt}"


def _why(retry: RetryCallState) -> str:
    error = retry.outcome.exception() if retry.outcome else None
    return f"asks again: {error}"


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {"message": problem.message, "host": problem.host, "kind": problem.kind}


def _failed(step: PlannedStep, host: str, output: str, status: int) -> StepFailed:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return StepFailed(
        f"{step.id} ({step.title}) failed with status {status}: " + "\n  ".join(lines[-6:]),
        host=host,
        hint="mend the cause on that node, then resume; or roll back",
    )


def _worst(step: PlannedStep, failures: Mapping[str, DrctlError]) -> DrctlError:
    """One error for a step that failed on several hosts: the first, naming the others."""
    order = sorted(failures, key=lambda host: _rank(failures[host]))
    first = failures[order[0]]
    for host in order[1:]:
        first.message += f"\n{host}: {failures[host].message}"
    return first


def _rank(error: DrctlError) -> int:
    ranks: Iterator[type[DrctlError]] = iter((Aborted, LockHeld, StepFailed, HostUnavailable))
    return next((n for n, kind in enumerate(ranks) if isinstance(error, kind)), 9)
