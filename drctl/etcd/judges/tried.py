"""What was tried on each host before anything is stopped (`templates/try`)."""

from __future__ import annotations

from collections.abc import Iterator

from drctl.answer import Answer
from drctl.etcd.judges.common import expected_members, read, reports
from drctl.verdict import Gathered, Problem, Verdict

SLOW_MS = 50
"""etcd's own limit for a disk is 10 ms at the 99th percentile; its default heartbeat is 100 ms."""
_NAMES = {
    "files.data": (
        "cannot make, give away, rename and remove files beside its data",
        "fix that filesystem (root_squash? attributes? quota?)",
    ),
    "files.wal": (
        "cannot make, give away, rename and remove files beside its WAL",
        "fix that filesystem (root_squash? attributes? quota?)",
    ),
    "sent": (
        "a file that was sent did not arrive as it was",
        "find out what changes it: a login that prints or reads, a session recorder, a full disk",
    ),
    "fence.systemd": (
        "a fence does not hold a systemd unit",
        "check `systemctl daemon-reload` and /etc/systemd/system there",
    ),
    "fence.static-pod": (
        "manifests cannot be parked",
        "check the kubelet's manifests folder and work_dir there",
    ),
}


def can_rely(gathered: Gathered) -> Verdict:
    """Proves that what a restore does to files, services and the wire was done on each host to
    things of no worth, and worked. No answer is a problem.

    Yields slow_disks, the hosts whose disk takes long for a small write."""
    found, problems = reports(gathered)
    members = expected_members(gathered)
    for host, report in found.items():
        needed = ["tried"]
        if host in members:
            needed += ["files.data", "sent"]
            needed += ["files.wal"] if members[host].get("wal_dir") else []
        if unsaid := [name for name in needed if name not in report]:
            problems.append(Problem(f"did not try {', '.join(unsaid)}", host, None, "missing"))
        problems += _failures(host, report)
    times, garbled = read(found, lambda _, report: _slowest(report))
    slow = {host: ms for host, ms in times.items() if ms >= SLOW_MS}
    warnings = [
        f"{host}: a slow disk: {ms} ms until it has a small write; etcd may lose its leader"
        for host, ms in slow.items()
    ]
    known = [ms for ms in times.values() if ms >= 0]
    findings = [f"tried on {len(found)} hosts"]
    findings += [f"fsync {min(known)} to {max(known)} ms"] if known else []
    values = {"slow_disks": sorted(slow)}
    return Verdict(values, (*problems, *garbled), tuple(warnings), (", ".join(findings),))


def _failures(host: str, report: Answer) -> Iterator[Problem]:
    for name, (what, hint) in _NAMES.items():
        said = report.text(name)
        if said and said != "ok" and not (said == "later" and name.startswith("files.")):
            yield Problem(f"{what}: {said}", host, hint)


def _slowest(report: Answer) -> int:
    """Milliseconds; -1 where nothing was measured."""
    told = (report.number_or_none(f"fsync.{place}", most=1 << 40) for place in ("data", "wal"))
    return max((ms for ms in told if ms is not None), default=-1)
