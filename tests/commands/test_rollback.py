"""`drctl rollback`: what it brings back, and when it refuses to."""

from __future__ import annotations

import json

import pytest

from tests.commands.test_resume import FAILED
from tests.support.bench import Bench
from tests.support.rig import READ_ONLY

pytestmark = pytest.mark.slow


@pytest.fixture
def restored(bench: Bench) -> Bench:
    """A finished restore over a healthy cluster; Kubernetes has not written yet."""
    assert bench.restore("--replace-healthy").exit == 0
    return bench


@pytest.mark.parametrize("step", ["stop-apiserver", "send", "rebuild", "swap", "start-etcd"])
def test_a_failed_run_is_taken_back(bench: Bench, step: str) -> None:
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step=step, host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    ended = bench.rollback()
    assert ended.exit == 0, ended.err
    assert bench.rig.conditions() == before
    assert bench.state().state == "rolled-back"
    shown = bench.drctl("runs", "show", "--output", "json").document
    assert shown["next"].startswith("drctl status ")
    assert {s["phase"] for s in shown["steps"] if s["id"].startswith("undo-")} == {"rollback"}


def test_a_done_run_is_taken_back_while_nobody_has_written(bench: Bench) -> None:
    before = bench.rig.conditions()
    assert bench.restore("--replace-healthy").exit == 0
    ended = bench.rollback("--output", "json")
    assert ended.exit == 0
    assert ended.document["state"] == "rolled-back"
    assert bench.rig.conditions() == before


def test_what_kubernetes_wrote_is_not_thrown_away(restored: Bench) -> None:
    """--yes may have been typed by who knew of no loss."""
    restored.rig.written = 12
    before = restored.rig.conditions()
    restored.rig.calls.clear()
    ended = restored.rollback("--output", "json")
    assert (ended.exit, ended.error["code"]) == (4, "refused")
    said = ended.error["message"]
    assert "12 revisions since Kubernetes was started (apiserver running)" in said
    assert "keys: 12 created, 3 changed, 2 deleted" in said
    assert "created: pods 12" in said
    assert "add --lose-writes" in ended.error["hint"]
    assert restored.rig.conditions() == before
    assert restored.rig.scripts() <= READ_ONLY


def test_a_refused_rollback_leaves_the_run_done(restored: Bench) -> None:
    restored.rig.written = 12
    restored.rollback()
    assert (restored.state().state, restored.state().error) == ("done", None)
    assert restored.drctl("runs", "show", "--output", "json").document["state"] == "done"
    assert restored.resume().exit == 2


def test_a_host_that_was_left_out_keeps_no_restored_data_aside(bench: Bench) -> None:
    assert bench.restore("--replace-healthy").exit == 0
    bench.rig.written = 12
    ended = bench.rollback("--lose-writes", "--without", "m3")
    assert ended.exit == 0, ended.err
    run, shown = bench.state().run, bench.drctl("runs", "show").out
    for text in (ended.err, shown):
        assert f"m2:/var/lib/etcd.drctl/{run}/restored" in text
        assert f"m3:/var/lib/etcd.drctl/{run}/restored" not in text
        assert "LEFT OUT: m3" in text
    assert "before you start a new restore" in shown


def test_what_kubernetes_wrote_is_lost_where_that_is_meant(bench: Bench) -> None:
    """And yet the restored data is kept, at a place that the last words name."""
    before = bench.rig.conditions()
    assert bench.restore("--replace-healthy").exit == 0
    token = bench.state().values["token"]
    bench.rig.written = 12
    ended = bench.rollback("--lose-writes")
    assert ended.exit == 0, ended.err
    assert "LOSES      12 revisions" in ended.err
    assert bench.rig.conditions() == before
    assert {bench.rig.nodes[m].restored for m in ("m1", "m2", "m3")} == {token}
    run = bench.state().run
    assert f"m2:/var/lib/etcd.drctl/{run}/restored" in ended.err.splitlines()[-3]
    shown = bench.drctl("runs", "show").out
    assert f"since the restore is kept: m2:/var/lib/etcd.drctl/{run}/restored" in shown
    assert bench.state().values["would_be_lost"]["revisions"] == 12
    how = {event["step"]: event["how"] for event in bench.events("confirmed")}
    assert how["rb-agree"] == "--yes --lose-writes"
    kept = json.loads(bench.rig.nodes["m2"].papers[f"{run}/record.json"])
    assert kept["reached"] == 1_000_000_012  # clients have seen that: the next bump goes above it


