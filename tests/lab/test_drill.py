"""The drill's own judgement: a restore by hand is proven, and half a restore is not."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drctl.lab import build, data, drill, proofs
from drctl.lab.drill import Product
from drctl.lab.layout import LabHost
from drctl.lab.waiting import until
from tests.lab.conftest import quiet

pytestmark = pytest.mark.lab


class ByHand(Product):
    """The documented procedure, typed by an operator; `forgotten` names what is left out."""

    forgotten = ""

    def backup(self, folder: Path) -> Path:
        folder.mkdir()
        host = self.lab.hosts[0]
        tls: list[str | Path] = ["--cacert", host.ca, "--cert", host.cert, "--key", host.key]
        argv = [host.bin_dir / "etcdctl", *tls, "--endpoints", host.client_url]
        subprocess.run(
            [*argv, "snapshot", "save", folder / "snap.db"], check=True, capture_output=True
        )
        return folder / "snap.db"

    def restore(self, snapshot: Path, *, staged: bool, quorum: bool) -> str:
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
        return ""

    def last_run(self) -> dict[str, Any]:
        return {"run": "by-hand", "steps": []}

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


@pytest.mark.parametrize(
    ("members", "forgotten", "unproven"),
    [
        (3, "", set()),
        (1, "token, restart", {"a new cluster", "every apiserver stand-in serves it"}),
    ],
)
def test_drill_tells_a_whole_restore_from_half_a_one(
    members: int,
    forgotten: str,
    unproven: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ByHand, "forgotten", forgotten)
    monkeypatch.setattr(drill, "Product", ByHand)
    monkeypatch.setattr(proofs, "_PATIENCE_SECONDS", 1.0 if forgotten else 30.0)
    monkeypatch.setattr(proofs, "CAN_BUMP", (99,))  # this operator does not bump
    report = drill.run_drill(
        tmp_path / "lab", members=members, staged=False, etcd=None, say=quiet, keys=20
    )
    assert {proof.what for proof in report.proofs if not proof.ok} == unproven
    assert report.proven is not bool(unproven)
    assert report.rpo_keys == drill.LATER_KEYS + 1
    assert not (tmp_path / "lab").exists()
