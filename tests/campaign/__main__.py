"""Restores of a real etcd in a lab, each with something going wrong, drawn from a seed; after each
the invariants.

    python -m tests.campaign [--driver local|docker] [--runs N] [--seed S] [--lane K/N]
                             [--only RUN] [--record FILE] [--etcd DIR] [--table FILE]

Each run restores one snapshot over the lab's cluster, in one of the two orders. First every kind of
fault (tests.campaign.kinds) comes alone, five times; then two to four at once. What goes wrong,
when and on which host follows from the seed and the run's number, so `--only` plays a run again.
The operator mends what a person would and does what drctl says: resumes (or, every fourth time,
rolls back) until that ends well. Checked: the end is that of an undisturbed run (one cluster of the
planned ID, equal hashes, the snapshot's keys and values, the old data kept, nothing staged,
nobody's claim), or after a rollback the very cluster, keys and directories of before; every exit
status is a documented one; no traceback; every failure says what to type.

One line of JSON per run is appended to the record, and the campaign goes on behind the last one;
several lanes (`--lane 0/3`) may share a record. After a violation the lab is left for a look, and
the next run gets a new one. Ends with 1 after a violation. `--table FILE` writes what the record
holds as a document, and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.campaign import kinds, table
from tests.campaign.story import EACH, World
from tests.support.operator import ROOT

MOST_VIOLATIONS = 3


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the lab goes
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", choices=("local", "docker"), default="local")
    parser.add_argument("--runs", type=int, help="default: every kind, alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lane", default="0/1", help="K/N: of N lanes at once this is number K")
    parser.add_argument("--only", type=int, help="this run alone, and no record of it")
    parser.add_argument("--record", type=Path, default=ROOT / ".campaign.jsonl")
    parser.add_argument("--etcd", type=Path)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    lines = table.read(given.record)
    if given.table:
        given.table.write_text(table.document(lines))
        return 0
    lane, lanes = map(int, given.lane.split("/"))
    done = {
        line["run"]
        for line in lines
        if line["seed"] == given.seed and line["driver"] == given.driver
    }
    runs = given.runs or EACH * len(kinds.of(given.driver))
    numbers = [n for n in range(runs) if n % lanes == lane and n not in done]
    made = _play([given.only] if given.only is not None else numbers, given)
    violations = [line for line in made if line["violation"]]
    for line in violations:
        print(
            f"VIOLATION {line['violation']}\nagain: python -m tests.campaign --driver "
            f"{line['driver']} --seed {line['seed']} --only {line['run']}"
        )
    print(table.text([*lines, *made]))
    return 1 if violations else 0


def _play(numbers: Iterable[int], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Play the runs in one lab; a lab in which something was violated is left, and another made."""
    made: list[dict[str, Any]] = []
    world: World | None = None
    try:
        for number in numbers:
            if world is None:
                world = World(given.driver, _folder(), given.etcd)
                world.up()
            line = world.play(given.seed, number)
            print(json.dumps(line), flush=True)
            made.append(line)
            if given.only is None:
                with given.record.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if line["violation"]:
                if os.environ.get("CI"):  # nobody comes to look; the seed plays it again
                    world.down()
                else:
                    print(f"the lab is left for a look: {world.directory}")
                world = None
            if sum(bool(one["violation"]) for one in made) >= MOST_VIOLATIONS:
                break
    finally:
        if world:
            world.down()
            shutil.rmtree(world.folder, ignore_errors=True)
    return made


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="drctl-campaign-"))


if __name__ == "__main__":
    sys.exit(main())
