"""What was measured, as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench.restores import PHASES
from tests.bench.results import Results
from tests.bench.running import Series

ZSTD, PLAIN = "OpenSSH script, zstd", "OpenSSH script, plain"
ANSIBLE, STAGED_BY_HAND = "Ansible playbook", "OpenSSH script, staged"
OURS, STAGED = "drctl restore", "drctl restore --staged"
_BUSY = 1.0  # processes that ran or waited before the first one of ours
_WORK = ("stop-etcd", "send", "rebuild", "swap", "start-etcd")


def page(results: Results) -> str:
    """The whole document, as far as it was measured."""
    parts = [
        _head(results),
        *_restores(results),
        *_distribution(results),
        *_share(results),
        *_hosts(results),
        *_other(results),
        _limits(),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _head(results: Results) -> str:
    short = "**Short: few rounds, a glance and no measurement.** " if results.quick else ""
    if results.load > _BUSY:
        short += (
            f"**The machine was busy (load {results.load:.1f} before it began): worth nothing.** "
        )
    about = "; ".join(f"{name} {value}" for name, value in results.machine.items())
    sizes = "; ".join(
        f"{one.label}: {one.size / 1e6:.1f} MB of file, {one.keys} keys, by `zstd -1` "
        f"{100 * one.compressed / one.size:.0f} % of it"
        for one in results.snapshots
    )
    return f"""\
# How long it takes

{short}One run on one machine; the
contenders take turns, each round in another order. Made by

    make bench QUICK=1    # 3 minutes, prints only
    make bench            # all of this page; every single value is in performance.json

- {about}.
- Snapshots of objects like pods, made for this. {sizes or "None was restored"}.
- Seconds of wall time from the start of the program to its end. Ratios are of medians: below 1 is
  faster than the other.
"""


def _restores(results: Results) -> Iterable[str]:
    if not any(name.startswith("restore ") for name in results.tables):
        return
    yield """\
## Whole restores and outages

Three systemd machines in Docker with etcd and stand-ins for the apiservers; every contender stops
apiservers and etcd (the followers, then the leader), sends the snapshot, rebuilds each member with
the same flags, swaps directories, starts, waits until all is healthy, and starts the apiservers.
The scripts (`tests/bench/contenders`) do that and no more; drctl's time includes its checks, its
trial, its proof and its journal. Outage: from the first apiserver's stop to the last one's start,
by systemd's clock on the machines. Every restore was proven from outside: a new cluster of the
right members with equal hashes, the snapshot's keys and values, nothing that came later.
"""
    for one in results.snapshots:
        table = f"restore {one.label}"
        if table not in results.tables:
            continue
        yield f"### {one.label}\n"
        rows = results.tables[table]
        yield _table(
            (
                "",
                "rounds",
                "whole: min",
                "median",
                "max",
                "outage: min",
                "median",
                "max",
                "etcd away",
                "CPU",
                "memory, MB",
            ),
            [
                (
                    name,
                    len(row["seconds"].values),
                    *_three(row["seconds"]),
                    *_three(row["outage"]),
                    _one(row["etcd"]),
                    _one(row["cpu"]),
                    f"{max(row['peak'].values) / 1e6:.0f}",
                )
                for name, row in rows.items()
            ],
        )
        pairs = [
            (OURS, ZSTD),
            (OURS, PLAIN),
            (OURS, ANSIBLE),
            (STAGED, ZSTD),
            (STAGED, STAGED_BY_HAND),
        ]
        yield _ratios(results, table, "seconds", pairs, "whole")
        pairs = [(OURS, ZSTD), (STAGED, STAGED_BY_HAND), (STAGED, OURS)]
        yield _ratios(results, table, "outage", pairs, "outage")
        yield "Where the time goes, medians (one host's step may overlap another's):\n"
        yield _table(
            ("", *PHASES),
            [
                (name, *(_one(row.get(f"phase {phase}")) for phase in PHASES))
                for name, row in rows.items()
                if any(f"phase {phase}" in row for phase in PHASES)
            ],
        )
    if len(results.snapshots) > 1:
        first, last = results.snapshots[0].label, results.snapshots[-1].label
        small = results.get(f"restore {first}", STAGED, "outage")
        large = results.get(f"restore {last}", STAGED, "outage")
        if small and large:
            yield f"Staged outage, {last} / {first}: **{large.median / small.median:.2f}**\n"


def _distribution(results: Results) -> Iterable[str]:
    rows = []
    for one in results.snapshots:
        by_hand = results.get(f"restore {one.label}", ZSTD, "phase send")
        for name in (OURS, STAGED, ZSTD, PLAIN):
            series = results.get(f"restore {one.label}", name, "phase send")
            if series and by_hand:
                rate = 3 * one.size / series.median / 1e6
                ratio = f"{series.median / by_hand.median:.2f}"
                rows.append((one.label, name, *_three(series), f"{rate:.0f}", ratio))
    if rows:
        yield """\
