"""Make one thing wrong at a time in clusters that run, and see by which words step 1 tells it.

    python -m tests.reality [ROW...] [--lab LAB ...] [--etcd DIR] [--record FILE] [--table FILE]

Each lab is raised once, and must be green. Then, for each row of `tests/reality/rows`: it is made
wrong on the machine, in the snapshot or in the inventory; the real `drctl` is run against real etcd
over real SSH; its exit status and words are compared; it is mended, and must be green again. Goes
on where it was stopped if a `--record` is kept, of which `--table` makes docs/reality.md.
Ends with 1 where a row was told otherwise, or was not green again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from drctl.errors import DrctlError
from tests.reality.catalogue import LABS, Row, rows
from tests.reality.scene import Outcome, Scene, scene
from tests.reality.table import digest, table
from tests.support.operator import ROOT


@dataclass
class Record:
    """What was found so far, on disk after each row."""

    path: Path
    kept: dict[str, Outcome]

    @classmethod
    def read(cls, path: Path) -> Record:
        told = json.loads(path.read_text()) if path.exists() else {}
        return cls(path, {key: Outcome(**one) for key, one in told.items()})

    def add(self, row: Row, outcome: Outcome) -> None:
        self.kept[digest(row)] = outcome
        told = {key: one.document for key, one in self.kept.items()}
        self.path.write_text(json.dumps(told, indent=1))
        words = outcome.fault or outcome.line
        print(f"{row.id:28} {outcome.exit} {outcome.seconds:5.1f} s  {words}", flush=True)

    def of(self, row: Row) -> Outcome | None:
        return self.kept.get(digest(row))


def play(found: Scene, wanted: list[Row], record: Record) -> None:
    """Play rows until none is left, or the lab is not green any more. Rows that change nothing on
    a machine share one look at the lab afterwards."""
    since: list[tuple[Row, Outcome]] = []
    while wanted:
        row = wanted.pop(0)
        try:
            outcome = found.play(row)
        except (DrctlError, subprocess.SubprocessError, AssertionError) as error:
            outcome = Outcome(row.id, row.lab, -1, "", 0.0, fault=f"could not be tried: {error}")
        since.append((row, outcome))
        if wanted and row.changes != "machine" and wanted[0].changes != "machine":
            continue
        mended = found.mended()
        for one, outcome in since:
            record.add(one, outcome.seen(mended))
        since = []
        if mended != "green":
            return


def in_labs(wanted: list[Row], etcd: Path | None, record: Record) -> None:
    """Play rows of one lab; what does not become green again leaves the next ones another lab."""
    while wanted:
        folder = Path(tempfile.mkdtemp(prefix="drctl-reality-"))
        with scene(wanted[0].lab, folder, etcd) as found:
            play(found, wanted, record)
        shutil.rmtree(folder, ignore_errors=True)


def is_open(outcome: Outcome | None) -> bool:
    return outcome is None or bool(outcome.fault)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--lab", choices=LABS, action="append")
    parser.add_argument("--etcd", type=Path, default=os.environ.get("DRCTL_TEST_ETCD"))
    parser.add_argument("--record", type=Path, default=ROOT.parent / ".reality.json")
    parser.add_argument("--table", type=Path, help="write what the record holds there")
    given = parser.parse_args()
    known = {row.id: row for row in rows()}
    if unknown := set(given.rows) - set(known):
        parser.error(f"no row {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in given.rows] or [
        row for row in known.values() if not given.lab or row.lab in given.lab
    ]
    record = Record.read(given.record)
    open_ = [row for row in chosen if not row.waits and (given.rows or is_open(record.of(row)))]
    for lab in LABS:
        in_labs([row for row in open_ if row.lab == lab], given.etcd, record)
    found = [(row, record.of(row)) for row in chosen]
    bad = [row.id for row, outcome in found if outcome and outcome.fault]
    tried = sum(outcome is not None for _, outcome in found)
    print(f"{tried} rows, {len(bad)} not as expected" + "".join(f"\n  {name}" for name in bad))
    if given.table:
        every = [(row, record.of(row)) for row in known.values()]
        given.table.write_text(table(every), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
