"""On the embedded lab: the operator's machine is gone in the middle of step 5, a journal lost its
tail, and old data is removed on request."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from drctl.lab.layout import Lab
from tests.lab.test_restore import prove_restored, write_later
from tests.support.labs import content
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def in_the_middle_of_step_five(operator: Operator, snapshot: Path) -> str:
    """A controller killed when one member is rebuilt; returns the run's name."""
    killed = operator.restore(snapshot, "--replace-healthy", die="effect rebuild")
    assert killed.returncode == KILLED, killed.stderr
    return str(operator.last_run()["run"])


def other_snapshot(snapshot: Path, folder: Path) -> Path:
    """A sound snapshot of other content: more than one page of free space is at a page's end."""
    pages = bytearray(snapshot.read_bytes()[:-32])
    pages += b"\0" * 4096  # bbolt reads only as many pages as its meta page tells
    path = folder / "other.db"
    path.write_bytes(bytes(pages) + hashlib.sha256(pages).digest())
    return path


def test_the_state_directory_is_deleted_and_another_machine_goes_on(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], tmp_path: Path
) -> None:
    write_later(lab)
    run = in_the_middle_of_step_five(operator, snapshot)
    kept = shutil.copytree(operator.state, tmp_path / "a disk that was thought lost")
    shutil.rmtree(operator.state)
    other = replace(operator, state=tmp_path / "another machine")

    lives = other.types("runs", "adopt", *other.on)
    assert lives.returncode == 7, lives.stderr
    assert "worked on a node" in lives.stderr
    later = other_snapshot(snapshot, tmp_path)
    refused = other.types("runs", "adopt", *other.on, "--gone", "--snapshot", str(later))
    assert refused.returncode == 6, refused.stderr
    assert "snapshot.sha256: was" in refused.stderr

    moved = shutil.copy(snapshot, tmp_path / "the same.db")
    adopted = other.types(
        *("runs", "adopt", *other.on, "--gone", "--snapshot", str(moved), "--output", "json")
    )
    assert adopted.returncode == 0, adopted.stderr
    found = json.loads(adopted.stdout)
    assert found["run"] == run
    assert found["state"] == "running"
    assert set(found["nodes"]) == {host.name for host in lab.hosts}
    assert all(node["owner"]["run"] == run for node in found["nodes"].values())
    assert any(node["last_job"] == "rebuild-1" for node in found["nodes"].values())
    resumed = other.resume()
    assert resumed.returncode == 0, resumed.stderr
    prove_restored(lab, other, saved)

    shutil.copytree(kept, operator.state)  # and the old laptop comes back
    for turned_away in (operator.resume(), operator.rollback()):
        assert turned_away.returncode == 7, turned_away.stderr
        assert "was taken over by" in turned_away.stderr
    prove_restored(lab, other, saved)
    shutil.rmtree(operator.state)
    shutil.copytree(other.state, operator.state)


def test_an_adopted_run_is_taken_back(
    lab: Lab, operator: Operator, snapshot: Path, tmp_path: Path
) -> None:
    write_later(lab)
    before, old = content(lab), operator.status()["cluster_id"]
    inodes = [host.data_dir.stat().st_ino for host in lab.hosts]
    killed = operator.restore(snapshot, "--replace-healthy", die="effect swap")
    assert killed.returncode == KILLED, killed.stderr
    other = replace(operator, state=tmp_path / "another machine")
    adopted = other.types("runs", "adopt", *other.on, "--gone")
    assert adopted.returncode == 0, adopted.stderr
    assert "or:   drctl rollback" in adopted.stdout
    undone = other.rollback()
    assert undone.returncode == 0, undone.stderr
    assert other.status()["cluster_id"] == old
    assert content(lab) == before
    assert [host.data_dir.stat().st_ino for host in lab.hosts] == inodes
    shutil.rmtree(operator.state)
    shutil.copytree(other.state, operator.state)


def cut(state: Path, run: str, share: float) -> int:
    """Cut the tail off the run's journal; returns how many events are left."""
    (path,) = state.rglob(f"{run}/journal.sqlite")
    with sqlite3.connect(path) as db:
        (events,) = db.execute("SELECT max(seq) FROM events").fetchone()
        left = max(1, round(events * share))
        db.execute("DELETE FROM events WHERE seq > ?", (left,))
    db.close()
    return int(left)


@pytest.mark.parametrize("share", [0.02, 0.6])
def test_a_journal_that_lost_its_tail_is_mended(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], share: float
) -> None:
    write_later(lab)
    run = in_the_middle_of_step_five(operator, snapshot)
    cut(operator.state, run, share)
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    assert operator.last_run()["run"] == run
    prove_restored(lab, operator, saved)


def test_a_journal_that_lost_its_tail_takes_the_run_back(
    lab: Lab, operator: Operator, snapshot: Path
) -> None:
    write_later(lab)
    before, old = content(lab), operator.status()["cluster_id"]
    killed = operator.restore(snapshot, "--replace-healthy", "--staged", die="intent start-etcd")
    assert killed.returncode == KILLED, killed.stderr
    cut(operator.state, operator.last_run()["run"], 0.02)
    undone = operator.rollback()
    assert undone.returncode == 0, undone.stderr
    assert operator.status()["cluster_id"] == old
    assert content(lab) == before


def test_old_data_is_removed_on_request_and_ends_the_rollback(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes]
) -> None:
    write_later(lab)
    assert operator.restore(snapshot, "--replace-healthy").returncode == 0
    run = operator.last_run()["run"]
    olds = [host.data_dir.with_name("etcd.drctl") / run / "old" for host in lab.hosts]
    record = json.loads((lab.hosts[0].work_dir / run / "record.json").read_text())
    assert (record["state"], record["run"]) == ("done", run)
    assert record["cluster_id"] == operator.status()["cluster_id"]
    assert record["snapshot"]["sha256"]
    assert record["reached"] == operator.last_run()["values"]["proven_revision"]
    assert [place.partition(":")[2] for place in record["kept"]] == [str(old) for old in olds]

    asked = operator.types("clean", *operator.on)
    assert asked.returncode == 10, asked.stderr  # there is no terminal to ask on
    assert str(olds[0]) in asked.stderr
    assert "only copy of the old data" in asked.stderr
    assert all(old.is_dir() for old in olds)
    killed = operator.types("clean", *operator.on, "--yes", die="effect remove-old")
    assert killed.returncode == KILLED, killed.stderr
    refused = operator.rollback()
    assert refused.returncode == 4, refused.stderr
    assert "its old data was removed by `drctl clean`" in refused.stderr
    cleaned = operator.types("clean", *operator.on, run, "--yes")
    assert cleaned.returncode == 0, cleaned.stderr
    assert not any(old.parent.exists() for old in olds)
    assert operator.last_run()["state"] == "done"
    assert content(lab) == saved
    assert json.loads((lab.hosts[0].work_dir / run / "record.json").read_text())["kept"] == []
    assert operator.rollback().returncode == 4
    assert operator.restore(snapshot, "--replace-healthy").returncode == 0
    prove_restored(lab, operator, saved)