@pytest.mark.parametrize(("typed", "exit_code"), [("sim", 10), ("lose", 10), ("lose sim", 0)])
def test_a_loss_has_a_question_of_its_own(restored: Bench, typed: str, exit_code: int) -> None:
    restored.rig.written = 12
    restored.monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    restored.monkeypatch.setattr("click.prompt", lambda *_, **__: typed)
    ended = restored.drctl("rollback", "--inventory", restored.inventory)
    assert ended.exit == exit_code, ended.err
    assert "LOSES      12 revisions" in ended.err
    assert f"/{restored.state().run}/restored" in ended.err
    how = [e["how"] for e in restored.events("confirmed") if e["step"] == "rb-agree"]
    assert how == (["typed 'lose sim'"] if exit_code == 0 else [])


def test_where_nobody_can_be_asked_the_loss_is_told(restored: Bench) -> None:
    restored.rig.written = 12
    ended = restored.drctl("rollback", "--inventory", restored.inventory)
    assert ended.exit == 4
    assert "12 revisions" in ended.err and "add --lose-writes" in ended.err


def test_a_loss_that_was_agreed_to_is_not_asked_for_again(bench: Bench) -> None:
    """Half-way there is no cluster left to ask."""
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="undo-swap", host="m1")
    assert bench.restore("--replace-healthy").exit == 0
    bench.rig.written = 12
    assert bench.rollback("--lose-writes").exit == 5
    ended = bench.rollback()
    assert ended.exit == 0, ended.err
    assert bench.rig.conditions() == before
    assert all(bench.rig.nodes[m].restored for m in ("m1", "m2", "m3"))
    assert len([e for e in bench.events("confirmed") if e["step"] == "rb-agree"]) == 1


@pytest.mark.parametrize(("dies", "again"), [("start-apiserver", True), ("start-etcd", False)])
def test_kubelets_that_saw_later_revisions_are_restarted(
    bench: Bench, dies: str, again: bool
) -> None:
    """They would wait for revisions above those, which the old cluster may never reach. Who saw
    none is left alone."""
    bench.rig.trouble("job/start", FAILED, step=dies, host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    started = {name: node.pids["kubelet"] for name, node in bench.rig.nodes.items()}
    assert bench.rollback().exit == 0
    now = {name: node.pids["kubelet"] - started[name] for name, node in bench.rig.nodes.items()}
    assert now == dict.fromkeys(("m1", "m2", "m3", "w1"), int(again))


def test_a_worker_that_is_down_does_not_bar_a_rollback(restored: Bench) -> None:
    restored.rig.silent = {"w1"}
    ended = restored.rollback()
    assert ended.exit == 0, ended.err
    assert "UNREACHABLE: w1: no route to host" in ended.err


def test_a_silent_cluster_proves_nothing(restored: Bench) -> None:
    restored.rig.disaster()
    ended = restored.rollback()
    assert ended.exit == 4
    assert "an unknown number of revisions" in ended.err
    assert "0 of 3 members answer" in ended.err
    assert restored.rollback("--lose-writes").exit == 0


def test_a_minority_proves_nothing(restored: Bench) -> None:
    """The member that answers may have missed what the others took."""
    restored.rig.silent = {"m2", "m3"}
    ended = restored.rollback()
    assert ended.exit == 4, ended.err
    assert "an unknown number of revisions" in ended.err
    assert "1 of 3 members answer" in ended.err


def test_without_kubernetes_the_end_of_the_run_lets_clients_in(bench: Bench) -> None:
    bench.change(
        "  dependents: {hosts: etcd, units: [etcd-backup.timer]}",
        "  {dependents: null, apiserver: null, controllers: null, kubelet: null}",
    )
    assert bench.restore("--replace-healthy").exit == 0
    bench.rig.written = 7
    ended = bench.rollback()
    assert ended.exit == 4
    assert "7 revisions since the restore ended" in ended.err


def test_each_rollback_looks_again(restored: Bench) -> None:
    """Not agreed to at first; by the second time Kubernetes has written."""
    ended = restored.drctl("rollback", "--inventory", restored.inventory)
    assert ended.exit == 10  # no terminal to ask on
    assert restored.state().state == "done"
    restored.rig.written = 5
    ended = restored.rollback()
    assert ended.exit == 4
    assert "5 revisions" in ended.err


def test_a_rollback_that_nobody_agreed_to_does_not_bar_the_resume(bench: Bench) -> None:
    bench.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert bench.restore("--replace-healthy").exit == 5
    assert bench.drctl("rollback", "--inventory", bench.inventory).exit == 10
    state = bench.state()
    assert (state.state, state.direction) == ("failed", "forward")
    assert state.error and state.error["code"] == "step-failed"
    assert bench.resume().exit == 0


def test_a_rollback_that_failed_is_gone_on_with(bench: Bench) -> None:
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="swap", host="m3")
    bench.rig.trouble("job/start", FAILED, step="undo-swap", host="m1")
    assert bench.restore("--replace-healthy").exit == 5
    assert bench.rollback().exit == 5
    run = bench.state().run
    ended = bench.resume()
    assert ended.exit == 4
    assert f"then: drctl rollback {run}" in ended.err
    assert "now:  a rollback of the run has begun" in ended.err
    shown = bench.drctl("runs", "show", "--output", "json").document
    assert shown["next"].startswith(f"drctl rollback {run} ")
    assert bench.rollback().exit == 0
    assert bench.rig.conditions() == before


