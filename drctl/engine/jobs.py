"""Jobs: mutating scripts that outlive the connection which started them.

The node keeps `WORK_DIR/RUN/jobs/JOB/` with the script, its output and, written by rename, its
exit status. Starting is idempotent: starting a job that was started before attaches to it.
A node belongs to one run at a time (`owner`), and within a run to the newest controller
(`epoch`), so a second operator and an old controller that comes back are both refused.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Literal

from drctl.answer import Answer, parse, shown
from drctl.errors import (
    ConnectionLost,
    DrctlError,
    Drifted,
    HostUnavailable,
    LockHeld,
    StepFailed,
    Unreachable,
    another_machine,
)
from drctl.nodes.history import CLAIMS, ending, line_of
from drctl.render import quote, render_script
from drctl.transport import CommandResult, Script, Transport

JobState = Literal["done", "running", "never", "lost"]
NOT_OWNER = 75  # sysexits EX_TEMPFAIL, from templates/job
UNSAFE = 77  # sysexits EX_NOPERM, from templates/node/safe: another user could change a path
POLL_SECONDS = 10  # how long a node is asked to wait before it answers "running"
ANSWER_SECONDS = 30.0  # grace on top of that for the answer to arrive
SILENCE_SECONDS = 90.0  # how long a node may be unreachable before its job's result is unknown


@dataclass(frozen=True)
class JobReport:
    """What became of a job; `result` only where it is done."""

    state: JobState
    result: CommandResult | None = None
    detail: str = ""


def parse_report(answer: CommandResult) -> JobReport:
    """Read the first line that templates/job/report.sh prints: `done STATUS` or a bare state."""
    first, _, rest = answer.stdout.partition("\n")
    word, _, status = first.partition(" ")
    if word == "done" and re.fullmatch("[0-9]{1,3}", status):
        return JobReport("done", CommandResult(int(status), rest, answer.stderr, answer.seconds))
    if word in ("running", "never", "lost"):
        return JobReport(word, detail=answer.complaint)  # type: ignore[arg-type]  # checked
    return JobReport("lost", detail=f"unreadable answer: {shown(first)!r} {answer.complaint}")


def preamble(env: Mapping[str, str]) -> str:
    """Shell assignments; not exported, so they reach neither children nor their environment."""
    return "".join(f"{name}={quote(value)}\n" for name, value in env.items())


@cache
def _job_script(name: str) -> Script:
    """templates/job/NAME; these take everything from variables."""
    return render_script(f"job/{name}")


class Jobs:
    """The node-side jobs of one run, as controlled by one controller session."""

    def __init__(
        self,
        transport: Transport,
        *,
        run: str,
        epoch: int,
        who: str,
        direction: str = "forward",
        journal: str = "",
        head: Callable[[], tuple[int, str]] = lambda: (0, ""),
        work_dirs: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._run, self._epoch, self._who = run, epoch, who
        self._direction, self._journal, self._head = direction, journal, head
        self._work_dirs = work_dirs
        self._sleep, self._clock = sleep, clock

    def base_env(self, host: str) -> dict[str, str]:
        """The variables that every script may use."""
        return {
            "DRCTL_RUN": self._run,
            "DRCTL_WORK": self._work_dirs[host],
            "DRCTL_HOST": host,
        }

    def own_folder(self, host: str) -> str:
        """The run's own folder on `host`; only who owns the node writes there."""
        return f"{self._work_dirs[host]}/{self._run}"

    @contextmanager
    def look(self, host: str) -> Iterator[str]:
        """A folder on `host` for what one look needs there; its path, absolute.

        It claims nothing, and is gone afterwards. What is left where this process or the connection
        was killed is swept by a later look.
        """
        env = {"DRCTL_LOOK": f"{self._run}-{secrets.token_hex(6)}"}
        self._made(host, self._call(host, "look", env, ANSWER_SECONDS))
        try:
            yield f"{self._work_dirs[host]}/looks/{env['DRCTL_LOOK']}"
        except BaseException:
            with suppress(DrctlError):  # the first error is the one to tell
                self._call(host, "looked", env, ANSWER_SECONDS)
            raise
        self._made(host, self._call(host, "looked", env, ANSWER_SECONDS))

    def _made(self, host: str, answer: CommandResult) -> None:
        if not answer.ok:
            raise StepFailed(
                f"no safe drctl directory: {answer.complaint[-500:]}",
                host=host,
                hint=f"check {self._work_dirs[host]} there",
            )

    def _line(self, kind: str) -> str:
        """What a node puts into its history: what this run does there, and the journal's head."""
        return line_of(self._run, kind, self._who, self._journal, self._head())

    def _call(self, host: str, name: str, env: Mapping[str, str], deadline: float) -> CommandResult:
        everything = {**self.base_env(host), **env}
        return self._transport.run(host, _job_script(name), everything, deadline=deadline)

    def claim(
        self,
        host: str,
        manifest: str,
        *,
        deadline: float,
        last_seen: str = "",
        machine: str = "",
    ) -> None:
        """Make this run the owner of `host` and leave its manifest there.

        `last_seen` is the number of the last line in the node's history when this run looked at it
        ("": it did not, and its own last line counts); Drifted when another one came since.
        `machine` is the machine-id of the run's
        own ("": any); Drifted when another one answers, and then nothing is written there. Waits
        while a job of this very run still holds the lock. Raises LockHeld with the owner's name and
        time when it is someone else's, HostUnavailable, or StepFailed when the work directory
        cannot be written or a tool is missing.
        """
        env = {
            "DRCTL_EPOCH": str(self._epoch),
            "DRCTL_JOURNAL": self._journal,
            "DRCTL_WHO": self._who,
            "DRCTL_MANIFEST": manifest,
            "DRCTL_MACHINE": machine,
            "DRCTL_SEEN_LINE": last_seen,
            "DRCTL_LINE": self._line(CLAIMS[self._direction]),
        }
        ends = self._clock() + deadline
        while True:
            answer = self._call(host, "claim", env, ANSWER_SECONDS)
            if answer.ok:
                return
            if answer.status != NOT_OWNER:
                raise StepFailed(
                    f"cannot lock the node: {answer.complaint}",
                    host=host,
                    hint=f"check {self._work_dirs[host]} there, then resume",
                )
            owner = parse(answer.stdout, host)
            if "machine" in owner:
                raise another_machine(host, machine, owner.text("machine"))
            if "passed_by" in owner:
                raise self._passed_by(owner)
            if "busy" not in owner or owner.get("run", self._run) != self._run:
                raise self._held(owner)
            if self._clock() >= ends:
                raise self._held(owner)
            self._sleep(1.0)

    @staticmethod
    def _passed_by(last: Answer) -> Drifted:
        return Drifted(
            f"run {last.text('run', '(unknown)')} of {last.text('who', 'someone')} finished here "
            "after our checks: they are stale",
            host=last.host,
            hint="talk to them and look at the cluster: drctl status; a new restore checks again",
        )

    def _held(self, owner: Answer) -> LockHeld:
        run = owner.text("run", "(unknown)")
        which = (
            f"this run, from a newer session (epoch {owner.text('epoch', 'unknown')})"
            if run == self._run
            else f"run {run}"
        )
        return LockHeld(
            f"the node is locked by {which} of {owner.text('who', 'someone')} since "
            f"{owner.text('since', 'an unknown time')}",
            host=owner.host,
            hint="let that run finish, or roll it back on the machine where it was started",
        )

    def perform(
        self,
        host: str,
        job: str,
        script: Script,
        env: Mapping[str, str],
        *,
        secrets: Mapping[str, str] | None = None,
        step: str,
        seen: str,
        deadline: float,
    ) -> CommandResult:
        """Start `script` as job `job`, or attach to it, and wait for its end. Its variables are
        kept on the node with it, but for `secrets`, which it reads and nobody stores.

        Survives lost connections until `deadline` seconds are over; then raises ConnectionLost
        or StepFailed ("still running"): unknown, not failed. Raises LockHeld when fenced off.
        """
        call = {
            "DRCTL_EPOCH": str(self._epoch),
            "DRCTL_JOB": job,
            "DRCTL_STEP": step,
            "DRCTL_ACTION": script.name,
            "DRCTL_DIRECTION": self._direction,
            "DRCTL_SEEN": seen,
            "DRCTL_BODY": preamble({**self.base_env(host), **env}) + script.body,
            "DRCTL_SECRETS": preamble(secrets or {}),
        }
        report = self._follow(host, "start", call, deadline)
        if report.state != "done" or report.result is None:
            raise StepFailed(
                f"the job {job} ended without a status: {report.detail or report.state}",
                host=host,
                hint="resume: it checks the node before it repeats the step",
            )
        return report.result

    def settle(self, host: str, job: str, *, deadline: float) -> JobReport:
        """Wait for the end of a job that an earlier session may have started."""
        return self._follow(host, "wait", {"DRCTL_JOB": job}, deadline)

    def _follow(self, host: str, first: str, env: Mapping[str, str], deadline: float) -> JobReport:
        ends = self._clock() + deadline
        given_up = min(ends, self._clock() + SILENCE_SECONDS)
        name = first
        while True:
            left = ends - self._clock()
            wait = max(0, min(POLL_SECONDS, int(left)))
            try:
                answer = self._call(
                    host, name, {**env, "DRCTL_WAIT": str(wait)}, wait + ANSWER_SECONDS
                )
                report = self._understand(host, answer)
            except (ConnectionLost, Unreachable) as error:
                # Starting is idempotent, so the same question may be asked again.
                if self._clock() + 1 >= given_up:
                    raise self._unknown(host, error) from error
                self._sleep(1.0)
                continue
            given_up = min(ends, self._clock() + SILENCE_SECONDS)
            if report.state != "running":
                return report
            if self._clock() >= ends:
                raise StepFailed(
                    f"the job {env['DRCTL_JOB']} is still running after {deadline:.0f} s",
                    host=host,
                    hint="resume: it attaches to the running job",
                )
            name = "wait"

    def _understand(self, host: str, answer: CommandResult) -> JobReport:
        if answer.status == NOT_OWNER:
            raise self._held(parse(answer.stdout, host))
        if not answer.ok:
            raise StepFailed(
                f"cannot start a job: {answer.complaint}",
                host=host,
                hint=f"check {self._work_dirs[host]} there, then resume",
            )
        return parse_report(answer)

    @staticmethod
    def _unknown(host: str, error: HostUnavailable) -> ConnectionLost:
        return ConnectionLost(
            f"result unknown: {error.message}",
            host=host,
            hint="resume when the host answers: it attaches to what is still running there",
        )

    def still_ours(self, host: str) -> None:
        """Raise LockHeld where the node belongs to another run, or to a newer session of this one.

        A job asks by itself; a file that is sent does not.
        """
        answer = self._call(host, "owned", {"DRCTL_EPOCH": str(self._epoch)}, ANSWER_SECONDS)
        if answer.status == NOT_OWNER:
            raise self._held(parse(answer.stdout, host))
        if not answer.ok:
            raise StepFailed(
                f"not sent: {answer.complaint}",
                host=host,
                hint=f"check {self._work_dirs[host]} there, then resume",
            )

    def release(self, host: str, record: str, *, deadline: float, machine: str = "") -> None:
        """Give the node back and leave `record` (JSON) in the run's folder there.

        Nothing is done where it is another's by now. Raises HostUnavailable, or StepFailed where
        that could not be written there, or where not `machine` answers ("": any may).
        """
        env = {
            "DRCTL_RECORD": record,
            "DRCTL_EPOCH": str(self._epoch),
            "DRCTL_MACHINE": machine,
            "DRCTL_LINE": self._line(ending(json.loads(record).get("state", ""))),
        }
        answer = self._call(host, "release", env, deadline)
        if not answer.ok:
            why = answer.complaint or "a job on it is still running"
            raise StepFailed(f"could not be released: {why}", host=host)
