"""Whatever begins can be taken back: what drctl itself would write and not read again is refused
before anything is changed."""

from __future__ import annotations

import pytest

from drctl.etcd.values import FOUND
from drctl.plan.runbook import load_runbook
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench

pytestmark = pytest.mark.slow

READABLE = {
    "empty": "x=",
    "several lines": "x=one\ntwo\u2028three",
    "not ASCII": "x=gr\u00f6\u00dfe\u00a0\u200d",
    "control": "x=\x1b[0m",
    "long": "x=" + "y" * 65_000,
}
REFUSED = {
    "of a step": ("owner=etcd:etcd", 3, "--var owner: drctl sets this value itself"),
    "of another shape": ("can_bump=no", 3, "--var can_bump"),
    "of each host": ("machine_id=x", 3, "--var machine_id"),
    "of the rollback": ("would_be_lost=x", 3, "--var would_be_lost"),
    "too long": ("x=" + "y" * 65_537, 3, "the nodes could not store what this run needs"),
    "a long name": ("x" * 101 + "=y", 3, "the nodes could not store what this run needs"),
    "no text": ("x=\udcff", 3, "the nodes could not store what this run needs"),
    "no name": ("gr\u00f6\u00dfe=x", 2, "is not K=V"),
}
PATHS = (
    "one blank.db",
    "gr\u00f6\u00dfe.db",
    "no\u00a0break.db",
    "\U0001f468\u200d.db",
    "no\udcff.db",
)
STATUS = """\
runbook: own
source: our wiki
phases:
- title: look
  steps:
  - id: status
    hosts: etcd
    gather: etcd/state
    judge: etcd.status
    yields: [cluster_id, members, alarms]
- title: stop
  steps:
  - {id: STEP, service: dependents, want: fenced}
"""


def resumed_and_taken_back(bench: Bench, *given: str) -> None:
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy", *given).exit == 5
    bench.rig.troubles.clear()
    assert bench.resume().exit == 0
    assert bench.rollback("--lose-writes").exit == 0
    assert bench.rig.conditions() == before


@pytest.mark.parametrize("kind", READABLE)
def test_what_is_given_can_be_read_again(bench: Bench, kind: str) -> None:
    resumed_and_taken_back(bench, "--var", READABLE[kind])


@pytest.mark.parametrize("kind", REFUSED)
def test_or_it_is_refused_at_once(bench: Bench, kind: str) -> None:
    given, exit_code, why = REFUSED[kind]
    ended = bench.restore("--replace-healthy", "--var", given)
    assert (ended.exit, bench.rig.calls, bench.store.runs()) == (exit_code, [], [])
    assert why in ended.err


def test_a_dry_run_says_so_too(bench: Bench) -> None:
    assert bench.restore("--dry-run", "--offline", "--var", "owner=etcd:etcd").exit == 3


@pytest.mark.parametrize("name", PATHS)
def test_wherever_the_snapshot_lies(bench: Bench, name: str) -> None:
    bench.snapshot = bench.snapshot.rename(bench.folder / name)
    if name.isprintable():
        resumed_and_taken_back(bench)
    else:
        ended = bench.restore("--replace-healthy")
        assert (ended.exit, bench.rig.calls, bench.store.runs()) == (3, [], [])


def test_a_resume_with_a_snapshot_from_elsewhere(bench: Bench) -> None:
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.troubles.clear()
    moved = bench.snapshot.rename(bench.folder / "no\u00a0break.db")
    assert bench.resume("--snapshot", moved).exit == 3
    assert bench.resume("--snapshot", moved.rename(bench.folder / "else.db")).exit == 0


@pytest.mark.parametrize("step", ["s", "s" * 150])
def test_an_own_runbook_that_shows_what_status_shows(bench: Bench, step: str) -> None:
    before = bench.rig.conditions()
    bench.rig.trouble("job/start", FAILED, step=step, host="m2")
    own = bench.runbook(STATUS.replace("STEP", step))
    assert bench.drctl("run", own, "-i", bench.inventory, "--yes").exit == 5
    ended = bench.rollback()
    assert ended.exit == 0, ended.err
    assert bench.rig.conditions() == before


def test_a_step_has_a_name_that_becomes_a_file(bench: Bench) -> None:
    own = bench.runbook(STATUS.replace("STEP", "s" * 151))
    assert bench.drctl("run", own, "-i", bench.inventory, "--yes").exit == 3


def test_what_every_run_finds_is_known() -> None:
    """A rollback or a clean finds it as well, whatever the runbook of the run was."""
    books = [load_runbook(name) for name in ("rollback", "clean")]
    assert {name for book in books for step in book.steps for name in step.yields} <= FOUND
