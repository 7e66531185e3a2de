"""What a campaign's record says: for the terminal, and as a document."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.campaign.kinds import KINDS

Line = dict[str, Any]
LIMITS = (
    "Processes and containers of one machine: one clock, one kernel. SIGKILL is not a power cut, "
    "RLIMIT_FSIZE on loopback stands in for a full disk.",
    "A fault happens at the boundaries that the journal knows (before and after each intent, after "
    "each effect and result, between steps), not between any two system calls.",
    (
        "A fault inside a rollback occurs only in the mixes; kills of rollbacks are in "
        "docs/rollbacks.md too."
    ),
)

FOUND = (
    "A second operator did a whole restore after the first had checked the nodes and before it "
    "locked them; the first then restored over it, with stale checks. Now it is refused, exit 6 "
    "(`test_a_run_that_was_passed_by_changes_nothing`, "
    "`test_who_was_passed_by_since_it_looked_is_refused`).",
    "A host that did not answer when the run released its nodes stayed locked by a run that had "
    "ended well, nobody was told, and every later restore was refused. Now the summary names it, "
    "and the next restore releases it "
    "(`test_a_node_that_was_gone_at_the_end_is_given_back_by_the_next_run`).",
    "When the members did not verify as equal, the error still said that the data was verified "
    "and Kubernetes was starting. Now it says `not verified` until identity, probe and revision "
    "are verified (`test_every_moment_is_told_as_it_is`).",
    "These came from an earlier round (435 runs), which counted every fault that was drawn. A "
    "review showed that some had changed nothing (a bit in a free page) and some moments never "
    "came; so each fault now proves its effect, and all were run again for the table above.",
)


def read(record: Path) -> list[Line]:
    """The record's lines; none where there is no record. Those of the first round, which did not
    look whether a fault took effect, are left out."""
    if not record.exists():
        return []
    lines = [json.loads(line) for line in record.read_text().splitlines() if line]
    return [line for line in lines if all("happened" in fault for fault in line["faults"])]


def took_effect(line: Line) -> list[str]:
    """The kinds of this run's faults that found something to do it to."""
    return [fault["kind"] for fault in line["faults"] if fault["happened"]]


def counts(lines: list[Line]) -> list[tuple[str, str, str, int, int, int]]:
    """(family, kind, what happens, runs on loopback and in Docker in which it took effect,
    violations) for each kind."""
    runs: Counter[tuple[str, str]] = Counter()
    bad: Counter[str] = Counter()
    for line in lines:
        for name in set(took_effect(line)):
            runs[name, line["driver"]] += 1
            bad[name] += bool(line["violation"])
    return [
        (kind.family, name, kind.what, runs[name, "local"], runs[name, "docker"], bad[name])
        for name, kind in KINDS.items()
    ]


def summary(lines: list[Line]) -> list[str]:
    """How much was tried, and what it proves."""
    if not lines:
        return ["no runs yet"]
    faulted = [line for line in lines if took_effect(line)]
    violations = sum(bool(line["violation"]) for line in lines)
    drawn = sum(len(line["faults"]) for line in lines)
    done = sum(len(took_effect(line)) for line in lines)
    alone = sum(len(line["faults"]) == 1 for line in faulted)
    exits = Counter(status for line in lines for status in line["exits"])
    told = [
        f"{len(faulted)} restores in which a fault took effect, {violations} violations; "
        f"{alone} with one fault drawn, {len(faulted) - alone} with two to four.",
        f"{done} of {drawn} faults that were drawn took effect; the others found no target, or "
        f"their moment never came. {len(lines) - len(faulted)} runs had none, and do not count.",
        f"Ended {_spelled(Counter(line['way'] for line in faulted))}; "
        f"labs {_spelled(Counter(line['driver'] for line in faulted))}; "
        f"orders {_spelled(Counter(line['order'] for line in faulted))}.",
        f"Commands by exit status (-9: killed by the campaign): {_spelled(exits)}.",
        f"{sum(line['seconds'] for line in lines) / 60:.0f} minutes of lab time, "
        "several lanes side by side.",
    ]
    if faulted and not violations:
        told.append(
            f"No failure in {len(faulted)} runs bounds the rate at {3 / len(faulted):.3f} (95 %); "
            "it proves nothing."
        )
    return told


def text(lines: list[Line]) -> str:
    """The table for a terminal."""
    rows = [f"{'kind':28}{'loopback':>10}{'Docker':>8}{'violations':>12}"]
    rows += [
        f"{name:28}{local:10}{docker:8}{bad:12}"
        for _, name, _, local, docker, bad in counts(lines)
        if local or docker
    ]
    return "\n".join([*rows, *summary(lines), *LIMITS])


def document(lines: list[Line]) -> str:
    """The table as Markdown."""
    rows = [
        f"| {family} | {name} | {what} | {local} | {docker} | {bad} |"
        for family, name, what, local, docker, bad in counts(lines)
    ]
    return "\n".join(
        [
            "# The campaign",
            "",
            "Real restores of real etcd over real SSH, in which something goes wrong. Made by",
            "",
            "    make campaign N=420 LANE=0/4 ETCD=DIR    # and lanes 1 to 3 beside it",
            "    make campaign N=45 LANE=2/3 ETCD=DIR DRIVER=docker",
            "    python -m tests.campaign --table docs/campaign.md",
            "",
            *(f"- {line}" for line in summary(lines)),
            "",
            "| family | kind | what happens | loopback | Docker | violations |",
            "|---|---|---|---:|---:|---:|",
            *rows,
            "",
            "## What it found",
            "",
            *(f"- {line}" for line in FOUND),
            "",
            "## What this does not show",
            "",
            *(f"- {line}" for line in LIMITS),
            "",
        ]
    )


def _spelled(counter: Counter[Any]) -> str:
    return ", ".join(f"{key} {number}" for key, number in sorted(counter.items()))
