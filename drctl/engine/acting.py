"""Changing a host: observe, decide, act, verify, with the intent journalled before the act and the
result after it. An observation is `state=before`, `after` or `unknown`, with facts; unknown is
never "not done"."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_fixed,
)

from drctl.answer import Answer, parse, shown
from drctl.engine.claims import Claims, job_id
from drctl.engine.jobs import UNSAFE
from drctl.engine.session import Session
from drctl.errors import (
    Aborted,
    ConnectionLost,
    DrctlError,
    HostUnavailable,
    LockHeld,
    Refused,
    StepFailed,
    Unreachable,
)
from drctl.plan.model import PlannedStep, Task
from drctl.transport import CommandResult

SENT = "DRCTL_SENT"  # the folder on the node below which lies what was sent for a script
SECRET = "secret "  # such a variable's source begins so
OBSERVE_SECONDS = 120.0  # looking is quick; a peer that froze must not hold a run for hours


class Acting:
    """Runs observations and acts of one session."""

    def __init__(self, session: Session, claims: Claims) -> None:
        self._session = session
        self._claims = claims

    def act_on_all(self, step: PlannedStep) -> None:
        def act(host: str) -> None:
            self._session.note("host-started", step=step.id, host=host)
            try:
                self._act_on(step, host)
            except DrctlError as error:
                missing = isinstance(error, HostUnavailable) and step.tolerate
                state = "unreachable" if missing else "failed"
                self._session.note(
                    "result", step=step.id, host=host, state=state, detail=error.message
                )
                if not missing:
                    raise

        failures = self._session.each_host(step, act)
        if failures:
            raise _worst(failures)
        self._session.note("step-done", step=step.id)

    def _act_on(self, step: PlannedStep, host: str) -> None:
        attempts = 3 if step.repeatable else 1
        for attempt in Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_fixed(2),
            retry=retry_if_exception_type((StepFailed, ConnectionLost)),
            sleep=self._session.sleep,
            reraise=True,
        ):
            with attempt:
                self._observe_act_verify(step, host)

    def _observe_act_verify(self, step: PlannedStep, host: str) -> None:
        task = step.tasks[host]
        assert task.act is not None
        before = self._observe(step, host, task)
        if before["state"] == "before":
            attempt = self._session.state.of(step.id, host).attempts + 1
            self._claims.claim_missed(host)
            seen = dict(before)
            self._session.note("intent", step=step.id, host=host, attempt=attempt, seen=seen)
            self._send(step, host, task, before)
            result = self._session.jobs.perform(
                host,
                job_id(step.id, attempt),
                task.act,
                {SENT: self._session.jobs.own_folder(host), **self._env(step, host, task)},
                secrets=self._secrets(task),
                step=step.id,
                seen=json.dumps(seen),
                deadline=step.deadline,
            )
            if not result.ok:
                raise _failed(step, host, result.complaint, result.status)
            after = self._observe(step, host, task)
            if after["state"] != "after":
                raise StepFailed(
                    f"{step.id} ran but had no effect: "
                    + after.text("why", f"state {after['state']}"),
                    host=host,
                    hint="check that node, then resume",
                )
        self._session.note(
            "result",
            step=step.id,
            host=host,
            state="done",
            seen=dict(before),
            detail=before.text("note"),
        )

    def _send(self, step: PlannedStep, host: str, task: Task, seen: Answer) -> None:
        """Put the task's local files, if it has any, where they say or the observation says."""
        own = self._session.jobs.own_folder(host)
        for place, source in task.sources.items():
            kind, _, name = place.partition(" ")
            if target := f"{own}/{name}" if kind == "run" else seen.get(name):
                self._refuse_elsewhere(host, task, name, target)
                self._session.jobs.still_ours(host)
                self._upload(step, host, source, target)

    def _refuse_elsewhere(self, host: str, task: Task, name: str, target: str) -> None:
        """A file goes below the run's own folder on that host, or below the run's part of a place
        that the task was given: whatever the host would like."""
        given = (
            self._lookup(source, "", host) for source in task.env.values() if _is_value(source)
        )
        places = [f"{place}/{self._session.state.run}" for place in given if place.startswith("/")]
        for place in (self._session.jobs.own_folder(host), *places):
            if target.startswith(f"{place}/") and target == posixpath.normpath(target):
                return
        raise StepFailed(
            f"it wants {name} at {shown(target)!r}, which is outside this run's directories",
            host=host,
            hint="find out why that host answers like this before you resume; nothing was sent",
        )

    def _upload(self, step: PlannedStep, host: str, source: str, target: str) -> None:
        def progress(done: int, total: int) -> None:
            self._session.check_stop()
            self._session.listener.progress(step, host, done, total)

        self._session.transport.upload(
            host,
            Path(source),
            target,
            deadline=step.deadline,
            go_on=step.repeatable,
            rate=step.rate and step.rate * 1e6,
            progress=progress,
        )

    def _observe(self, step: PlannedStep, host: str, task: Task) -> Answer:
        seen = parse(self.observe_text(step, host, task), host)
        if seen.get("state") not in ("before", "after"):
            raise StepFailed(
                f"cannot tell whether {step.id} is done: {seen.text('why', 'no answer')}",
                host=host,
                hint="check that node; drctl changes nothing until this is clear",
            )
        return seen

    def observe_text(self, step: PlannedStep, host: str, task: Task) -> str:
        """Run the observation."""
        return self._heard(step, host, lambda: self._ask(step, host, task, {}))

    def look(self, step: PlannedStep, host: str, task: Task) -> str:
        """Run a gather's script. What it needs on the node is sent to a folder of its own that is
        gone afterwards: a look claims nothing, and leaves nothing."""

        def look() -> CommandResult:
            if not task.sources:
                return self._ask(step, host, task, {})
            with self._session.jobs.look(host) as folder:
                for place, source in task.sources.items():
                    name = place.removeprefix("run ")
                    self._upload(step, host, source, f"{folder}/{name}")
                return self._ask(step, host, task, {SENT: folder})

        return self._heard(step, host, look)

    def _ask(
        self, step: PlannedStep, host: str, task: Task, more: Mapping[str, str]
    ) -> CommandResult:
        assert task.observe is not None
        base = self._session.jobs.base_env(host)
        env = {**base, **more, **self._env(step, host, task), **self._secrets(task)}
        deadline = min(step.deadline, OBSERVE_SECONDS)
        return self._session.transport.run(host, task.observe, env, deadline=deadline)

    def _heard(self, step: PlannedStep, host: str, ask: Callable[[], CommandResult]) -> str:
        """Reading is safe to repeat, so a lost answer is asked for again."""
        result = None
        for attempt in Retrying(
            stop=stop_after_attempt(3),
            wait=wait_fixed(1),
            retry=retry_if_exception_type((ConnectionLost, Unreachable))
            if self._session.state.changed
            else retry_if_exception_type(ConnectionLost),
            sleep=self._session.sleep,
            reraise=True,
            before_sleep=lambda r: self._session.listener.waiting(step, _why(r)),
        ):
            with attempt:
                result = ask()
        assert result is not None
        if result.status == UNSAFE and not self._session.state.changed:
            raise Refused(f"{step.id}: {result.complaint}", host=host)
        if not result.ok:
            raise _failed(step, host, result.complaint, result.status)
        return result.stdout

    def _env(self, step: PlannedStep, host: str, task: Task) -> dict[str, str]:
        return {
            variable: self._lookup(source, task.seen_of or step.id, host)
            for variable, source in task.env.items()
            if not source.startswith(SECRET)
        }

    def _secrets(self, task: Task) -> dict[str, str]:
        """Those that the task's scripts use, by variable."""
        return {
            variable: self._session.secrets[source.removeprefix(SECRET)]
            for variable, source in task.env.items()
            if source.startswith(SECRET)
        }

    def _lookup(self, source: str, step_id: str, host: str) -> str:
        kind, _, name = source.partition(" ")
        if kind == "seen":
            known = self._session.state.hosts.get((step_id, host))
            return known.seen.get(name, "") if known else ""
        # Planning saw to it that a step yields it. What takes a step back may have to do without:
        # its scripts end where they cannot.
        value = self._session.state.values.get(name, "")
        if isinstance(value, Mapping):
            if host not in value:  # a journal rebuilt from nodes has what they told
                raise StepFailed(f"{step_id}: its {name} is unknown", host=host)
            value = value[host]
        return str(value)


def _is_value(source: str) -> bool:
    return source.startswith("value ")


def _why(retry: RetryCallState) -> str:
    error = retry.outcome.exception() if retry.outcome else None
    return f"retrying: {error}"


def _failed(step: PlannedStep, host: str, output: str, status: int) -> StepFailed:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return StepFailed(
        f"{step.id} ({step.title}) failed with status {status}: " + "\n  ".join(lines[-6:]),
        host=host,
        hint="fix the cause on that node, then resume; or roll back",
    )


def _worst(failures: Mapping[str, DrctlError]) -> DrctlError:
    """One error for a step that failed on several hosts: the first, naming the others."""
    order = sorted(failures, key=lambda host: _rank(failures[host]))
    first = failures[order[0]]
    for host in order[1:]:
        first.message += f"\n{host}: {failures[host].message}"
    return first


def _rank(error: DrctlError) -> int:
    ranks = (Aborted, LockHeld, StepFailed, HostUnavailable)
    return next((n for n, kind in enumerate(ranks) if isinstance(error, kind)), 9)
