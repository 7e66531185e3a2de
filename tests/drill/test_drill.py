"""The drill's own judgement: a restore by hand is proven, and half a restore is not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drctl.drill import expectation, proofs, scenario
from drctl.drill.operator import Ended, Operator
from drctl.drill.record import Command
from drctl.drill.rehearsal import LATER_KEYS, Rehearsal
from drctl.drill.witness import differences
from drctl.lab import data, layout
from drctl.lab.layout import Lab, LabHost
from drctl.lab.local import build, driver
from drctl.lab.waiting import until
from tests.support.labs import quiet

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class ByHand(Operator):
    """The documented procedure, typed by an operator; `forgotten` names what is left out."""

    lab: Lab = None  # type: ignore[assignment]  # the base's fields come first, without defaults
    forgotten: str = ""

    def types(self, *arguments: str, **how: Any) -> Ended:
        if arguments[0] != "restore":
            return super().types(*arguments, **how)
        self._restore(Path(arguments[2]))
        return Ended(Command("by hand", "", 1.0, 0, 0, "", ""), "")

    def runs(self) -> list[str]:
        return []

    def _restore(self, snapshot: Path) -> None:
        units = ["etcd"]
        if "restart" not in self.forgotten:
            units.insert(0, "kube-apiserver-stand-in")
        for unit in units:
            self._everywhere("stop", unit)
        for host in self.lab.hosts:
            self._rebuild(host, snapshot)
        for unit in reversed(units):
            self._everywhere("start", unit)
        for host in self.lab.hosts:
            until(partial(data.stand_in_ready, host), 30, host.name)

    def _everywhere(self, verb: str, unit: str) -> None:
        for host in self.lab.hosts:
            subprocess.run(build.control(host, verb, unit), check=True, capture_output=True)

    def _rebuild(self, host: LabHost, snapshot: Path) -> None:
        shutil.rmtree(host.data_dir, ignore_errors=True)
        peers = ",".join(f"{peer.member_name}={peer.peer_url}" for peer in self.lab.hosts)
        flags: dict[str, object] = {
            "data-dir": host.data_dir,
            "name": host.member_name,
            "initial-cluster": peers,
            "initial-advertise-peer-urls": host.peer_url,
        }
        fresh = "token" not in self.forgotten
        flags["initial-cluster-token"] = "a-fresh-token" if fresh else "etcd-cluster-0"
        subprocess.run(
            [
                host.bin_dir / "etcdutl",
                *("snapshot", "restore", snapshot),
                *(f"--{name}={value}" for name, value in flags.items()),
            ],
            check=True,
            capture_output=True,
        )


@pytest.fixture(params=[(3, ""), (1, "token, restart")], ids=["whole", "half"])
def by_hand(request: pytest.FixtureRequest, tmp_path: Path, etcd_dir: Path) -> Iterator[ByHand]:
    members, forgotten = request.param
    directory = tmp_path / "lab"
    driver.up(directory, members=members, etcd=etcd_dir, keys=20, say=quiet)
    lab = layout.require(directory)
    yield ByHand(lab.inventory, tmp_path / "state", quiet, lab, forgotten)
    driver.down(directory, quiet)


def test_drill_tells_a_whole_restore_from_half_a_one(
    by_hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = by_hand.forgotten
    monkeypatch.setattr(expectation, "PATIENCE_SECONDS", 5.0 if half else 60.0)
    monkeypatch.setattr(proofs, "CAN_BUMP", (99,))  # this operator does not bump
    site = driver.site(by_hand.lab.directory)
    seen = Rehearsal(site, scenario.load("majority-data-lost"), by_hand, quiet)
    seen.run()
    unproven = {"a new cluster", "every apiserver stand-in serves it"} if half else set()
    assert {proof.what for proof in seen.proofs if not proof.ok} == unproven
    assert bool(seen.verdict) is bool(half)
    here = [line for line in seen.not_tested if "no real Kubernetes" not in line]
    assert [line.split(":")[0] for line in here] == [
        "revisions do not go back",
        "a watch from before is told to restart",
    ]
    lost = differences(seen.scene.later.content, seen.scene.before.content)
    assert len(lost) == LATER_KEYS + 1
