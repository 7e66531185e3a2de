"""By how much a restored cluster's revision is raised. The number is made of several hosts' words,
and is for ever: each word has a bound, and the one that decides is shown."""

from __future__ import annotations

from collections.abc import Mapping

from drctl.answer import INT64, Answer, AnswerError, parse_number
from drctl.etcd.answers import EndpointStatus
from drctl.etcd.judges.common import members_heard, read, readable
from drctl.verdict import Gathered, Problem, Verdict

BUMP_STEP = 1_000_000_000
WRITES_PER_SECOND = 5_000
"""More writes a second than etcd commits for long on common disks: bounds what was served."""
LIVE_MARGIN = 1_000_000
UNKNOWN_AGE = 366 * 86_400
"""In seconds, for a snapshot whose time is in the future: such a time says nothing of its age, and
none at all would be the smallest bump."""
PLAUSIBLE = 10_000_000_000_000
"""How far above the snapshot a cluster can have come: 63 years of writes, or 10,000 restores. One
host's word raises all members' revision for good, and int64 ends at a million times this."""


def choose_bump(gathered: Gathered) -> Verdict:
    """By how much every member raises its revision, so that it passes all that was ever served
    (a revision that goes backwards leaves every informer of Kubernetes stale).

    The old cluster can have served at most, counted from the snapshot's revision:

        age of the snapshot in seconds x 5000       (faster than etcd commits for long)
        live revision - snapshot's + 1,000,000      (where a member still answers)
        revision of an earlier restore + its age in seconds x 5000 - snapshot's
                                                    (the nodes keep it, should nobody answer)

    N is the greater of these and of 1e9, rounded up to a whole 1e9, and one number for all
    members (their databases would differ otherwise). A bump chosen before is kept while snapshot
    + N is still above what can have been served: by a quorum's own revision where there is one,
    else by both bounds. Yields `bump`, decimal; '' where some etcdutl cannot bump.
    """
    if not gathered.values.get("can_bump"):
        return Verdict(
            {"bump": ""}, findings=(("no bump: etcdutl is older than 3.5.10 on at least one host"),)
        )
    snapshot = gathered.facts.get("snapshot")
    if not snapshot:
        return Verdict(
            problems=(Problem("no snapshot to count the bump from", None, None, "missing"),)
        )
    revision, age = int(snapshot["revision"]), max(0, int(snapshot.get("age_seconds", 0)))
    age = UNKNOWN_AGE if snapshot.get("ahead_seconds") else age
    heard, problems = members_heard(gathered)
    told = {host: v.status for host, v in heard.items() if v.status is not None}
    restored, unreadable = _restored(gathered, revision)
    problems += [*implausible(gathered, told), *unreadable]
    if problems:
        return Verdict(problems=tuple(problems))
    words = {f"{host}'s etcd": status.revision for host, status in told.items()}
    words |= {f"{host}'s record of an earlier restore": at for host, at in restored.items()}
    live, before = _latest(gathered, told), max(restored.values(), default=0)
    served = max(_served(revision, age, live, bool(gathered.values.get("quorum"))), before)
    by = [word for word, at in words.items() if at == served]
    said = f"at most {served}" + f", by {', '.join(by)}" * bool(by)
    kept = str(gathered.values.get("bump") or "")
    if kept and revision + int(kept) > served:
        return _bumped(revision, int(kept), said, "kept")
    above = max((live or 0) + LIVE_MARGIN, before + LIVE_MARGIN if before else 0)
    needed = max(BUMP_STEP, age * WRITES_PER_SECOND, above - revision)
    return _bumped(revision, -(-needed // BUMP_STEP) * BUMP_STEP, said, "chosen")


def _latest(gathered: Gathered, told: Mapping[str, EndpointStatus]) -> int | None:
    """The highest revision that any member ever told, in this step or before."""
    known = gathered.values.get("live_revision")
    revisions = [status.revision for status in told.values()]
    return max([*revisions, *([known] if known is not None else [])], default=None)


def implausible(gathered: Gathered, told: Mapping[str, EndpointStatus]) -> list[Problem]:
    """Revisions that no cluster can have reached since the snapshot was taken."""
    snapshot = gathered.facts.get("snapshot")
    most = int(snapshot["revision"]) + PLAUSIBLE if snapshot else INT64
    return [
        Problem(
            f"its etcd reports revision {status.revision}, more than a cluster can have reached "
            f"since the snapshot ({most} at most)",
            host,
            "check that member, or stop its etcd to restore without its answer: it would raise "
            "the revision of all members for good",
        )
        for host, status in told.items()
        if status.revision > most
    ]


def _restored(gathered: Gathered, revision: int) -> tuple[dict[str, int], list[Problem]]:
    """By host, the highest revision that a cluster restored there before can have reached."""
    most = revision + PLAUSIBLE
    reached, problems = read(readable(gathered, "missing")[0], lambda _, a: _reached(a, most))
    return {host: at for host, at in reached.items() if at}, problems


def _reached(answer: Answer, most: int) -> int:
    found = [0]
    for word in answer.words("restored"):
        at, _, age = word.partition(":")
        try:  # a clock that was put back makes a record of the future
            seconds = 0 if age.startswith("-") else parse_number(age, most=PLAUSIBLE)
            found.append(parse_number(at) + seconds * WRITES_PER_SECOND)
        except AnswerError as error:
            raise AnswerError(f"restored: {error.reason}", host=answer.host) from error
        if found[-1] > most:
            what = f"restored: {word}, more than a cluster can have reached ({most} at most)"
            raise AnswerError(what, host=answer.host)
    return max(found)


def _served(revision: int, age: int, live: int | None, quorum: bool) -> int:
    """The highest revision that the old cluster can have shown to a client."""
    if live is not None and quorum:
        return live
    return max(revision + age * WRITES_PER_SECOND, live or 0)


def _bumped(revision: int, bump: int, served: str, how: str) -> Verdict:
    if revision + bump > INT64:
        return Verdict(
            problems=(
                Problem(
                    f"the snapshot's revision {revision} cannot be bumped by {bump}",
                    hint="check the snapshot's time and revision",
                ),
            )
        )
    return Verdict(
        {"bump": str(bump)},
        findings=(
            f"bump {how}: {bump}, from revision {revision} to {revision + bump}; the old cluster "
            f"served {served}",
        ),
    )