def test_what_is_taken_back_already(restored: Bench) -> None:
    assert restored.rollback().exit == 0
    calls = len(restored.rig.calls)
    ended = restored.rollback()
    assert (ended.exit, len(restored.rig.calls)) == (2, calls)
    assert restored.resume().exit == 2


def test_nothing_to_take_back(bench: Bench) -> None:
    assert bench.rollback().exit == 2
    assert bench.restore().exit == 4  # refused: it changed nothing
    assert bench.rollback().exit == 2
    assert bench.rig.scripts() <= READ_ONLY  # the nodes are asked: a journal may lose its tail


def test_only_a_run_that_is_known_here_is_taken_back(restored: Bench) -> None:
    ended = restored.rollback("20200101-000000-abcdef")
    assert ended.exit == 4
    assert "is not known on this machine" in ended.err
    assert "drctl runs adopt 20200101-000000-abcdef" in ended.err


def test_a_run_that_changed_nothing_is_not_taken_back(bench: Bench) -> None:
    assert bench.restore().exit == 4  # refused: the cluster serves
    ended = bench.rollback(bench.state().run)
    assert ended.exit == 2
    assert "has changed nothing" in ended.err
    assert bench.rig.scripts() <= READ_ONLY


def test_a_new_restore_after_a_rollback(restored: Bench) -> None:
    first = restored.state()
    assert restored.rollback().exit == 0
    assert restored.restore("--replace-healthy").exit == 0
    second = restored.state()
    assert first.run != second.run
    assert first.values["token"] != second.values["token"]
    assert {restored.rig.nodes[m].live for m in ("m1", "m2", "m3")} == {second.values["token"]}


def test_a_rollback_needs_the_runs_inventory(restored: Bench) -> None:
    before = restored.rig.conditions()
    restored.change("workers: [w1]", "workers: [w1]\netcd: {data_dir: /srv/etcd}")
    ended = restored.rollback()
    assert ended.exit == 6
    assert "members.m1.data_dir: was '/var/lib/etcd', is '/srv/etcd'" in ended.err
    assert restored.rig.conditions() == before


def test_a_rollback_of_a_done_run_lets_go_when_another_run_is_there(restored: Bench) -> None:
    restored.rig.nodes["m3"].owner = {
        "run": "20261122-000000-7be125",
        "epoch": "1",
        "who": "eve@x",
        "since": "t",
    }
    before = restored.rig.conditions()
    ended = restored.rollback()
    assert ended.exit == 7
    assert "the node is locked by run 20261122-000000-7be125 of eve@x since t" in ended.err
    assert restored.rig.conditions() == before
    assert restored.state().state == "done"
