"""docs/reality.md: what was tried, and by which words it was told."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tests.reality.catalogue import Row
from tests.reality.scene import Outcome

LABS = {
    "local": "loopback",
    "systemd": "systemd machines",
    "static-pod": "static pods",
}
LONGEST = 330
HEAD = """\
# What is wrong, and what step 1 says

One thing was made wrong at a time in a cluster that ran: on a machine, in the snapshot, or in the
inventory. Then the real `drctl` was run against real etcd 3.5.16 over real SSH, and had to end with
that status and those words; then it was mended, and `preflight` had to be green again, without a
warning that was not there before (one look for several rows in a row where nothing was changed on a
machine). Exit 0 stands for a warning, or for what must not disturb. Written by

    make reality    # python -m tests.reality --table docs/reality.md

Labs: *loopback* has three members under supervisord; *systemd machines* and *static pods* are
containers of one machine, with real Kubernetes 1.20.2, laid out as kubeasz and kubeadm do it. The
command is `drctl preflight --snapshot FILE` where no other is named. The number after a row's name
is that of the notes on what went wrong before ("reality", issue 11). Seconds are those of the
command on two cores, with other work beside it.
"""


def digest(row: Row) -> str:
    """A row that does something else than before is another one."""
    done = replace(row, wrong="", reality="", imitation="", sample=False)
    return hashlib.sha256(repr(done).encode()).hexdigest()[:16]


def table(played: list[tuple[Row, Outcome | None]]) -> str:
    """The document; a row without an outcome says that it was not tried."""
    done = [(row, outcome) for row, outcome in played if outcome]
    machines = sum(row.changes == "machine" for row, _ in done)
    bad = sum(bool(outcome.fault) for _, outcome in done)
    imitated = sum(bool(row.imitation) for row, _ in done)
    lines = [
        HEAD,
        f"{len(done)} rows tried, {machines} of them by a change to a machine, {imitated} with an "
        f"imitation; {bad} not as expected.",
        "",
        "| row | wrong | lab | exit | what was said | seconds | mended |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, outcome in played:
        number = f" ({row.reality})" if row.reality else ""
        wrong = row.wrong + (f"; imitation: {row.imitation}" if row.imitation else "")
        how = "" if row.command == "preflight" else f", `{row.command}`"
        cells = [f"{row.id}{number}", wrong, LABS[row.lab] + how]
        if outcome is None:
            cells += ["", f"not tried: {row.waits or 'no record'}", "", ""]
        else:
            told = "**NOT AS EXPECTED**" if outcome.fault else f"`{cut(outcome.line)}`"
            cells += [str(outcome.exit), told, f"{outcome.seconds:.0f}", outcome.mended]
        lines.append(f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def cut(line: str) -> str:
    text = line.replace("`", "'")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
