"""`drctl restore` onto new hosts, typed: the question, the refusals, a resume, a rollback."""

from __future__ import annotations

import shutil

import pytest

from drctl.inventory import load_inventory
from drctl.transport import CommandResult
from tests.model.harness import BLANK
from tests.support.bench import Bench
from tests.support.handed import hand_over

ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


@pytest.fixture
def new(bench: Bench) -> Bench:
    """Three hosts as they come from the factory, and everything that goes onto them."""
    text = BLANK.read_text().replace("./{host}.pem", "./etcd.pem")
    bench.inventory.write_text(text.replace("./{host}-key.pem", "./etcd-key.pem"))
    hand_over(bench.folder, ADDRESSES)
    bench.rig.become(load_inventory(bench.inventory))
    bench.rig.empty()
    return bench


def test_the_question_says_what_is_new_and_which_addresses_change(new: Bench) -> None:
    ended = new.restore()
    assert ended.exit == 0, ended.err
    assert "prepares   m1, m2, m3: new, blank hosts" in ended.err
    assert "/opt/etcd/bin/etcd, " in ended.err and "/etc/systemd/system/etcd.service" in ended.err
    assert "starts a blank cluster there first" in ended.err
    was = "addresses  the snapshot's members were etcd-127.0.71.1 http://127.0.71.1:2380, "
    assert was in ended.err
    now = "the restored members are    etcd-127.0.0.11 https://127.0.0.11:2380, "
    assert now in ended.err
    state = new.state()
    assert state.values["start_blank"] == "yes"
    assert all(node.live == state.values["token"] for node in new.rig.nodes.values())
    assert all(node.kept == state.values["blank_token"] for node in new.rig.nodes.values())


def test_without_new_hosts_nothing_is_said_of_them(down: Bench) -> None:
    assert "prepares" not in down.restore().err


def test_a_dry_run_only_looks_and_shows_what_would_be_sent(new: Bench) -> None:
    before = new.rig.conditions()
    ended = new.restore("--dry-run")
    assert ended.exit == 0, ended.err
    assert f"upload {new.folder}/binaries/etcd" in ended.out and "ETCD_INITIAL_CLUSTER" in ended.out
    assert new.rig.conditions() == before
    assert "job/start" not in new.rig.scripts()


def test_a_key_is_in_no_output_and_in_no_journal(new: Bench) -> None:
    assert new.restore().exit == 0
    shown = new.drctl("runs", "show", "--inventory", new.inventory, "--output", "json")
    dry = new.restore("--dry-run", "--output", "json")
    journals = [path.read_bytes() for path in new.state_dir.rglob("*") if path.is_file()]
    for line in (new.folder / "etcd-key.pem").read_text().splitlines()[1:-1]:
        assert line not in shown.out + dry.out + dry.err
        assert not any(line.encode() in journal for journal in journals)


def test_local_files_are_looked_at_before_anything_connects(new: Bench) -> None:
    (new.folder / "binaries/etcdctl").unlink()
    ended = new.restore()
    assert ended.exit == 3
    assert f"{new.inventory}:15: prepare.binaries: {new.folder}/binaries/etcdctl" in ended.err
    assert new.rig.calls == [] and not new.store.runs()
    assert new.drctl("inventory", "validate", new.inventory).exit == 3
    # What has nothing to do with new hosts does not ask for their files.
    assert new.drctl("status", "--inventory", new.inventory).exit != 3


def test_a_host_that_holds_data_is_refused_before_anything_is_changed(new: Bench) -> None:
    new.rig.nodes["m2"].live = "somebody's"
    before = new.rig.conditions()
    ended = new.restore()
    assert ended.exit == 4 and "m2: already has data" in ended.err, ended.err
    assert new.rig.conditions() == before
    preflight = new.drctl("preflight", "--inventory", new.inventory)
    assert preflight.exit == 4 and "m2: already has data" in preflight.err


def test_a_foreign_living_cluster_is_refused(new: Bench) -> None:
    assert new.restore().exit == 0
    new.rig.nodes["m1"].owner = {}
    ended = new.restore()  # the hosts are prepared by now, and a cluster with data serves there
    assert ended.exit == 4 and "--replace-healthy" in ended.err
    assert new.state().values["start_blank"] == "no"


def test_a_resume_needs_the_files_until_they_are_installed(new: Bench) -> None:
    failing(new, "install")
    assert new.restore().exit == 5
    moved = new.folder / "moved"
    shutil.move(new.folder / "binaries", moved)
    assert new.resume().exit == 3
    shutil.move(moved, new.folder / "binaries")
    failing(new, "start-blank")
    assert new.resume().exit == 5
    shutil.rmtree(new.folder / "binaries")
    ended = new.resume()
    assert ended.exit == 0, ended.err
    assert all(node.installed for node in new.rig.nodes.values())


def test_another_file_than_at_the_start_is_a_drift(new: Bench) -> None:
    failing(new, "install")
    assert new.restore().exit == 5
    with (new.folder / "binaries/etcd").open("ab") as file:
        file.write(b"newer")
    ended = new.resume()
    assert ended.exit == 6 and "prepare.m1./opt/etcd/bin/etcd" in ended.err


def test_a_rollback_leaves_the_hosts_as_they_came(new: Bench) -> None:
    before = new.rig.conditions()
    failing(new, "swap")
    assert new.restore().exit == 5
    shutil.rmtree(new.folder / "binaries")  # a way back needs nothing of it
    ended = new.rollback()
    assert ended.exit == 0, ended.err
    assert new.rig.conditions() == before
    assert all(node.aside == new.state().values["blank_token"] for node in new.rig.nodes.values())


def failing(bench: Bench, step: str) -> None:
    """The next act of `step` on m2 fails (an act that is repeatable, each time it is tried)."""
    answer = CommandResult(0, "done 1\n", "no space left")
    bench.rig.trouble(
        "job/start", answer, host="m2", step=step, times=3 if step == "install" else 1
    )
