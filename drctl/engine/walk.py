"""The engine: steps on hosts, a barrier between steps, every change journalled around.

    gather    ask every host, judge all answers, keep the values            (gathering)
    act       per host: observe -> intent -> job -> observe -> result       (acting)
    confirm   ask the operator once

The engine knows no product, no service and no dry run: a dry run is a plan of gathers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile

from drctl.engine.acting import Acting
from drctl.engine.claims import Claims
from drctl.engine.gathering import Gathering
from drctl.engine.session import Confirm, Session
from drctl.errors import (
    Aborted,
    DrctlError,
    Drifted,
    HostUnavailable,
    LockHeld,
    Refused,
    StepFailed,
)
from drctl.journal.runstate import RunState
from drctl.plan.model import PlannedStep
from drctl.verdict import Judge


class Engine:
    """Runs one session's plan."""

    def __init__(self, session: Session, judges: Mapping[str, Judge], confirm: Confirm) -> None:
        self._session = session
        self._confirm_with = confirm
        self._was_claimed = session.state.claimed
        self._claims = Claims(session)
        self._acting = Acting(session, self._claims)
        self._gathering = Gathering(session, self._acting, judges)

    def run(self, *, done: str = "done") -> RunState:
        """Execute what is left of the plan; raises the error that ended it.

        The journal's last event says how it ended: `done` (or what the caller calls it),
        `failed` or `aborted`.
        """
        try:
            self._claims.settle_pending()
            if self._session.state.claimed:
                self._claims.claim()
            for number, step in enumerate(self._session.plan.steps):
                self._session.check_stop()
                try:
                    self._step(step)
                except Refused as error:
                    raise self._with_the_others(error, number) from error
            self._claims.release(done)
            self._session.note("finished", state=done)
        except Aborted as error:
            self._end("aborted", error)
            raise
        except DrctlError as error:
            self._end_tries()
            final = self._as_seen_by_the_operator(error)
            self._end("failed", final)
            raise final from error
        return self._session.state

    def _with_the_others(self, first: Refused, number: int) -> Refused:
        """The refusal of a look before the first change, and those of the looks behind it that are
        made regardless: an operator is to mend all of it at once."""
        steps = self._session.plan.steps
        if steps[number].kind != "gather" or self._session.changed or type(first) is not Refused:
            return first
        looks = takewhile(lambda step: step.kind == "gather", steps[number + 1 :])
        for step in (step for step in looks if step.regardless):
            if self._session.stop.is_set():
                break
            try:
                self._step(step)
            except (Refused, LockHeld, Drifted) as error:
                first = Refused(
                    f"{first.message}\n{error.message}",
                    host=first.host if first.host == error.host else None,
                    hint="; ".join(dict.fromkeys(h for h in (first.hint, error.hint) if h)) or None,
                )
            except DrctlError:  # it could not look: the refusal is what there is to tell
                break
        return first

    def _end_tries(self) -> None:
        """Where nothing but things of no worth was made, they are removed and the nodes released:
        the run was refused before its first change. Where that fails, it keeps them."""
        state = self._session.state
        if state.direction != "forward" or state.attempted or not state.tried:
            return
        with suppress(DrctlError):
            for step in self._session.plan.steps:
                if step.role == "untry":
                    self._acting.act_on_all(step)
            self._claims.release("not begun")

    def _end(self, state: str, error: DrctlError) -> None:
        record = {"code": error.code, "message": error.message, "host": error.host}
        with suppress(Refused):  # a journal that cannot be written is the very error to tell
            if self._session.state.direction != "forward" and not self._session.changed:
                ended = self._session.state.before_undo[0]
                if not self._was_claimed or ended in ("done", "rolled-back"):
                    self._claims.release(ended)
                self._session.note("withdrawn", error=record)
            else:
                self._session.note("finished", state=state, error=record)

    def _as_seen_by_the_operator(self, error: DrctlError) -> DrctlError:
        """Before the first change an unreachable host is exit 8, afterwards a failed step."""
        if not self._session.changed:
            if isinstance(error, StepFailed):
                return Refused(error.message, host=error.host, hint=error.hint)
            return error
        if isinstance(error, HostUnavailable | Refused):
            return StepFailed(error.message, host=error.host, hint=error.hint)
        return error

    def _step(self, step: PlannedStep) -> None:
        if self._is_over(step):
            return
        self._session.note("step-started", step=step.id)
        if step.kind == "confirm":
            self._confirm(step)
        elif step.kind == "gather":
            self._gathering.gather(step)
        else:
            self._claims.claim()
            self._acting.act_on_all(step)

    def _is_over(self, step: PlannedStep) -> bool:
        """Done before, and still to be relied on. While nothing was changed, every look at the
        nodes is checked again: what a refused run saw may be days old."""
        if step.id not in self._session.state.steps_done or step.each_session:
            return False
        if step.kind == "act" and not all(self._has_ended(step, host) for host in step.hosts):
            return False  # it was done without this host
        return self._session.changed and not self._describes(step)

    def _has_ended(self, step: PlannedStep, host: str) -> bool:
        known = self._session.state.hosts.get((step.id, host))
        return known is not None and known.state in ("done", "unreachable")

    def _describes(self, step: PlannedStep) -> bool:
        """Whether `step` is the last finished one on its resource: what it left must still hold,
        so a resumed run observes it again."""
        if step.kind != "act":
            return False
        same = [s.id for s in self._session.plan.steps if s.resource == step.resource]
        begun = [s for s in same if s in self._session.state.steps_done or self._session.begun(s)]
        return bool(begun) and begun[-1] == step.id

    def _confirm(self, step: PlannedStep) -> None:
        how = self._confirm_with(step, self._session.state)
        if how is None:
            raise Aborted("not confirmed", hint="nothing was changed after the question")
        self._session.note("confirmed", step=step.id, how=how)
        self._session.note("step-done", step=step.id)
