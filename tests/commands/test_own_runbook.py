"""An operator's own runbook: a file, questions in plain words, values from the command line."""

from __future__ import annotations

import re

import pytest

from tests.commands.test_resume import FAILED
from tests.support.bench import Bench

OWN = """\
runbook: own
title: by hand
source: our wiki
phases:
- title: look
  steps:
  - {id: machine, hosts: etcd, gather: node/machine, judge: etcd.same_machine, yields: [machine_id]}
  - {id: by-hand, confirm: "Take the load balancer out of service, then go on."}
- title: stop
  steps:
  - {id: stop-timer, service: dependents, want: fenced}
  - {id: sweep, hosts: etcd, run: stage/clean}
"""
VARS = ("--var", "stage=/srv/stage", "--var", "wal_stage=")


def run(bench: Bench, *more: object) -> tuple[int, str]:
    ended = bench.drctl("run", bench.runbook(OWN), "-i", bench.inventory, *VARS, *more)
    return ended.exit, ended.err


def test_an_own_runbook_runs(bench: Bench) -> None:
    exit_code, said = run(bench, "--yes")
    assert exit_code == 0, said
    assert "Take the load balancer out of service, then go on." in said
    assert f"run {bench.state().run} is done" in said
    assert all("etcd-backup.timer" in bench.rig.nodes[m].fenced for m in ("m1", "m2", "m3"))
    assert bench.rig.nodes["m1"].services["etcd"]


def test_vars_are_journalled_and_reach_the_nodes(bench: Bench) -> None:
    for node in bench.rig.nodes.values():
        node.file = True
    sent: list[str] = []
    act = bench.rig.acts["stage/clean/act"]
    bench.rig.acts["stage/clean/act"] = lambda *a: sent.append(a[2]["DRCTL_STAGE"]) or act(*a)  # type: ignore[func-returns-value]  # both, in one line
    assert run(bench, "--yes")[0] == 0
    assert sent == ["/srv/stage"] * 3
    assert bench.events("run-started")[0]["values"]["stage"] == "/srv/stage"


def test_without_its_values_it_is_refused(bench: Bench) -> None:
    ended = bench.drctl("run", bench.runbook(OWN), "-i", bench.inventory, "--yes")
    assert (ended.exit, bench.rig.calls) == (3, [])
    assert "own: sweep: uses the value 'stage', which no earlier step yields" in ended.err


def test_an_own_question_needs_somebody_to_answer(bench: Bench) -> None:
    exit_code, said = run(bench)
    assert exit_code == 10
    assert "Take the load balancer" in said
    assert bench.rig.started == []


def test_an_own_run_is_resumed_from_anywhere(bench: Bench) -> None:
    bench.monkeypatch.chdir(bench.folder)
    bench.runbook(OWN)
    bench.rig.trouble("job/start", FAILED, step="stop-timer", host="m2")
    arguments = ("run", "own.yaml", "-i", bench.inventory, "--yes")
    assert bench.drctl(*arguments, *VARS).exit == 5
    next_words = bench.drctl("runs", "show", "--output", "json").document["next"].split()[1:]
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    bench.monkeypatch.chdir(elsewhere)
    assert bench.drctl(*next_words, "--yes").exit == 0
    assert bench.state().state == "done"


def test_an_own_run_is_taken_back(bench: Bench) -> None:
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="stop-timer", host="m2")
    assert run(bench, "--yes")[0] == 5
    assert bench.rollback().exit == 0
    assert bench.rig.conditions() == before


def test_what_is_next_after_an_own_run_was_refused(bench: Bench) -> None:
    bench.rig.silent = {"m1"}
    assert run(bench, "--yes")[0] == 8
    shown = bench.drctl("runs", "show", "--output", "json").document
    own = bench.folder / "own.yaml"
    variables = "--var stage=/srv/stage --var wal_stage=''"
    assert shown["next"] == f"drctl run {own} --inventory {bench.inventory} {variables}"
    assert shown["snapshot"] is None


def test_a_dry_run_of_an_own_runbook(bench: Bench) -> None:
    before = bench.rig.snapshot()
    ended = bench.drctl("run", bench.runbook(OWN), "-i", bench.inventory, *VARS, "--dry-run")
    assert ended.exit == 0
    assert "stop-timer" in ended.out
    assert bench.rig.snapshot() == before


def test_a_mistake_in_an_own_runbook(bench: Bench) -> None:
    own = bench.runbook(OWN.replace("want: fenced", "want: fenecd"))
    for arguments in (("run", own, "-i", bench.inventory), ("runbook", "validate", own)):
        ended = bench.drctl(*arguments)
        assert (ended.exit, bench.rig.calls) == (3, [])
        assert f"{own}:11: " in ended.err
        assert f"hint: drctl runbook validate {own}" in ended.err


@pytest.mark.parametrize("name", ["restore", "rollback"])
def test_shipped_runbooks_that_need_more_are_refused(bench: Bench, name: str) -> None:
    ended = bench.drctl("run", name, "-i", bench.inventory, "--yes")
    assert (ended.exit, bench.rig.calls) == (3, [])
    assert bench.store.runs() == []


def test_nothing_is_called_restored_that_was_not(bench: Bench) -> None:
    """Not by the name of its file, and not because a snapshot was sent."""
    bench.folder = bench.folder / "restore notes"
    bench.folder.mkdir()
    own = bench.runbook(OWN.replace("run: stage/clean}", "upload: snapshot}"))
    ended = bench.drctl(
        "run", own, "-i", bench.inventory, "--snapshot", bench.snapshot, *VARS, "--yes"
    )
    assert ended.exit == 0, ended.err
    assert f"run {bench.state().run} is done" in ended.err
    page = bench.folder / "run.html"
    shown = bench.drctl("runs", "show")
    told = bench.drctl("runs", "report", "--html", page)
    assert "every step of the runbook has ended" in shown.out
    assert "fenced: dependents on m1, m2, m3" in shown.out
    for text in (ended.err, shown.out, told.out, page.read_text()):
        assert "restored" not in text.lower().replace(str(bench.folder), "")
        assert "verified" not in re.sub("every byte verified|not verified", "", text)
        assert "old data" not in text.lower()
