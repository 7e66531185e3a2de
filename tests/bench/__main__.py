"""How long drctl takes, beside the same work done by other means, on one machine in one run.

    python -m tests.bench [--quick] [--rounds N] [--sizes MB,MB] [--hosts N,N] [--etcd DIR]
                          [--programs DIR] [--document FILE]

(or: make bench, make bench QUICK=1, which also install what it compares with.) The contenders take
turns; each of their restores is proven from outside, and one that fails or did not do the work
ends the whole with 1. `--quick` is short: one size, 60 hosts, as many rounds as fit in under three
minutes; it prints, and writes no document. Otherwise the figures go to FILE, and every single
value to the JSON beside it. Everything that was started is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drctl.errors import DrctlError
from drctl.lab.docker import images
from tests.bench import document, resume
from tests.bench.hosts import many
from tests.bench.machines import Machines, Snapshot
from tests.bench.restores import Restores
from tests.bench.results import Results, machine
from tests.bench.rounds import Clock, alternating
from tests.bench.running import DRCTL, ROOT, Wrong

QUICK_SECONDS = 150.0  # then it tidies up
QUICK_HOSTS = 40.0  # of these for the many hosts
FULL_SECONDS = 3 * 3600.0
QUICK_ROUNDS, ROUNDS = 3, 5


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything goes
    given = _arguments()
    clock = Clock(QUICK_SECONDS if given.quick else FULL_SECONDS)
    results = Results(machine(given.programs, given.etcd), given.quick)
    folder = Path(tempfile.mkdtemp(prefix="drctl-bench-", dir="/tmp"))
    try:
        _measure(given, clock, results, folder)
    except (Wrong, DrctlError, subprocess.SubprocessError) as error:
        print(document.page(results))
        print(f"error: {error}\nno document was written", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(document.page(results))
    if given.quick:
        print(f"short: a glance and no measurement; {clock.spent:.0f} s; no document was written")
        return 0
    if short := results.lacking(given.rounds):
        print(f"error: out of time: {', '.join(short)}\nno document was written", file=sys.stderr)
        return 1
    given.document.write_text(document.page(results), encoding="utf-8")
    values = given.document.with_suffix(".json")
    values.write_text(json.dumps(results.document(), indent=1) + "\n", encoding="utf-8")
    print(f"written: {given.document}, {values}")
    return 0


def _arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return sorted(int(part) for part in text.split(",") if part)

    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sizes", type=numbers, help="MB of the snapshots; empty: none")
    parser.add_argument("--hosts", type=numbers, help="numbers of hosts; empty: none")
    parser.add_argument("--etcd", type=Path)
    parser.add_argument("--programs", type=Path, default=ROOT / ".venv-bench" / "bin")
    parser.add_argument("--document", type=Path, help="default: docs/performance.md")
    given = parser.parse_args()
    if given.rounds is None:
        given.rounds = QUICK_ROUNDS if given.quick else ROUNDS
    if given.document is None:
        if not given.quick and given.rounds < ROUNDS:
            parser.error(f"a document takes {ROUNDS} rounds; for a trial give --document FILE")
        given.document = ROOT / "docs" / "performance.md"
    if given.sizes is None:
        given.sizes = [5] if given.quick else [5, 50, 500]
    if given.hosts is None:
        given.hosts = [60] if given.quick else [60, 500]
    given.programs = given.programs.absolute()
    for program in ("ansible-playbook", "pyinfra"):
        if not (given.programs / program).exists():
            parser.error(f"no {program} in {given.programs}: make bench installs it")
    for program in ("ssh", "zstd", "docker"):
        if shutil.which(program) is None:
            parser.error(f"no {program} on PATH")
    return given


def _measure(given: argparse.Namespace, clock: Clock, results: Results, folder: Path) -> None:
    hosts_clock = Clock(QUICK_HOSTS if given.quick else clock.seconds)
    for count in given.hosts:
        _many_hosts(count, given, hosts_clock, results, folder)
    if not given.sizes:
        return
    with _lab(folder, given.etcd) as machines:
        restores = Restores(machines, folder, given.programs)
        snapshots = [machines.grow(megabytes, folder) for megabytes in given.sizes]
        results.snapshots += snapshots
        for snapshot in snapshots:
            _restores(restores, snapshot, given.rounds, clock, results)
        for snapshot in {
            snapshots[0].label: snapshots[0],
            snapshots[-1].label: snapshots[-1],
        }.values():
            _resumes(machines, snapshot, given.rounds, clock, results, folder)
        for _ in range(given.rounds):
            for name, ended in resume.looked(machines, folder).items():
                results.add("commands", name, seconds=ended.seconds, peak=ended.peak)


def _many_hosts(
    count: int, given: argparse.Namespace, clock: Clock, results: Results, folder: Path
) -> None:
    with many(count, folder / f"hosts-{count}", given.programs) as hosts:
        for number, name in alternating(given.rounds, list(hosts.contenders)):
            key = f"{count} hosts: {name}"
            if key in clock.longest and not clock.has_time_for(key):  # one each in any case
                _say(clock, f"no time for {key}")
                continue
            ended = clock.timed(key, lambda name=name: hosts.read(name))  # type: ignore[misc]  # bound now
            results.add(
                f"{count} hosts", name, seconds=ended.seconds, cpu=ended.cpu, peak=ended.peak
            )
            _say(clock, f"round {number}, {key}: {ended.seconds:.1f} s")


def _restores(
    restores: Restores, snapshot: Snapshot, rounds: int, clock: Clock, results: Results
) -> None:
    for number, name in alternating(rounds, list(restores.contenders)):
        key = f"{snapshot.label}: {name}"
        if not clock.has_time_for(key):
            _say(clock, f"no time for {key}")
            continue
        done = clock.timed(key, lambda name=name: restores.restore(name, snapshot))  # type: ignore[misc]  # bound now
        results.add(
            f"restore {snapshot.label}",
            name,
            seconds=done.ended.seconds,
            outage=done.outage.apiservers,
            etcd=done.outage.etcd,
            cpu=done.ended.cpu,
            peak=done.ended.peak,
            **{f"phase {phase}": seconds for phase, seconds in done.phases.items()},
        )
        _say(
            clock,
            f"round {number}, {key}: {done.ended.seconds:.1f} s, "
            f"outage {done.outage.apiservers:.1f} s",
        )


def _resumes(
    machines: Machines,
    snapshot: Snapshot,
    rounds: int,
    clock: Clock,
    results: Results,
    folder: Path,
) -> None:
    key = f"resume with {snapshot.label}"
    whole = clock.longest.get(f"{snapshot.label}: {document.OURS}", 0.0)
    clock.longest[key] = 1.5 * whole  # it begins a restore, ends it, and proves it
    for number in range(1, rounds + 1):
        if not clock.has_time_for(key):
            _say(clock, f"no time for {key}")
            return
        seconds = resume.resumed(machines, snapshot, folder, number)
        results.add("resume", snapshot.label, seconds=seconds)
        _say(clock, f"round {number}, {key}: {seconds:.2f} s")


@contextmanager
def _lab(folder: Path, etcd: Path | None) -> Iterator[Machines]:
    """Three systemd machines with stand-ins for the apiservers, removed at the end."""
    where = folder / "lab"
    shape = ["--driver", "docker", "--flavour", "systemd", "--members", "3", "--workers", "0"]
    found = ["--etcd", str(etcd.absolute())] if etcd else []
    words = [DRCTL, "lab", "up", "--dir", where, *shape, "--kubernetes", "none", *found]
    up = [*map(str, words), "--keys", "10"]
    try:
        subprocess.run(up, check=True, stdout=sys.stderr, timeout=1200)
        machines = Machines(where)
        machines.equip(images.base(lambda _: None))
        yield machines
    finally:
        if where.exists():
            subprocess.run([DRCTL, "lab", "down", "--dir", where], check=False, timeout=300)


def _say(clock: Clock, words: str) -> None:
    print(f"{clock.spent:6.0f} s  {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
