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
    "A fault inside a rollback comes only in the mixes; its kills are in docs/rollbacks.md.",
)

FOUND = (
    "second-operator, alone, at `step-done live` (seed 1, run 154): a second operator did a whole "
    "restore while the first had looked at the nodes and not yet claimed them; the first then "
    "restored again over it, with what it had seen before. Now it is refused, exit 6 "
    "(`test_a_run_that_was_passed_by_changes_nothing`, "
    "`test_who_was_passed_by_since_it_looked_is_refused`).",
    "sshd-killed at the last moment, in a mix (run 276): a host that did not answer when the run "
    "gave its nodes back stayed reserved for a run that had ended well, nobody was told, and every "
    "later restore was turned away. Now the last words name it, and the next restore gives it back "
    "(`test_a_node_that_was_gone_at_the_end_is_given_back_by_the_next_run`).",
    "rebuilt-altered, in Docker: while the members did not prove equal, the failure's message said "
    "that the data was verified and Kubernetes being started. It says `not verified` now, until "
    "identity, probe and revision are proven (`test_every_moment_is_told_as_it_is`).",
    "Runs 0 to 329 on loopback came before the first two fixes. The two that failed were played "
    "again with them and count once; so came runs 330 to 389, and most in Docker. Runs 390 on and "
    "run 38 in Docker came last, with what a review had changed (test_cli_leftovers.py).",
)


def read(record: Path) -> list[Line]:
    """The record's lines; none where there is no record."""
    if not record.exists():
        return []
    return [json.loads(line) for line in record.read_text().splitlines() if line]


def counts(lines: list[Line]) -> list[tuple[str, str, str, int, int]]:
    """(family, kind, what happens, runs with it, violations) for each kind."""
    runs: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for line in lines:
        for name in {fault["kind"] for fault in line["faults"]}:
            runs[name] += 1
            bad[name] += bool(line["violation"])
    return [(kind.family, name, kind.what, runs[name], bad[name]) for name, kind in KINDS.items()]


def summary(lines: list[Line]) -> list[str]:
    """How much was tried, and what it proves."""
    if not lines:
        return ["no runs yet"]
    violations = sum(bool(line["violation"]) for line in lines)
    ways = Counter(line["way"] for line in lines)
    labs = Counter(line["driver"] for line in lines)
    orders = Counter(line["order"] for line in lines)
    mixed = sum(len(line["faults"]) > 1 for line in lines)
    exits = Counter(status for line in lines for status in line["exits"])
    told = [
        f"{len(lines)} faulted restores, {violations} violations; "
        f"{len(lines) - mixed} with one fault, {mixed} with two to four at once.",
        f"Ended {_spelled(ways)}; labs {_spelled(labs)}; orders {_spelled(orders)}.",
        f"Commands by exit status (-9: killed by the campaign): {_spelled(exits)}.",
        f"{sum(line['seconds'] for line in lines) / 60:.0f} minutes of lab time, "
        "several lanes side by side.",
    ]
    if not violations:
        told.append(
            f"No failure in {len(lines)} runs bounds the rate at {3 / len(lines):.3f} (95 %); it "
            "proves nothing."
        )
    return told


def text(lines: list[Line]) -> str:
    """The table for a terminal."""
    rows = [f"{'kind':28}{'runs':>6}{'violations':>12}"]
    rows += [f"{name:28}{runs:6}{bad:12}" for _, name, _, runs, bad in counts(lines) if runs]
    return "\n".join([*rows, *summary(lines), *LIMITS])


def document(lines: list[Line]) -> str:
    """The table as Markdown."""
    rows = [
        f"| {family} | {name} | {what} | {runs} | {bad} |"
        for family, name, what, runs, bad in counts(lines)
    ]
    return "\n".join(
        [
            "# The campaign",
            "",
            "Real restores of a real etcd over real SSH, in which something goes wrong. Made by",
            "",
            "    make campaign N=420 SEED=1 LANE=0/5 ETCD=DIR    # and lanes 1 to 4 beside it",
            "    make campaign N=45 SEED=1 LANE=2/3 ETCD=DIR DRIVER=docker",
            "    python -m tests.campaign --table docs/campaign.md",
            "",
            *(f"- {line}" for line in summary(lines)),
            "",
            "| family | kind | what happens | runs | violations |",
            "|---|---|---|---:|---:|",
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