## Distribution alone

The step that sends the snapshot to three machines, in the rounds above: drctl's with its digests
and fsync, the scripts' without.
"""
        yield _table(("", "", "min", "median", "max", "MB/s, all three", "/ zstd script"), rows)


def _share(results: Results) -> Iterable[str]:
    rows = []
    for one in results.snapshots:
        table = f"restore {one.label}"
        whole = results.get(table, OURS, "seconds")
        parts = [results.get(table, ZSTD, f"phase {phase}") for phase in _WORK]
        if whole and all(parts):
            work = sum(part.median for part in parts if part)
            rows.append(
                (one.label, _one(whole), f"{work:.2f}", f"{100 * (1 - work / whole.median):.0f} %")
            )
    if rows:
        yield """\
## What is neither etcd's, nor the disk's, nor the network's

Of drctl's whole time, what is left without the time that the same work takes by hand, compressed:
stopping etcd, sending, rebuilding, swapping, and starting etcd until it is healthy. Medians.
"""
        yield _table(("", "drctl restore", "the work by hand", "drctl's own share"), rows)


def _hosts(results: Results) -> Iterable[str]:
    for table, rows in results.tables.items():
        if not table.endswith(" hosts"):
            continue
        yield f"""\
## {table}, ten reads each

Hosts with addresses of their own on loopback, served by OpenSSH on the same cores. Each of ten
steps runs the same line of shell (`templates/node/machine.sh.j2`) on all hosts, the next step when
all have answered: `drctl run` of a runbook of ten gathers, with its journal on disk; a pool of
threads over bare paramiko; a pyinfra deploy of ten `server.shell`. Each checks host keys.
"""
        yield _table(
            ("", "rounds", "min", "median", "max", "CPU", "memory, MB"),
            [
                (
                    name,
                    len(row["seconds"].values),
                    *_three(row["seconds"]),
                    _one(row["cpu"]),
                    f"{max(row['peak'].values) / 1e6:.0f}",
                )
                for name, row in rows.items()
            ],
        )
        pairs = [("drctl run", "bare paramiko"), ("drctl run", "pyinfra")]
        yield _ratios(results, table, "seconds", pairs, "whole")


def _other(results: Results) -> Iterable[str]:
    resumes = [
        (f"resume, {label}: to the first step that is not done", *_three(row["seconds"]), "")
        for label, row in results.tables.get("resume", {}).items()
    ]
    looks = [
        (f"`{name}`", *_three(row["seconds"]), f"{max(row['peak'].values) / 1e6:.0f}")
        for name, row in results.tables.get("commands", {}).items()
    ]
    if resumes or looks:
        yield """\
## Resume, and commands that look

The controller was killed (SIGKILL) when the last machine had the snapshot; from the start of
`drctl restore --resume` to the start of the next step.
"""
        yield _table(("", "min", "median", "max", "memory, MB"), [*resumes, *looks])


def _limits() -> str:
    return """\
## What this does not show

- Machines and contenders share one kernel, its cores, its disk and its page cache: no real network,
  and a contender that needs less of the processor leaves more to etcd.
- The snapshot's file is in the page cache when a round begins, and nothing waits for the disk.
- The scripts know the layout, check nothing before the first stop, and prove nothing; Ansible's
  `copy` sends the file as it is. The memory is the highest of the program's own process (VmHWM),
  without the ssh clients that it starts; CPU includes those that it waited for.
- Stand-ins in the apiservers' place start at once: real ones need seconds each, whoever starts
  them.
"""


def _ratios(
    results: Results, table: str, figure: str, pairs: Sequence[tuple[str, str]], what: str
) -> str:
    told = []
    for ours, other in pairs:
        one, two = results.get(table, ours, figure), results.get(table, other, figure)
        if one and two:
            told.append(f"- {what}: {ours} / {other}: **{one.median / two.median:.2f}**")
    return "\n".join([*told, ""])


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|---{'|---:' * (len(heads) - 1)}|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([*lines, ""])


def _three(series: Series) -> tuple[str, str, str]:
    return tuple(
        f"{value:.2f}" for value in (min(series.values), series.median, max(series.values))
    )  # type: ignore[return-value]  # three


def _one(series: Series | None) -> str:
    return f"{series.median:.2f}" if series else ""
