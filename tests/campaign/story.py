"""One run of the campaign: a restore, what goes wrong in it, what the operator types, and what must
hold at the end (docs/invariants.md)."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from drctl.drill import drivers, witness
from drctl.drill.drivers import LabOptions
from drctl.drill.scenario import Needs
from drctl.errors import Refused, StepFailed
from drctl.lab import data, layout
from drctl.lab.site import Site
from tests.campaign import kinds
from tests.campaign.kinds import KINDS
from tests.campaign.scene import NotDone, Scene
from tests.lab.each_boundary import boundaries
from tests.support.labs import stand_ins_serve
from tests.support.operator import KILLED, Operator

DOCUMENTED = {0, 3, 4, 5, 6, 7, 8, 9, 10}
ORDERS = ("restore", "restore-staged")
TURNED_AWAY = {"2", "4", "5", "7", "8"}
EACH = 5
"""How often every kind comes alone, before they are mixed."""
DRIFTED, LOCKED = 6, 7
TRIES = 6
PATIENCE = 2
"""How many resumes that fail before the operator takes the run back."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, at a moment of the run (tests.support.mortal), on one host."""

    kind: str
    moment: str
    host: str


@dataclass(frozen=True)
class Look:
    """What a rollback must bring back, and a refusal must leave."""

    cluster_id: str
    content: str  # digest of all keys and values
    inodes: tuple[str, ...]  # of what etcd has in its data directories


