"""What must be the same from one session of a run to the next, and what a run keeps."""

from __future__ import annotations

from drctl.errors import another_machine
from drctl.etcd.judges.common import reports, spelled, voice
from drctl.verdict import Evidence, Problem, Verdict


def same_machine(evidence: Evidence) -> Verdict:
    """Proves that each address is still the machine on which the run began (reliability.md I8).

    Yields machine_id, `{host: id}`; a host first seen now is taken as it is. Where a runbook
    tolerates a silent host, that host is whatever it was.
    """
    found, problems = reports(Evidence(evidence.answers))
    known = evidence.values.get("machine_id") or {}
    accepted = evidence.options.get("accept_drift", ())
    ids = {host: report.get("machine_id", "") for host, report in found.items()}
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


def may_be_removed(evidence: Evidence) -> Verdict:
    """What each host keeps of the data from before a run, and that the new data is in its place
    everywhere. Yields kept, `{host: {path: bytes}}`; a host that keeps nothing has an empty one."""
    found, problems = reports(Evidence(evidence.answers))  # a silent host keeps what it has
    kept: dict[str, dict[str, int]] = {}
    for host, report in found.items():
        places = [name.removeprefix("kept_") for name in report if name.startswith("kept_")]
        sizes = {report[f"kept_{p}"]: int(report.get(f"bytes_{p}") or 0) for p in places}
        kept[host] = {path: size for path, size in sizes.items() if size}
        if any(report.get(f"swapped_{p}") != "yes" for p in places):
            message = "its new data is not all in its place: the old data is still needed"
            problems.append(Problem(message, host, "drctl runs show says how that run ended"))
    total = sum(size for places in kept.values() for size in places.values())
    return Verdict({"kept": kept}, tuple(problems), findings=(f"{total} bytes are kept",))


def proven_revision(evidence: Evidence) -> Verdict:
    """Records the revision of the verified cluster before anything else writes to it, so that a
    rollback can tell whether somebody did. Yields proven_revision."""
    found, problems = reports(evidence, "unproven")
    revisions = {
        host: status.revision
        for host, report in found.items()
        if (status := voice(report).status) is not None
    }
    if not problems and (len(revisions) < len(found) or len(set(revisions.values())) != 1):
        message = f"the members do not agree on a revision: {spelled(revisions)}"
        problems.append(Problem(message, hint="drctl status", kind="unproven"))
    if problems:
        return Verdict(problems=tuple(problems))
    revision = max(revisions.values())
    return Verdict({"proven_revision": revision}, findings=(f"revision {revision} everywhere",))


def common_revision(evidence: Evidence) -> Verdict:
    """Finds the latest revision that every member has, at which hashes can be compared while others
    write. Yields common_revision; a member that does not answer has none."""
    found, problems = reports(evidence, "unproven")
    statuses = {host: voice(report).status for host, report in found.items()}
    problems += [
        Problem("does not answer", host, "drctl status", "unproven")
        for host, status in statuses.items()
        if status is None
    ]
    revisions = [status.revision for status in statuses.values() if status]
    if problems or not revisions:
        return Verdict(problems=tuple(problems) or (Problem("no host was asked", kind="unproven"),))
    return Verdict({"common_revision": min(revisions)}, findings=(f"revision {min(revisions)}",))
