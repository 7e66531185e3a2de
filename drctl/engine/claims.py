"""Locks on the nodes: a run takes them before its first change and releases them at its end."""

from __future__ import annotations

from drctl.engine.session import Session, each
from drctl.errors import (
    ConnectionLost,
    DrctlError,
    Drifted,
    HostUnavailable,
    LockHeld,
    StepFailed,
)

CLAIM_SECONDS = 60.0


class Claims:
    """The claims of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left: str | None = None  # the manifest that this session left on the nodes
        self._missed: set[str] = set()  # tolerated as unreachable; claimed when they answer again
        # An earlier session may have claimed any host, this one has claimed these.
        self._any_may_be_ours = session.state.claimed
        self._taken: set[str] = set()

    def settle_pending(self) -> None:
        """Wait for jobs that an earlier session started and whose end it did not see."""
        for (step_id, host), known in list(self._session.state.hosts.items()):
            # "failed" may be a job whose result is unknown: the connection or the patience ended.
            left_out = host not in self._session.plan.owns
            if known.attempts and known.state in ("intended", "failed") and not left_out:
                job = job_id(step_id, known.attempts)
                deadline = self._deadline_of(step_id)
                report = self._session.jobs.settle(host, job, deadline=deadline)
                self._session.note("settled", step=step_id, host=host, job=job, state=report.state)

    def _deadline_of(self, step_id: str) -> float:
        known = [step.deadline for step in self._session.plan.steps if step.id == step_id]
        return known[0] if known else 300.0

    def claim(self) -> None:
        """Make this run the owner of all its hosts, in one order for everybody, so that one of
        two operators wins. Where it cannot, and nothing was changed yet, it lets go of all.

        Called before each act: the nodes then have every value that the journal has, so that
        another machine can take over from them."""
        manifest = self._session.manifest(self._session.state)
        if self._left == manifest:
            return
        fresh = not self._session.state.claimed
        if self._left is None:
            self._session.note("claiming")
        # Who has them all need not keep to an order any more.
        at_once = self._session.parallel if self._left is not None else 1

        def claim(host: str) -> DrctlError | None:
            try:
                self._claim(host, manifest)
                self._missed.discard(host)
            except (Drifted, LockHeld, HostUnavailable, StepFailed) as error:
                if not (isinstance(error, HostUnavailable) and self._may_miss(host)):
                    return error
                self._session.note("unclaimed", host=host, detail=error.message)
                self._missed.add(host)
            return None

        for error in each(self._session.plan.owns, claim, at_once=at_once):
            if error is None:
                continue
            # Passed by between the claim's intent and the first host: not begun either.
            if fresh or (isinstance(error, Drifted) and not self._session.state.attempted):
                self.release(self._given_up_as)
            raise error
        self._left = manifest

    @property
    def _given_up_as(self) -> str:
        """What a run is on the nodes whose session ends before it changed anything."""
        state = self._session.state
        return "not begun" if state.direction == "forward" else state.before_undo[0]

    def _may_miss(self, host: str) -> bool:
        steps = [s for s in self._session.plan.steps if host in s.tasks and s.kind == "act"]
        return all(step.tolerate for step in steps)

    def release(self, done: str) -> None:
        if not self._session.state.claimed:
            return
        record = self._session.record(self._session.state, done)
        for host in self._session.plan.owns:
            known = host in self._session.state.unreleased
            try:
                machine = self._machine(host)
                self._session.jobs.release(host, record, deadline=CLAIM_SECONDS, machine=machine)
            except (HostUnavailable, StepFailed) as error:
                if known or self._any_may_be_ours or host in self._taken:
                    told = {"detail": error.message, "record": record}
                    self._session.note("unreleased", host=host, **told)
            else:
                if known:
                    self._session.note("given-back", host=host)
        self._session.note("released")

    def claim_missed(self, host: str) -> None:
        """Claim a host that did not answer at first."""
        if host in self._missed:
            manifest = self._session.manifest(self._session.state)
            self._claim(host, manifest)
            self._missed.discard(host)

    def _machine(self, host: str) -> str:
        """The machine-id that must answer there; "" for any. What `clean` removes is in the run's
        own folders: another machine has none."""
        state = self._session.state
        accepted = f"machine_id.{host}" in self._session.plan.options.get("accept_drift", ())
        if accepted or state.direction == "clean":
            return ""
        return str(state.values.get("machine_id", {}).get(host, ""))

    def _claim(self, host: str, manifest: str) -> None:
        known = host in self._taken
        self._taken.add(host)
        try:
            self._session.jobs.claim(
                host,
                manifest,
                deadline=CLAIM_SECONDS,
                last_seen=self._last_seen(host),
                machine=self._machine(host),
            )
        except ConnectionLost:
            raise  # it may have been claimed all the same
        except DrctlError:
            if not known:
                self._taken.discard(host)
            raise

    def _last_seen(self, host: str) -> str:
        """The last line of the node's history when this run looked at it: a restore in step 1, an
        undo (which observes each act's own traces) when its journal was held against the nodes."""
        state = self._session.state
        if state.direction == "forward":
            return str(state.values.get("last_line", {}).get(host, ""))
        return str(state.seen_lines.get(host, ""))


def job_id(step: str, attempt: int) -> str:
    return f"{step}-{attempt}"