@dataclass
class World:
    """One lab, one operator and one snapshot, for many runs."""

    driver: str
    folder: Path
    etcd: Path | None
    site: Site = field(init=False)
    operator: Operator = field(init=False)
    moments: dict[str, list[str]] = field(default_factory=dict)
    backwards: dict[str, list[str]] = field(default_factory=dict)  # those of rollbacks
    exits: list[int] = field(default_factory=list)  # of this run's commands
    happened: set[Fault] = field(default_factory=set)  # in this run
    wanted: str = ""
    base: int = 0

    def up(self) -> None:
        """Start the lab, and see an undisturbed run in each order."""
        practice = drivers.practice(self.driver)
        options = LabOptions(etcd=self.etcd, keys=60)
        needs = Needs(disk_mb=400 if self.driver == "docker" else 0)
        self.site = drivers.up(practice, self.directory, needs, options, print)
        if self.driver == "local":  # the faults of SSH are done to OpenSSH's processes
            assert layout.require(self.directory).ssh_server == "openssh", "no OpenSSH server here"
        self.operator = Operator(self.site.inventory, self.folder / "state")
        shutil.copy2(self.operator.backup(self.folder / "backup"), self.snapshot)
        seen = self.look()
        self.wanted, self.base = seen.content, witness.revision(self.site, self.members[0])
        for order in ORDERS:
            log = self.folder / f"moments-{order}"
            ran = self._restore(order, moments=log)
            assert ran.returncode == 0, ran.stderr
            self.moments[order] = boundaries(log.read_text().splitlines())
            self._is_restored(self.operator.last_run())
            self._forget()
            self._restore(order, die="step-done start-etcd")
            back = self.operator.rollback(moments=(log := self.folder / f"backwards-{order}"))
            assert back.returncode == 0, back.stderr
            passed = boundaries(log.read_text().splitlines())
            self.backwards[order] = [moment for moment in passed if "undo-" in moment]
            self._forget()

    @property
    def directory(self) -> Path:
        return self.folder / "lab"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snap.db"

    @property
    def members(self) -> tuple[Any, ...]:
        return witness.members(self.site)

    def scene(self, host: str) -> Scene:
        """That host as a fault sees it, now."""
        return Scene(self.driver, self.directory, host, self.operator.state)

    def down(self) -> None:
        """End the lab, as far as there is one."""
        with suppress(Refused):
            drivers.down(drivers.practice(self.driver), self.directory, print)

    def look(self) -> Look:
        """What the cluster is, as seen from outside the product."""
        first = self.members[0]
        sight = witness.look(self.site, first)
        keys = {key: value for key, value in sight.content.items() if key.startswith(data.PREFIX)}
        inodes = [self.scene(m.name).sh('stat -c %i "$data/member"').strip() for m in self.members]
        return Look(sight.cluster_id, data.digest(keys), tuple(inodes))

    def play(self, seed: int, number: int) -> dict[str, Any]:
        """One run, as a line for the record."""
        chance = random.Random(f"{self.driver}:{seed}:{number}")
        order = ORDERS[chance.randrange(len(ORDERS))]
        way = "rollback" if number % 4 == 3 else "resume"
        faults = self._drawn(chance, number, order, way)
        self.exits, self.happened = [], set()
        began, violation = time.monotonic(), ""
        try:
            way = self._story(order, faults, way)
        except (AssertionError, StepFailed, subprocess.TimeoutExpired) as error:
            violation = f"{type(error).__name__}: {str(error)[:900]}"
        return {
            "driver": self.driver,
            "seed": seed,
            "run": number,
            "order": order,
            "faults": [{**asdict(f), "happened": f in self.happened} for f in faults],
            "exits": self.exits,
            "way": way,
            "seconds": round(time.monotonic() - began, 1),
            "violation": violation,
        }

    def _drawn(self, chance: random.Random, number: int, order: str, way: str) -> list[Fault]:
        """Every kind alone, EACH times; then two to four at once, of which all but the first come
        while the operator resumes or rolls back."""
        names = kinds.of(self.driver)
        chosen = [names[number % len(names)]]
        if number >= EACH * len(names):
            chosen = chance.sample(names, chance.choice([2, 3, 4]))
            if way == "rollback":  # where only what may come at any time makes sense
                anytime = [name for name in names if not (KINDS[name].at or KINDS[name].between)]
                others = chance.sample(anytime, len(chosen) - 1)
                if KINDS[chosen[0]].between:  # met by a resume only
                    chosen = chance.sample([name for name in anytime if name not in others], 1)
                chosen = chosen[:1] + others
        faults = []
        for place, name in enumerate(chosen):
            backwards = place > 0 and way == "rollback"
            passed = self.backwards[order] if backwards else self.moments[order]
            places = [moment for moment in passed if KINDS[name].fits(moment)]
            assert places, f"{name}: none of its moments passes"
            host = chance.choice(self.members).name
            faults.append(Fault(name, chance.choice(places), host))
        return faults

    def _story(self, order: str, faults: Sequence[Fault], way: str) -> str:
        with witness.gateway(self.site, self.members[0]) as gateway:
            data.write_keys(gateway, f"later-{time.time_ns()}", 3, 16)
        before = self.look()
        during = [fault for fault in faults if not KINDS[fault.kind].between]
        between = [fault for fault in faults if KINDS[fault.kind].between]
        if between and not during:  # there must be a run to come back to
            moments = [moment for moment in self.moments[order] if moment.startswith("effect")]
            during = [replace(between[0], kind="killed-after-effect", moment=moments[0])]
        self._type("restore", order, *during[:1])
        for fault in during[1:]:
            if self._goes_on():
                self._type(way, order, fault)
        for fault in between:
            if self._goes_on():
                meet = self._adopted if KINDS[fault.kind].between == "state" else self._touched
                meet(fault)
        return self._passed_by() or self._to_the_end(order, way, before)

    def _restore(self, order: str, **how: Any) -> subprocess.CompletedProcess[str]:
        more = ["--replace-healthy", "--runbook", order]
        return self.operator.restore(self.snapshot, *more, **how)

    def _type(self, way: str, order: str, fault: Fault | None = None) -> None:
        """One command, with what goes wrong in it; then the operator mends the world."""
        how: dict[str, str] = {}
        kind = KINDS[fault.kind] if fault else None
        if fault and kind and kind.die:
            how["die"] = fault.moment
        elif fault:
            words = [sys.executable, "-m", "tests.campaign.kinds", fault.kind, self.driver]
            words += [str(self.directory), fault.host, str(self.operator.state)]
            how |= {"at": fault.moment, "do": " ".join(words)}
        if way == "restore":
            ended = self._restore(order, **how)
        else:
            ended = getattr(self.operator, way)(**how)
        self.exits.append(ended.returncode)
        if fault and kind:
            scene = self.scene(fault.host)
            if (kind.die or self._done()) and kind.proof(scene, ended.returncode):
                self.happened.add(fault)
            with suppress(NotDone):
                kind.mend(scene)
        self._is_well_said(ended)

    def _done(self) -> bool:
        """Whether the deed of the last command took effect (tests.campaign.kinds)."""
        told = self.folder / "happened"
        done = told.exists()
        told.unlink(missing_ok=True)
        return done

    @staticmethod
    def _is_well_said(ended: subprocess.CompletedProcess[str]) -> None:
        if ended.returncode == KILLED:
            return
        assert ended.returncode in DOCUMENTED, f"exit {ended.returncode}: {ended.stderr[-600:]}"
        assert "Traceback" not in ended.stderr, ended.stderr[-600:]
        if ended.returncode:
            assert "hint: " in ended.stderr, f"says not what to do: {ended.stderr[-600:]}"

    def _shown(self) -> dict[str, Any]:
        shown = self.operator.types("runs", "show", *self.operator.on, "--output", "json")
        found: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
        return found

    def _goes_on(self) -> bool:
        return self._shown().get("state", "done") not in ("done", "rolled-back")

    def _touched(self, fault: Fault) -> None:
        """The next command meets what was done, and refuses or copes; then all is put back."""
        kind = fault.kind
        journal = max(self.operator.state.glob("*/*/journal.sqlite"))
        touched = {"inventory": self.site.inventory, "snapshot": self.snapshot}
        path = touched.get(KINDS[kind].between, journal)
        whole = path.read_bytes()
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
        if kind == "journal-cut":
            changed = whole[:middle]
        elif kind == "inventory-drifted":
            drifted = yaml.safe_load(whole)
            etcd = drifted.setdefault("etcd", {})
            etcd["data_dir"] = f"{etcd.get('data_dir', '/var/lib/etcd')}2"
            changed = yaml.safe_dump(drifted).encode()
        path.write_bytes(changed)
        ended = self.operator.resume()
        self.exits.append(ended.returncode)
        if path != journal or ended.returncode:
            path.write_bytes(whole)
        self._is_well_said(ended)
        if ended.returncode:
            self.happened.add(fault)
        else:  # half of the journal's bits are in free pages, where a flip is none
            assert kind == "journal-flipped", f"{kind} was not noticed"

    def _adopted(self, fault: Fault) -> None:
        """The operator's machine is gone: another one adopts the run, if it had touched a node."""
        changed = self._shown()["changed"]
        lost = self.operator.state.rename(self.folder / "lost")
        adopted = self.operator.types("runs", "adopt", *self.operator.on, "--gone")
        self.exits.append(adopted.returncode)
        if adopted.returncode == 0:
            self.happened.add(fault)
        else:
            assert not changed, f"not adopted: {adopted.stderr[-600:]}"
            shutil.rmtree(self.operator.state, ignore_errors=True)
            lost.rename(self.operator.state)
        shutil.rmtree(lost, ignore_errors=True)

    def _to_the_end(self, order: str, way: str, before: Look) -> str:
        """Type what drctl says until the run has ended well."""
        for attempt in range(TRIES):
            run = self._shown()
            if run.get("state") in ("done", "rolled-back"):
                break
            if not run.get("changed"):
                self._is(before, "a run that changed nothing")
                self._type("restore", order)
                continue
            self._type("rollback" if attempt >= PATIENCE else way, order)
        run = self._shown()
        state = str(run.get("state"))
        assert state in ("done", "rolled-back"), f"no end: {run.get('error')}"
        if state == "rolled-back":
            self._is(before, "the rollback")
        else:
            self._is_restored(run)
        self._serves(run["reserved"], 60 if state == "rolled-back" else 10)
        self._forget()
        return state

    def _is(self, before: Look, after: str) -> None:
        now = self.look()
        assert now == before, f"not as before after {after}: {now}, was {before}"

    def _is_restored(self, run: dict[str, Any]) -> None:
        """I2, I4, I5: the planned cluster, equal data, the snapshot's keys, the old data kept."""
        assert run["state"] == "done", run["error"]
        ids = {f"{int(witness.cluster_id(self.site, m)):x}" for m in self.members}
        assert ids == {run["values"]["cluster_id"]}, f"cluster {ids}"
        revision = self.base + int(run["values"]["bump"] or 0)
        hashes = {witness.hash_at(self.site, m, revision) for m in self.members}
        assert len(hashes) == 1, f"different hashes at {revision}: {hashes}"
        found = self.look().content
        assert found == self.wanted, "other keys or values than the snapshot's"
        for member in self.members:
            old = f'[ -d "$stage/{run["run"]}/old" ] && echo kept'
            assert self.scene(member.name).sh(old).strip() == "kept", f"{member.name}: old data"

    def _serves(self, reserved: Sequence[str] = (), seconds: float = 10) -> None:
        """Whoever the run stopped serves again, and nothing of it is left but the old data."""
        for member in self.members:
            traces = '"$stage"/*/snapshot.db'
            if member.name not in reserved:  # the next run gives it back, or is turned away
                traces += ' "$work/owner"'
            left = self.scene(member.name).sh(
                f'for f in {traces}; do [ ! -e "$f" ] || echo "$f"; done'
            )
            assert not left, f"{member.name}: left behind: {left}"
        if self.driver == "local":
            stand_ins_serve(layout.require(self.directory), seconds)

    def _passed_by(self) -> str:
        """I9: whoever came second was turned away; or did all of it before the first claimed the
        nodes, and then the first has changed nothing."""
        told, theirs = self.folder / "second", self.folder / "another-machine"
        statuses = told.read_text().split() if told.exists() else []
        told.unlink(missing_ok=True)
        assert set(statuses) <= {"0", *TURNED_AWAY}, f"second operator ended with {statuses}"
        if won := "0" in statuses:
            assert self.exits[-1] in (DRIFTED, LOCKED), f"both went on: {self.exits}, {statuses}"
            assert not self._shown()["changed"]
            self._is_restored(Operator(self.site.inventory, theirs).last_run())
            self._serves()
            self._forget()
        shutil.rmtree(theirs, ignore_errors=True)
        return "passed by" if won else ""

    def _forget(self) -> None:
        """Make room for the next run; what was kept has been looked at."""
        for member in self.members:
            self.scene(member.name).sh('rm -rf -- "$stage"')
