"""Restores of a real etcd in the embedded lab, each with one to three things going wrong, drawn
from a seed; after each the invariants.

    python -m tests.campaign [--runs N] [--seed S] [--only RUN] [--record FILE] [--etcd DIR]

Each run restores one snapshot over the lab's cluster, in one of the two orders; what goes wrong,
when and on which host follows from the seed and the run's number, so `--only` plays a run again.
Then the operator does what drctl says: resumes (or, every fourth time, rolls back) until that ends
well. Checked: the end is that of an undisturbed run (one cluster of the planned ID, equal hashes,
the snapshot's keys and values, the old data kept, nothing staged, nobody's claim), or after a
rollback the very cluster, keys and directories of before; every exit status is a documented one;
no traceback; every failure says what to type. One line of JSON per run is appended to the record,
and the campaign goes on behind the last one. Ends with 1 after a violation; the lab is left then.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drctl.lab import binaries, data, layout, local
from drctl.lab.layout import Lab
from tests.campaign.deeds import DEEDS, Scene
from tests.lab.each_boundary import boundaries, end_of, look
from tests.operator import KILLED, ROOT, Operator

DOCUMENTED = {0, 3, 4, 5, 6, 7, 8, 9, 10}
TRIES = 4
BEFORE_THE_STOP, AFTER_THE_STOP = ("step-done live",), ("step-done stop-etcd",)
ANYWHERE: tuple[str, ...] = ()
PLACES: dict[str, tuple[str, ...]] = {
    "copy-altered": ("step-done send",),
    "copy-removed": ("step-done send",),
    "rebuilt-removed": ("step-done rebuild", "step-done rebuilt"),
    "fence-removed": AFTER_THE_STOP,
    "etcd-started-by-somebody": AFTER_THE_STOP,
    "etcd-killed": ("step-done start-etcd", "step-done live", "step-done identity"),
    "job-killed": ("host-started send", "host-started rebuild", "host-started swap"),
    "tool-missing": ("step-done live", "step-done send", "step-done stop-etcd"),
    "foreign-file": BEFORE_THE_STOP,
}
"""Where a deed makes sense; all others happen at any boundary."""
JOURNAL_KINDS = ("journal-cut", "journal-flipped", "inventory-drifted", "snapshot-exchanged")
"""Done between two commands of the operator, whose next one must refuse; then put back."""
HIDDEN = {"kill-next-job"}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: a kill or a deed at a moment, or damage between two commands."""

    kind: str
    moment: str
    host: str


def kinds() -> list[str]:
    return ["killed", *sorted(set(DEEDS) - HIDDEN), *JOURNAL_KINDS]


def drawn(chance: random.Random, number: int, moments: list[str], hosts: list[str]) -> list[Fault]:
    """The faults of a run: the first kind goes round all of them, the others are drawn."""
    names = [kinds()[number % len(kinds())]]
    names += [chance.choice(kinds()) for _ in range(chance.choice([0, 0, 1, 2]))]
    faults = []
    for name in names:
        places = [m for m in moments if m in PLACES.get(name, ())] or moments
        faults.append(Fault(name, chance.choice(places), chance.choice(hosts)))
    return faults


