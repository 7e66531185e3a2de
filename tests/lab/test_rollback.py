"""On the embedded lab: a rollback after clients wrote to the restored cluster tells what it would
lose, asks, and keeps what it takes away."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from drctl.lab import data
from drctl.lab.layout import Lab
from tests.lab.test_restore import footprint, write_later
from tests.support.labs import content, stand_ins_serve
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def rollback(operator: Operator, *more: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return operator.types("rollback", *operator.on, "--yes", *more, **how)


def test_what_was_written_is_counted_asked_for_and_kept(
    lab: Lab, operator: Operator, tmp_path: Path
) -> None:
    snapshot = operator.backup(tmp_path)
    write_later(lab)
    before, old = content(lab), operator.status()["cluster_id"]
    inodes = [host.data_dir.stat().st_ino for host in lab.hosts]
    died = operator.restore(snapshot, "--replace-healthy", die="step-done start-apiserver")
    assert died.returncode == KILLED, died.stderr
    restored = operator.status()["cluster_id"]
    with data.gateway(lab.hosts[0]) as gateway:
        gateway.put_all([("/registry/pods/default/born", b"new"), (data.NAMESPACE_KEY, b"changed")])
        gateway.put_all([("/registry/pods/default/born", b"new again")])

    written, marks = content(lab), footprint(lab)
    refused = rollback(operator)
    assert refused.returncode == 4, refused.stderr
    assert "2 revisions since Kubernetes was started" in refused.stderr
    assert "3 of 3 members answer" in refused.stderr
    assert "keys: 1 created, 1 changed, 0 deleted" in refused.stderr
    assert "created: pods 1" in refused.stderr and "changed: namespaces 1" in refused.stderr
    assert "--lose-writes" in refused.stderr
    assert (content(lab), footprint(lab)) == (written, marks)
    assert operator.status()["cluster_id"] == restored

    died = rollback(operator, "--lose-writes", die="effect undo-swap")
    assert died.returncode == KILLED, died.stderr
    back = rollback(operator)
    assert back.returncode == 0, back.stderr
    run = operator.last_run()
    assert run["state"] == "rolled-back"
    assert operator.status()["cluster_id"] == old != restored
    assert content(lab) == before
    assert [host.data_dir.stat().st_ino for host in lab.hosts] == inodes
    stand_ins_serve(lab)
    for host in lab.hosts:
        kept = host.data_dir.with_name("etcd.drctl") / run["run"] / "restored"
        assert f"{host.name}:{kept}" in back.stderr
        assert b"new again" in (kept / host.data_dir.name / "member/snap/db").read_bytes()
        assert not (kept.parent / "snapshot.db").exists()
