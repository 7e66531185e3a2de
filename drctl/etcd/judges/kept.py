"""What must be the same from one session of a run to the next, and what a run keeps."""

from __future__ import annotations

from drctl.answer import Answer
from drctl.errors import another_machine
from drctl.etcd.judges.common import (
    expected_members,
    members_heard,
    read,
    reports,
    silences,
    spelled,
)
from drctl.verdict import Gathered, Problem, Verdict

PROBES = 3
"""Rounds of probes that are taken for drctl's own: one is the rule."""


def same_machine(gathered: Gathered) -> Verdict:
    """Proves that each address is still the machine on which the run began (reliability.md I8).

    Yields machine_id, `{host: id}`; a host first seen now is taken as it is. Where a runbook
    tolerates a silent host, that host is whatever it was.
    """
    found, problems = reports(Gathered(gathered.answers))
    known = gathered.values.get("machine_id") or {}
    accepted = gathered.options.get("accept_drift", ())
    ids, strange = read(found, lambda _, report: report.identifier("machine_id"))
    problems += strange
    findings = []
    for host, now in ids.items():
        if known.get(host, now) == now:
            continue
        field = f"machine_id.{host}"
        if field in accepted:
            findings.append(f"accepted: {field} was {known[host]}, is {now}")
            continue
        refusal = another_machine(host, known[host], now)
        problems.append(Problem(refusal.message, host, refusal.hint, "drift"))
    return Verdict({"machine_id": {**known, **ids}}, tuple(problems), findings=tuple(findings))


def may_be_removed(gathered: Gathered) -> Verdict:
    """What each host keeps of the data from before a run, and that the new data is in its place
    everywhere. Yields kept, `{host: {path: bytes}}`; a host that keeps nothing has an empty one."""
    found, problems = reports(Gathered(gathered.answers))  # a silent host keeps what it has
    kept, strange = read(found, lambda host, report: _kept(gathered, host, report))
    for host in kept:
        if any(found[host][f"swapped_{place}"] != "yes" for place in _places(gathered, host)):
            message = "its new data is not fully in place: the old data is still needed"
            problems.append(Problem(message, host, "drctl runs show says how that run ended"))
    problems += strange
    total = sum(size for places in kept.values() for size in places.values())
    return Verdict({"kept": kept}, tuple(problems), findings=(f"{total} bytes kept",))


def _places(gathered: Gathered, host: str) -> dict[str, str]:
    """{place: where the run keeps its old data there}, by what the run itself was given."""
    values = gathered.values
    stages = {"data": values.get("stage"), "wal": values.get("wal_stage")}
    known = {place: (stage or {}).get(host) for place, stage in stages.items()}
    if not expected_members(gathered).get(host, {}).get("wal_dir"):
        del known["wal"]
    return {place: f"{stage}/{values.get('run')}/old" for place, stage in known.items()}


def _kept(gathered: Gathered, host: str, report: Answer) -> dict[str, int]:
    """{path: bytes}. Raises AnswerError."""
    kept = {}
    for place, path in _places(gathered, host).items():
        report.one_of(f"kept_{place}", path)
        report.one_of(f"swapped_{place}", "yes", "no")
        kept[path] = report.number(f"bytes_{place}")
    return {path: size for path, size in kept.items() if size}


def proven_revision(gathered: Gathered) -> Verdict:
    """Records the revision up to which nobody but drctl wrote, so that a rollback can tell what
    others did. Yields proven_revision: what the members have, or less where more was written than
    the snapshot, the bump and drctl's own probes account for, which is said: an apiserver that came
    back while etcd was being checked, say."""
    heard, garbled = members_heard(gathered, "unproven")
    problems = silences(gathered, "unproven") + garbled
    revisions = {host: v.status.revision for host, v in heard.items() if v.status is not None}
    if not problems and (len(revisions) < len(heard) or len(set(revisions.values())) != 1):
        message = f"the members do not agree on a revision: {spelled(revisions)}"
        problems.append(Problem(message, hint="drctl status", kind="unproven"))
    if problems:
        return Verdict(problems=tuple(problems))
    revision = max(revisions.values())
    finding = f"revision {revision} on every member"
    ours = _our_revision(gathered, len(heard))
    if ours is None or revision <= ours:
        return Verdict({"proven_revision": revision}, findings=(finding,))
    warning = (
        f"{revision - ours} writes to the restored etcd are not drctl's: something else is using "
        "it already (an apiserver that was started again?); a rollback would lose them and counts "
        "them"
    )
    return Verdict({"proven_revision": ours}, warnings=(warning,), findings=(finding,))


def _our_revision(gathered: Gathered, members: int) -> int | None:
    """The highest revision that this run accounts for; None where it is not known. A probe puts a
    key and deletes it, and is asked for until it passes: each round of it is allowed for."""
    snapshot = gathered.facts.get("snapshot") or {}
    if not isinstance(snapshot.get("revision"), int):
        return None
    return int(snapshot["revision"]) + int(gathered.values.get("bump") or 0) + 2 * members * PROBES


def common_revision(gathered: Gathered) -> Verdict:
    """Finds the latest revision that every member has, at which hashes can be compared while others
    write. Yields common_revision; a member that does not answer has none."""
    heard, garbled = members_heard(gathered, "unproven")
    problems = silences(gathered, "unproven") + garbled
    statuses = {host: voice.status for host, voice in heard.items()}
    problems += [
        Problem("does not answer", host, "drctl status", "unproven")
        for host, status in statuses.items()
        if status is None
    ]
    revisions = [status.revision for status in statuses.values() if status]
    if problems or not revisions:
        return Verdict(problems=tuple(problems) or (Problem("no host was asked", kind="unproven"),))
    return Verdict({"common_revision": min(revisions)}, findings=(f"revision {min(revisions)}",))
