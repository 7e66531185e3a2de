"""Damage a real journal at every byte of each of its files, and read it.

    python -m tests.journal.each_byte [--every N] [--record FILE]

The journal is that of a whole restore of one member (the real engine over the simulated cluster),
as it lies on the disk at rest, and as a kill -9 leaves it in the middle of a record (SQLite's
rollback journal beside it). Each file is cut after each of its bytes, and each byte is flipped: one
bit of it (a different one from byte to byte), and all eight. What is then read must be a beginning
of what was written, onto which the next record can be put, or be refused with what to do. Anything
else is a violation: another text, a record out of order, an error of another kind.

Prints a table. Ends with 1 after a violation. It goes on where it was stopped: RECORD
keeps the counts and the place reached (delete it to begin anew).
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.errors import Refused
from drctl.inventory import load_inventory
from drctl.journal.chain import Journal
from drctl.journal.runstate import Event
from tests.model.harness import World

MAIN, BESIDE = "journal.sqlite", "journal.sqlite-journal"
KINDS = ("cut", "one bit", "eight bits")
SAVE_EVERY = 500


@dataclass(frozen=True)
class Lying:
    """A journal's files as they lie on a disk, and all that may truthfully be read from them."""

    name: str
    files: dict[str, bytes]
    truth: tuple[Event, ...]


ONE_MEMBER = """
cluster: sim
layout: kubeasz
hosts: {m1: {address: 127.0.0.11, user: root}}
groups: {etcd: [m1], control_plane: []}
"""


def written_run(path: Path, snapshot: dict[str, Any]) -> None:
    """Put the journal of a whole restore of a small cluster at `path`."""
    inventory = path.with_name("inventory.yaml")
    inventory.write_text(ONE_MEMBER)
    world = World.fresh(load_inventory(inventory), "restore", snapshot)
    assert world.session() is not None
    with closing(Journal(path)) as journal:
        for event in world.journal.events:
            journal.append(event.kind, **event.body)


def read(path: Path) -> tuple[Event, ...]:
    with closing(Journal(path)) as journal:
        return journal.events


def at_rest(path: Path) -> Lying:
    return Lying("at rest", {MAIN: path.read_bytes()}, read(path))


def in_the_middle(path: Path) -> Lying:
    """As a kill leaves it: the pages of a record are partly on the disk, its end is not."""
    before = read(path)
    with closing(Journal(path)) as journal:
        assert journal._db
        # So small a cache writes pages out before the end, as a full one does.
        journal._db.execute("PRAGMA cache_size=1")
        journal._db.execute("BEGIN")
        journal.append("result", step="machine", host="m1", state="done", answer="x" * 30_000)
        files = {name: path.with_name(name).read_bytes() for name in (MAIN, BESIDE)}
        truth = journal.events
        journal._db.execute("ROLLBACK")
    assert files[BESIDE][:8] == bytes.fromhex("d9d505f920a163d7"), "no hot rollback journal"
    assert files[MAIN] != path.read_bytes(), "nothing was written before the end"
    assert truth[:-1] == before
    return Lying("in the middle of a record", files, truth)


def damaged(content: bytes, kind: str, place: int) -> bytes:
    if kind == "cut":
        return content[:place]
    mask = 0xFF if kind == "eight bits" else 1 << (place * 5 % 8)
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def verdict(folder: Path, files: dict[str, bytes], truth: tuple[Event, ...]) -> str:
    """What became of these files: `whole`, `a beginning`, `refused`; or VIOLATION and why."""
    for name in (MAIN, BESIDE):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = folder / MAIN
    try:
        with closing(Journal(path)) as journal:
            found = journal.events
            journal.append("value", name="more", value=1, step="")
        again = read(path)
    except Refused as refused:
        if not refused.hint or str(path) not in refused.message:
            return f"VIOLATION does not say what to do: {refused}"
        return "refused"
    except Exception as error:
        return f"VIOLATION {type(error).__name__}: {error}"
    if found != truth[: len(found)]:
        return "VIOLATION it reads something that was not written"
    if again[:-1] != found or again[-1].kind != "value":
        return "VIOLATION the next record does not hold"
    return "whole" if len(found) >= len(truth) - 1 else "a beginning"


@dataclass
class Record:
    """Counts and the place reached, kept in a file."""

    path: Path | None
    every: int
    reached: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path and self.path.exists():
            kept = json.loads(self.path.read_text())
            assert kept["every"] == self.every, "this record was begun with another --every"
            self.reached, self.violations = kept["reached"], kept["violations"]
            self.counts = {name: Counter(found) for name, found in kept["counts"].items()}

    def save(self) -> None:
        if self.path:
            kept = {k: v for k, v in vars(self).items() if k != "path"}
            self.path.with_suffix(".new").write_text(json.dumps(kept))
            self.path.with_suffix(".new").rename(self.path)


def series(states: list[Lying]) -> Iterator[tuple[str, Lying, str, str]]:
    """(name, state, file, kind) of every series of damages."""
    for state in states:
        for file in state.files:
            for kind in KINDS:
                yield f"{state.name}: {file}: {kind}", state, file, kind


def damage_all(states: list[Lying], record: Record, folder: Path) -> None:
    """Every damage that the record does not have yet."""
    for name, state, file, kind in series(states):
        counts = record.counts.setdefault(name, Counter())
        for place in range(record.reached.get(name, 0), len(state.files[file]), record.every):
            files = {**state.files, file: damaged(state.files[file], kind, place)}
            found = verdict(folder, files, state.truth)
            counts[found.partition(" ")[0] if found.startswith("VIOLATION") else found] += 1
            if found.startswith("VIOLATION"):
                record.violations.append(f"{name} at {place}: {found}")
            record.reached[name] = place + record.every
            if place // record.every % SAVE_EVERY == 0:
                record.save()
        record.save()


def snapshot_facts(folder: Path) -> dict[str, Any]:
    """Facts of a snapshot that the simulated nodes never open."""
    path = folder / "snap.db"
    path.write_bytes(b"nobody reads this")
    text = dict.fromkeys(("storage_version", "cluster_id", "etcd_version"), "")
    return {
        "path": str(path),
        "size": 20512,
        "sha256": "5" * 64,
        "revision": 90,
        "members": [],
        "alarms": [],
        "auth_enabled": False,
        "cluster_version": "3.5.0",
        "taken_at": "2026-11-23T00:00:00Z",
        "taken_at_proven": True,
        "age_seconds": 60,
        **text,
    }


def table(record: Record) -> str:
    outcomes = ("whole", "a beginning", "refused", "VIOLATION")
    lines = [f"{'damage':58}" + "".join(f"{name:>13}" for name in outcomes)]
    for name, counts in record.counts.items():
        lines.append(f"{name:58}" + "".join(f"{counts[o]:13}" for o in outcomes))
    total = sum(sum(counts.values()) for counts in record.counts.values())
    lines.append(
        f"{total} damaged journals, {len(record.violations)} violations; SQLite "
        f"{sqlite3.sqlite_version}; every {record.every}. byte"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1, help="only every Nth byte")
    parser.add_argument("--record", type=Path, help="counts so far: goes on from there")
    arguments = parser.parse_args()
    record = Record(arguments.record, arguments.every)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        folder = Path(made)
        written_run(folder / MAIN, snapshot_facts(folder))
        states = [at_rest(folder / MAIN), in_the_middle(folder / MAIN)]
        (folder / "try").mkdir()
        damage_all(states, record, folder / "try")
    print(table(record))
    for violation in record.violations[:20]:
        print(violation)
    return 1 if record.violations else 0


if __name__ == "__main__":
    sys.exit(main())