@dataclass
class Campaign:
    """One lab, one operator, one snapshot; `moments` are the boundaries of an undisturbed run."""

    lab: Lab
    operator: Operator
    snapshot: Path
    moments: dict[str, list[str]]
    wanted: dict[str, Any]
    base: int

    @classmethod
    def prepared(cls, folder: Path, etcd: Path | None) -> Campaign:
        directory = folder / "lab"
        local.up(directory, etcd=binaries.find(etcd), keys=60, value_size=64, say=print)
        lab = layout.require(directory)
        operator = Operator(lab.inventory, folder / "state")
        taken = operator.backup(folder / "backup")
        snapshot = folder / "snap.db"
        shutil.copy2(taken, snapshot)
        base = operator.status()["members"][0]["revision"]
        moments, wanted = {}, {}
        for order in ("restore", "restore-staged"):
            log = folder / f"moments-{order}"
            ran = operator.restore(snapshot, "--replace-healthy", "--runbook", order, moments=log)
            assert ran.returncode == 0, ran.stderr
            moments[order] = boundaries(log.read_text().splitlines())
            wanted[order] = end_of(lab, operator, base)
        return cls(lab, operator, snapshot, moments, wanted, base)

    def play(self, seed: int, number: int) -> dict[str, Any]:
        """One run, as a line for the record."""
        chance = random.Random(f"{seed}:{number}")
        order = chance.choice(["restore", "restore-staged"])
        hosts = [host.name for host in self.lab.hosts]
        faults = drawn(chance, number, self.moments[order], hosts)
        began, violation = time.monotonic(), ""
        exits: list[int] = []
        way = "rollback" if number % 4 == 3 else "resume"
        try:
            way = self._story(order, faults, way, exits)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            violation = f"{type(error).__name__}: {str(error)[:600]}"
        return {
            "seed": seed,
            "run": number,
            "order": order,
            "faults": [asdict(fault) for fault in faults],
            "exits": exits,
            "way": way,
            "seconds": round(time.monotonic() - began, 1),
            "violation": violation,
        }

    def _story(self, order: str, faults: list[Fault], way: str, exits: list[int]) -> str:
        before = look(self.lab, self.operator)
        with data.gateway(self.lab.hosts[0]) as gateway:
            data.write_keys(gateway, f"later-{time.time_ns()}", 3, 16)
        before = (before[0], look(self.lab, self.operator)[1], before[2])
        first = [fault for fault in faults if fault.kind not in JOURNAL_KINDS]
        self._type(exits, "restore", order, first[:1])
        for fault in first[1:]:
            if self._run_state() not in ("done", ""):
                self._type(exits, way, order, [fault])
        for fault in faults:
            if fault.kind in JOURNAL_KINDS and self._run_state() not in ("done", ""):
                self._damage(fault.kind, exits)
        return self._to_the_end(order, way, exits, before)

    def _type(self, exits: list[int], way: str, order: str, faults: Iterable[Fault]) -> None:
        """One command, with what goes wrong in it; then the world is mended."""
        how: dict[str, str] = {}
        for fault in faults:
            if fault.kind == "killed":
                how["die"] = fault.moment
            else:
                words = [sys.executable, "-m", "tests.campaign.deeds", fault.kind]
                words += [str(self.lab.directory), fault.host, str(self.operator.state)]
                how |= {"at": fault.moment, "do": " ".join(words)}
        if way == "restore":
            ended = self.operator.restore(
                self.snapshot, "--replace-healthy", "--runbook", order, **how
            )
        else:
            ended = getattr(self.operator, way)(**how)
        exits.append(ended.returncode)
        self._is_well_said(ended)
        for fault in faults:
            if fault.kind in DEEDS:
                DEEDS[fault.kind][1](self._scene(fault.host))

    def _scene(self, host: str) -> Scene:
        lab = layout.require(self.lab.directory)
        return Scene(lab, lab.host(host), self.operator.state)

    @staticmethod
    def _is_well_said(ended: subprocess.CompletedProcess[str]) -> None:
        if ended.returncode == KILLED:
            return
        assert ended.returncode in DOCUMENTED, f"exit {ended.returncode}: {ended.stderr[-400:]}"
        assert "Traceback" not in ended.stderr, ended.stderr[-400:]
        if ended.returncode:
            assert "hint: " in ended.stderr, f"says not what to do: {ended.stderr[-400:]}"

    def _run_state(self) -> str:
        shown = self.operator.types("runs", "show", *self.operator.on, "--output", "json")
        return str(json.loads(shown.stdout)["state"]) if shown.returncode == 0 else ""

    def _damage(self, kind: str, exits: list[int]) -> None:
        """Between two commands: the next one refuses, changes nothing, and is typed again."""
        journal = max(self.operator.state.glob("*/*/journal.sqlite"))
        path = {"inventory-drifted": self.lab.inventory, "snapshot-exchanged": self.snapshot}.get(
            kind, journal
        )
        whole = path.read_bytes()
        if kind == "journal-cut":
            path.write_bytes(whole[: len(whole) // 2])
        elif kind == "inventory-drifted":
            path.write_bytes(whole.replace(b"member_name", b"settle_nothing: 1\n  member_name"))
        else:
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
        ended = self.operator.resume()
        path.write_bytes(whole)
        exits.append(ended.returncode)
        self._is_well_said(ended)
        if kind in ("journal-cut", "inventory-drifted"):
            assert ended.returncode != 0, f"{kind} was not noticed"

    def _to_the_end(
        self, order: str, way: str, exits: list[int], before: tuple[str, str, list[int]]
    ) -> str:
        for _ in range(TRIES):
            run = self.operator.last_run()
            if run["state"] in ("done", "rolled-back"):
                break
            if not run["changed"]:
                self._type(exits, "restore", order, ())  # refused before anything was changed
                continue
            self._type(exits, way, order, ())
        run = self.operator.last_run()
        assert run["state"] in ("done", "rolled-back"), f"no end: {run['error']}"
        self._seconds_were_turned_away()
        if run["state"] == "rolled-back":
            found = look(self.lab, self.operator)
            assert found == before, f"not as before the run: {found}, was {before}"
            assert all(data.stand_in_ready(host) for host in self.lab.hosts)
        else:
            found_end = end_of(self.lab, self.operator, self.base)
            assert found_end == self.wanted[order], f"another end: {found_end}"
        for host in self.lab.hosts:
            shutil.rmtree(host.data_dir.with_name("etcd.drctl"), ignore_errors=True)
        return str(run["state"])

    def _seconds_were_turned_away(self) -> None:
        """I9: whoever came second was refused."""
        told = self.operator.state.with_name("second")
        statuses = told.read_text().split() if told.exists() else []
        told.unlink(missing_ok=True)
        assert set(statuses) <= {"2", "4", "5", "7", "8"}, f"second operator ended with {statuses}"
        shutil.rmtree(self.operator.state.with_name("another-machine"), ignore_errors=True)


def table(lines: list[dict[str, Any]]) -> str:
    """Kinds, how often each, and the honest limits."""
    counts: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for line in lines:
        for kind in {fault["kind"] for fault in line["faults"]}:
            counts[kind] += 1
            bad[kind] += bool(line["violation"])
    rows = [f"{'kind':28}{'runs':>6}{'violations':>12}"]
    rows += [f"{kind:28}{counts[kind]:6}{bad[kind]:12}" for kind in kinds()]
    violations = sum(bool(line["violation"]) for line in lines)
    ways = Counter(line["way"] for line in lines)
    rows += [
        f"{len(lines)} runs ({', '.join(f'{n} {way}' for way, n in ways.items())}), "
        f"{violations} violations, {sum(line['seconds'] for line in lines) / 60:.0f} minutes",
        "Limits: processes of one machine, one clock and kernel; SIGKILL is no power cut; no disk "
        "is full, no network is cut between members.",
    ]
    if lines and not violations:
        rows.append(f"None in {len(lines)} bounds the rate at {3 / len(lines):.3f} (95 %).")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=len(kinds()))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this run alone, and no record of it")
    parser.add_argument("--record", type=Path, default=ROOT / ".campaign.jsonl")
    parser.add_argument("--etcd", type=Path)
    arguments = parser.parse_args()
    kept = arguments.record.read_text().splitlines() if arguments.record.exists() else []
    lines: list[dict[str, Any]] = [json.loads(line) for line in kept]
    done = {line["run"] for line in lines if line["seed"] == arguments.seed}
    numbers = [n for n in range(arguments.runs) if n not in done]
    numbers = numbers if arguments.only is None else [arguments.only]
    folder = Path(tempfile.mkdtemp(prefix="drctl-campaign-"))
    violation = ""
    try:
        campaign = Campaign.prepared(folder, arguments.etcd) if numbers else None
        for number in numbers:
            assert campaign
            line = campaign.play(arguments.seed, number)
            print(json.dumps(line), flush=True)
            lines.append(line)
            if arguments.only is None:
                with arguments.record.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if violation := line["violation"]:
                print(f"again: python -m tests.campaign --seed {arguments.seed} --only {number}")
                break
    finally:
        if violation:
            print(f"the lab is left for a look: {folder / 'lab'}")
        else:
            local.down(folder / "lab", print)
            shutil.rmtree(folder, ignore_errors=True)
    print(table(lines))
    return 1 if violation else 0


if __name__ == "__main__":
    sys.exit(main())
