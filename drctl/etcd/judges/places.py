"""Filesystems that a restore could not use: read-only, without inodes, or not root's to write. Seen
without writing; what only a write shows is tried later (`tried`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from drctl.answer import Answer
from drctl.etcd.judges.common import read, reports, spelled
from drctl.verdict import Gathered, Problem, Verdict

INODES = {"data": 64, "wal": 16, "work": 300, "units": 16, "manifests": 16}
"""How many files a run makes in each place, at most: its staging and the new member, a record of
each job, a fence for each unit."""
WORK_BYTES = 16_000_000  # records and outputs of a run's jobs, each bounded
_NAMES = {
    "data": "its data directory",
    "wal": "its WAL directory",
    "work": "work_dir",
    "units": "/etc/systemd/system",
    "manifests": "the kubelet's manifests",
    "tools": "etcd.bin_dir",
    "sent": "work_dir",
}
_EXECUTED = ("tools", "sent")
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph")


def can_write(gathered: Gathered) -> Verdict:
    """Proves that what a restore writes to on each host is writable as far as one sees without
    writing, has inodes and room for records, and that programs run from where they lie."""
    found, silent = reports(gathered)
    judged, garbled = read(found, lambda host, report: [*_flaws(host, report)])
    memory, strange = read(found, lambda _, report: report.number_or_none("memory"))
    problems = [*silent, *garbled, *strange, *(p for each in judged.values() for p in each)]
    return Verdict({}, tuple(problems), tuple(_little_memory(gathered, memory)))


def _little_memory(gathered: Gathered, memory: Mapping[str, int | None]) -> Iterator[str]:
    """etcd maps its whole database, and reads most of it at its start."""
    size = int((gathered.facts.get("snapshot") or {}).get("size", 0))
    if short := {host: n for host, n in memory.items() if n is not None and n < 2 * size}:
        yield f"memory below twice the database ({size} bytes) on {spelled(short)}: slow"


def noexec(report: Mapping[str, str]) -> bool:
    """Whether nothing can be executed from where the host's programs lie."""
    return any("noexec" in report.get(f"place.{label}", "").split()[1:] for label in _EXECUTED)


def _flaws(host: str, report: Answer) -> Iterator[Problem]:
    for label, name in _NAMES.items():
        if f"place.{label}" not in report:
            continue
        kind, *flags = report.words(f"place.{label}", most=3) or ("",)
        if label in _EXECUTED:
            if "noexec" in flags:
                yield Problem(
                    f"{name} is on a filesystem mounted noexec: no program runs there",
                    host,
                    f"remount it with exec, or change {name} in the inventory",
                )
            continue
        if "ro" in flags:
            yield Problem(
                f"{name} is on a read-only filesystem ({kind})",
                host,
                "find out why (dmesg), and remount it read-write",
            )
        elif report.one_of(f"writable.{label}", "yes", "no") == "no":
            server = kind in _NETWORK
            yield Problem(
                f"{name} cannot be written by the user who restores ({kind})",
                host,
                "export it with no_root_squash" if server else "check its permissions (lsattr)",
            )
        yield from _inodes(host, label, name, report)
    free = report.number_or_none("work_free")
    if free is not None and free < WORK_BYTES:
        yield Problem(
            f"too little space for work_dir: {free} bytes free, {WORK_BYTES} needed",
            host,
            "free space on that filesystem, or change work_dir in the inventory",
        )


def _inodes(host: str, label: str, name: str, report: Answer) -> Iterator[Problem]:
    """Some filesystems make inodes as they need them, and say that they have none at all."""
    said = report.words(f"inodes.{label}", most=2)
    numbers = [int(word) for word in said if word.isascii() and word.isdigit() and len(word) < 20]
    if len(numbers) == 2 and numbers[1] and numbers[0] < INODES[label]:
        yield Problem(
            f"too few inodes for {name}: {numbers[0]} free, {INODES[label]} needed",
            host,
            "remove small files from that filesystem (df -i)",
        )
