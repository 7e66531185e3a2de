"""Looking at hosts: ask every one, let the judges look at all answers, keep what they yield."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drctl.engine.acting import Acting
from drctl.engine.session import Session
from drctl.errors import DrctlError, Drifted, HostUnavailable, LockHeld, NotProven, Refused
from drctl.plan.model import PlannedStep
from drctl.verdict import Gathered, Judge, Kind, Problem, Verdict

KEPT_ANSWER = 16_384  # characters of one host's answer that the journal keeps as evidence

Moments = Mapping[str, tuple[float, float]]
"""By this machine's clock, when each host was asked and had answered."""


class Gathering:
    """Runs the gathers of one session."""

    def __init__(self, session: Session, acting: Acting, judges: Mapping[str, Judge]) -> None:
        self._session = session
        self._acting = acting
        self._judges = judges

    def gather(self, step: PlannedStep) -> None:
        ends = self._session.clock() + step.patience
        pause = 0.1  # seconds
        while True:
            answers, silent, asked = self._ask(step)
            verdict = self._judge(step, answers, silent, asked)
            if not verdict.problems or self._session.clock() >= ends:
                break
            self._session.check_stop()
            self._session.listener.waiting(step, verdict.problems[0].message)
            self._session.sleep(pause)
            pause = min(1.0, 1.5 * pause)
        self._record_answers(step, answers, silent)
        if verdict.problems:
            self._session.note(
                "judged", step=step.id, problems=[_problem_record(p) for p in verdict.problems]
            )
            raise self._refusal(step, verdict.problems)
        for name in step.yields:
            if name not in verdict.values:
                raise DrctlError(f"{step.id}: no judge yielded {name!r}")
        for name, value in verdict.values.items():
            if self._session.state.values.get(name) != value:
                self._session.note("value", name=name, value=value, step=step.id)
        self._session.note(
            "step-done",
            step=step.id,
            findings=list(verdict.findings),
            warnings=list(verdict.warnings),
        )

    def _ask(self, step: PlannedStep) -> tuple[dict[str, str], dict[str, str], Moments]:
        answers: dict[str, str] = {}
        asked: dict[str, tuple[float, float]] = {}

        known = self._session.state.hosts
        begun = [host for host in step.hosts if (step.id, host) not in known]
        self._session.note_all("host-started", ({"step": step.id, "host": h} for h in begun))

        def ask(host: str) -> None:
            before = self._session.wall()
            answers[host] = self._acting.look(step, host, step.tasks[host])
            asked[host] = (before, self._session.wall())

        failures = self._session.each_host(step, ask)
        for error in failures.values():
            if not (step.tolerate and isinstance(error, HostUnavailable)):
                raise error
        silent = {host: error.message for host, error in failures.items()}
        return {host: answers[host] for host in step.hosts if host in answers}, silent, asked

    def _judge(
        self,
        step: PlannedStep,
        answers: Mapping[str, str],
        silent: Mapping[str, str],
        asked: Moments,
    ) -> Verdict:
        """All judges of the step in turn; each sees the values that those before it yielded."""
        total = Verdict()
        for name in step.judges:
            gathered = Gathered(
                answers=answers,
                silent=silent,
                facts=self._session.plan.facts,
                values={
                    **self._session.state.values,
                    "run": self._session.state.run,
                    **total.values,
                },
                options=self._session.plan.options,
                asked=asked,
            )
            total = total.and_then(self._judges[name](gathered))
        return total

    def _record_answers(
        self, step: PlannedStep, answers: Mapping[str, str], silent: Mapping[str, str]
    ) -> None:
        done = [{"state": "done", "answer": text[:KEPT_ANSWER]} for text in answers.values()]
        missing = [{"state": "unreachable", "detail": why} for why in silent.values()]
        told = zip((*answers, *silent), (*done, *missing), strict=True)
        self._session.note_all("result", ({"step": step.id, "host": h, **how} for h, how in told))

    def _refusal(self, step: PlannedStep, problems: tuple[Problem, ...]) -> DrctlError:
        lines = [f"{p.host}: {p.message}" if p.host else p.message for p in problems]
        hints = list(dict.fromkeys(p.hint for p in problems if p.hint))
        first = problems[0]
        return _ERRORS[first.kind](
            f"{step.id}: " + ("\n" + "  " if len(lines) > 1 else "") + "\n  ".join(lines),
            hint="; ".join(hints) or None,
        )


_ERRORS: dict[Kind, type[DrctlError]] = {
    "refused": Refused,
    "missing": Refused,
    "drift": Drifted,
    "lock": LockHeld,
    "unproven": NotProven,
}


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {"message": problem.message, "host": problem.host, "kind": problem.kind}
