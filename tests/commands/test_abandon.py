"""`restore --abandon HOST`: a member that is lost for good, and what is said of it for good."""

from __future__ import annotations

import html
import json

import pytest

from drctl.transport import CommandResult
from tests.commands.test_resume import FAILED
from tests.model.simulation import OLD_TOKEN
from tests.support.bench import Bench, Ended
from tests.support.rig import READ_ONLY

WIPE = "ABANDONED: m3: wipe it (empty /var/lib/etcd) before it is powered on again"


@pytest.fixture
def lost(down: Bench) -> Bench:
    """m3 is gone for good."""
    down.rig.silent = {"m3"}
    down.rig.given_up = {"m3"}
    return down


def without_it(bench: Bench, *more: object) -> Ended:
    return bench.restore("--abandon", "m3", *more)


def test_a_lost_member_is_refused_and_the_hint_names_the_way(lost: Bench) -> None:
    ended = lost.restore()
    assert ended.exit == 8
    assert "m3: no route to host" in ended.err
    assert "if that machine is lost, restore without it: --abandon m3" in ended.err
    assert lost.rig.scripts() <= READ_ONLY


def test_it_goes_on_without_it_and_says_so_for_good(lost: Bench) -> None:
    ended = without_it(lost)
    assert ended.exit == 0, ended.err
    asked = ended.err[: ended.err.index("2 stop kubernetes")]
    assert "without    m3: the new cluster has 2 members and tolerates NO failure" in asked
    assert WIPE in asked
    handed_over = ended.err[ended.err.index("is restored and verified") :]
    assert WIPE in handed_over
    assert "member add etcd-127.0.0.13 --peer-urls=https://127.0.0.13:2380" in handed_over
    assert "--initial-cluster-state=existing" in handed_over
    assert "UNREACHABLE" not in handed_over
    find = "find -H /var/lib/etcd -mindepth 1 ! -path '*/.drctl*' -delete"
    empty = f"on m3, before its etcd starts: {find}"
    assert f"  1. {empty}" in handed_over
    shown = lost.drctl("runs", "show")
    assert WIPE in shown.out
    page = lost.folder / "run.html"
    told = lost.drctl("runs", "report", "--html", page)
    for text in (shown.out, told.out):
        assert f"to bring m3 back as a new member, later:\n  1. {empty}" in text
    assert f"<li>{empty}</li>" in html.unescape(page.read_text())
    document = lost.drctl("runs", "show", "--output", "json").document
    assert document["bring_back"]["m3"][0] == empty
    assert lost.drctl("runs", "report", "--output", "json").document["bring_back"]["m3"]
    assert document["abandoned"] == ["m3"]
    (began,) = lost.events("run-started")
    assert began["plan"]["meaning"]["abandoned"] == "m3"
    assert lost.rig.nodes["m3"].live == OLD_TOKEN
    assert lost.rig.nodes["m1"].live == lost.state().values["token"]
    assert "m3" not in {host for host, _ in lost.rig.started}


def test_two_lost_members_come_back_one_after_the_other(lost: Bench) -> None:
    """etcd takes a new member's --initial-cluster only where it names just the members of then."""
    lost.rig.silent = lost.rig.given_up = {"m2", "m3"}
    ended = without_it(lost, "--abandon", "m2")
    assert ended.exit == 0, ended.err
    told = [line for line in ended.err.splitlines() if "--initial-cluster=" in line]
    named = [line.partition("--initial-cluster=")[2].count("https:") for line in told]
    assert named == [2, 3]


def test_powered_on_with_its_old_data_it_serves_nobody(lost: Bench) -> None:
    assert without_it(lost).exit == 0
    before = lost.drctl("status", "--inventory", lost.inventory, "--output", "json").document
    lost.rig.silent = set()
    lost.rig.nodes["m3"].services["etcd"] = True
    after = lost.drctl("status", "--inventory", lost.inventory, "--output", "json").document
    assert after["cluster_id"] == before["cluster_id"]
    (back,) = [m for m in after["members"] if m["host"] == "m3"]
    assert not back["healthy"]


def test_a_resume_goes_on_without_the_same_host(lost: Bench) -> None:
    lost.rig.trouble("job/start", FAILED, step="swap", host="m2")
    failed = without_it(lost)
    assert failed.exit == 5
    assert WIPE in failed.err
    assert lost.resume("--abandon", "m3").exit == 2
    lost.rig.silent = set()  # that it is back does not change the plan
    assert lost.resume().exit == 0
    assert "m3" not in {host for host, _ in lost.rig.started}


def test_so_does_an_adopted_run_and_a_rollback(lost: Bench) -> None:
    lost.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert without_it(lost).exit == 5
    lost.state_dir.rename(lost.folder / "the machine that is gone")
    assert lost.drctl("runs", "adopt", "-i", lost.inventory).exit == 0
    ended = lost.drctl("rollback", "--inventory", lost.inventory)
    assert ended.exit == 10
    assert WIPE in ended.err


def test_a_host_that_answers_is_not_given_up(down: Bench) -> None:
    ended = without_it(down)
    assert ended.exit == 4
    assert "m3: is to be abandoned, but answers" in ended.err
    assert down.rig.scripts() <= READ_ONLY


def test_a_host_whose_etcd_still_answers_the_others_is_not_given_up(lost: Bench) -> None:
    alive = json.dumps([{"Endpoint": "https://127.0.0.13:2379", "Status": {}}])
    said = CommandResult(0, f"gone.m3={alive}\nstatus_json=\n")
    lost.rig.trouble("etcd/living", said, host="m1")
    ended = without_it(lost)
    assert ended.exit == 4
    assert "m3: is to be abandoned, but its etcd answers m1" in ended.err
    assert "power that machine off" in ended.err


def test_what_cannot_be_given_up(lost: Bench) -> None:
    unknown = lost.restore("--abandon", "m9")
    assert unknown.exit == 3
    assert "no host 'm9'" in unknown.err
    all_of_them = [word for host in ("m1", "m2", "m3") for word in ("--abandon", host)]
    assert lost.restore(*all_of_them).exit == 3
    assert not lost.store.runs()


def test_before_it_is_restored_and_after_a_rollback_nobody_comes_back(lost: Bench) -> None:
    lost.rig.trouble("job/start", FAILED, step="stop-etcd")
    assert without_it(lost).exit == 5
    assert lost.drctl("runs", "show", "--output", "json").document["bring_back"] == {}
    assert lost.rollback().exit == 0
    assert lost.drctl("runs", "show", "--output", "json").document["bring_back"] == {}
