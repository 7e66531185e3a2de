"""On the embedded lab: nodes without an etcdutl, and an inventory that has one sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.lab import layout
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from tests.lab.test_restore import footprint, write_later
from tests.support.labs import content, quiet
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path: Path, etcd_dir: Path) -> Iterator[Lab]:
    """No node has an etcdutl of its own."""
    driver.up(tmp_path / "lab", etcd=etcd_dir, keys=50, value_size=64, say=quiet)
    lab = layout.require(tmp_path / "lab")
    for host in lab.hosts:
        (host.bin_dir / "etcdutl").unlink()
    yield lab
    driver.down(tmp_path / "lab", quiet)


def with_etcdutl(lab: Lab, program: Path, path: Path) -> Path:
    text = lab.inventory.read_text()
    assert text.count("\netcd:\n") == 1
    path.write_text(text.replace("\netcd:\n", f"\netcd:\n  etcdutl: {program}\n"))
    return path


def test_an_etcdutl_that_is_sent(lab: Lab, tmp_path: Path, etcd_dir: Path) -> None:
    without = Operator(lab.inventory, tmp_path / "state")
    snapshot = without.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    lacking = without.types("preflight", *without.on)
    assert lacking.returncode == 4 and "missing: etcdutl" in lacking.stderr

    inventory = with_etcdutl(lab, etcd_dir / "etcdutl", lab.inventory.with_name("sent.yaml"))
    operator = Operator(inventory, tmp_path / "state")
    before = footprint(lab)
    looked = operator.types("preflight", *operator.on)
    assert looked.returncode == 0, looked.stderr
    assert footprint(lab) == before
    rehearsed = operator.restore(snapshot, "--replace-healthy", "--dry-run")
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert footprint(lab) == before

    killed = operator.restore(snapshot, "--replace-healthy", die="intent rebuild")
    assert killed.returncode == KILLED, killed.stderr
    restored = operator.resume()
    assert restored.returncode == 0, restored.stderr
    assert content(lab) == saved
    left = [n for names in footprint(lab).values() for n in names if "tools" in n or "looks" in n]
    assert left == []


def test_another_program_is_refused_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "etcdutl"
    program.write_bytes(os.urandom(3_000_000))
    inventory = with_etcdutl(lab, program, lab.inventory.with_name("sent.yaml"))
    operator = Operator(inventory, tmp_path / "state")
    before = footprint(lab)
    refused = operator.types("preflight", *operator.on)
    assert refused.returncode == 4, refused.stderr
    assert "missing: etcdutl" in refused.stderr
    assert footprint(lab) == before
