"""A machine that is lost in the middle of a run, and another drctl on the one that goes on with it:
what it would do otherwise is accepted by name, and nothing of it bars the way back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from drctl.plan import planner
from drctl.render import template_digest
from tests.commands.test_adopt import rewrite
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench
from tests.support.forging import forge

pytestmark = pytest.mark.slow

Upgrade = Callable[..., None]


@pytest.fixture
def upgraded(bench: Bench) -> Upgrade:
    """A drctl in which these templates, or all that there are, have another text."""

    def upgrade(*names: str) -> None:
        bench.monkeypatch.setattr(
            planner,
            "template_digest",
            lambda name: "another" if name in names or not names else template_digest(name),
        )

    return upgrade


@pytest.fixture
def broken(down: Bench) -> Bench:
    """A run that failed at `swap` on m2, after everything was stopped."""
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore().exit == 5
    return down


@pytest.fixture
def orphan(broken: Bench) -> Bench:
    """The same, and its machine is gone."""
    broken.state_dir.rename(broken.folder / "the machine that is gone")
    return broken


def adopt(bench: Bench, *more: object) -> str:
    ended = bench.drctl("runs", "adopt", "--inventory", bench.inventory, *more)
    assert ended.exit == 0, ended.err
    return ended.err


# -- what counts as still to run ----------------------------------------------------------------


def test_looks_are_taken_again_while_nothing_was_changed(down: Bench, upgraded: Upgrade) -> None:
    ended = down.drctl("restore", "--snapshot", down.snapshot, "--inventory", down.inventory)
    assert ended.exit == 10  # nobody answers the question; every look is over
    upgraded("etcd/facts.sh")
    assert down.resume().exit == 6
    assert down.resume("--accept-drift", "templates").exit == 0


def test_what_is_observed_again_may_be_done_again(broken: Bench, upgraded: Upgrade) -> None:
    """A copy that was removed meanwhile: the last step on each resource does its work once more."""
    upgraded("stage/snapshot/act.sh")
    assert broken.resume().exit == 6


def test_what_was_left_out_of_a_rollback_is_still_to_be_taken_back(
    broken: Bench, upgraded: Upgrade
) -> None:
    assert broken.rollback("--without", "m2").exit == 0
    upgraded("etcd/swap/undo/act.sh", "service/fenced/undo/act.sh")
    ended = broken.rollback("--output", "json")
    assert (ended.exit, ended.error["code"]) == (6, "drifted")
    assert broken.rollback("--accept-drift", "templates").exit == 0
    assert broken.state().left_out == []


def test_a_rollback_that_was_stopped_goes_on_after_an_upgrade(
    broken: Bench, upgraded: Upgrade
) -> None:
    broken.rig.trouble("job/start", FAILED, step="undo-stop-etcd", host="m2")
    assert broken.rollback().exit == 5
    upgraded("service/fenced/undo/act.sh")
    assert broken.rollback().exit == 6
    upgraded("stage/snapshot/undo/act.sh")  # the last on its resource: it is observed once more
    assert broken.rollback().exit == 6
    assert broken.rollback("--accept-drift", "templates").exit == 0
    assert broken.state().state == "rolled-back"


def test_what_was_accepted_need_not_be_accepted_again(broken: Bench, upgraded: Upgrade) -> None:
    upgraded()
    broken.rig.trouble("job/start", FAILED, step="undo-stop-etcd", host="m2")
    assert broken.rollback("--accept-drift", "templates").exit == 5
    assert broken.rollback().exit == 0
    assert broken.state().state == "rolled-back"


def test_an_upgrade_bars_no_clean(down: Bench, upgraded: Upgrade) -> None:
    assert down.restore().exit == 0
    upgraded()
    assert down.drctl("clean", "--inventory", down.inventory, "--yes").exit == 0


# -- adopted ------------------------------------------------------------------------------------


def test_one_line_says_that_the_scripts_are_others(orphan: Bench, upgraded: Upgrade) -> None:
    upgraded()
    said = [line for line in adopt(orphan).splitlines() if "template" in line]
    assert len(said) == 1
    assert "--accept-drift templates" in said[0]
    assert orphan.resume().exit == 6
    assert orphan.resume("--accept-drift", "templates").exit == 0


def test_an_adopted_run_is_taken_back_after_an_upgrade(orphan: Bench, upgraded: Upgrade) -> None:
    upgraded()
    adopt(orphan)
    assert orphan.rollback().exit == 6
    assert orphan.rollback("--accept-drift", "templates").exit == 0
    assert orphan.state().state == "rolled-back"


@pytest.mark.parametrize("meaning", [{}, {"steps": ""}, {"members; touch /tmp/x": "a"}])
def test_a_meaning_that_nobody_wrote_is_drift(orphan: Bench, meaning: dict[str, str]) -> None:
    for host in ("m1", "m2", "m3", "w1"):
        rewrite(orphan, host, meaning=meaning)
    adopt(orphan)
    for ended in (orphan.resume(), orphan.rollback()):
        assert ended.exit == 6
        assert "--accept-drift members; touch" not in ended.err


# -- another format -----------------------------------------------------------------------------


def test_a_report_of_another_format_says_so(broken: Bench) -> None:
    run = broken.state().run
    forge(broken.state_dir, run, lambda _, body: {**body, "format": 9, "drctl": "3.1.4"})
    page = broken.folder / "run.html"
    ended = broken.drctl("runs", "report", run, "--html", page)
    assert ended.exit == 0
    assert "was written by drctl 3.1.4 (format 9)" in ended.out
    assert "damaged" not in ended.out
    assert "was written by drctl 3.1.4 (format 9)" in page.read_text()


def test_nodes_of_another_format_are_no_intruders(orphan: Bench) -> None:
    for host in ("m1", "m2", "m3", "w1"):
        rewrite(orphan, host, format=9, drctl="3.1.4")
    ended = orphan.drctl("runs", "adopt", "--inventory", orphan.inventory)
    assert ended.exit == 4
    assert "written by drctl 3.1.4 (format 9)" in ended.err
    assert "hint: use that version for this run" in ended.err


@pytest.mark.parametrize(
    ("format", "drctl"),
    [
        ("1", "0.2.0"),
        ("nine", "0.2.0"),
        (-1, "0.2.0"),
        (10**30, "0.2.0"),
        (None, "0.2.0"),
        (9, "0.2.0\x1b]0;x\x07"),
        (9, "3.0; rm -rf /"),
        (9, "9" * 5000),
        (9, None),
    ],
)
def test_a_format_that_is_none(orphan: Bench, format: object, drctl: object) -> None:
    for host in ("m1", "m2", "m3", "w1"):
        rewrite(orphan, host, format=format, drctl=drctl)
    ended = orphan.drctl("runs", "adopt", "--inventory", orphan.inventory)
    assert ended.exit == 4
    assert "rm -rf" not in ended.err
    assert "\x1b" not in ended.err
    assert "99999" not in ended.err


def test_a_tail_that_was_lost_hides_no_script(broken: Bench, upgraded: Upgrade) -> None:
    """What the nodes know to have begun is to be taken back too, by scripts that were accepted;
    and what was accepted takes no number of a lost event."""
    (path,) = broken.state_dir.rglob("journal.sqlite")
    (first,) = (e["seq"] for e in at(broken, "step-started") if e["step"] == "swap")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq >= ?", (first,))
    upgraded("etcd/swap/undo/act.sh")
    ended = broken.rollback()
    assert ended.exit == 6, ended.err
    assert broken.rollback("--accept-drift", "templates").exit == 0
    assert broken.state().state == "rolled-back"


def at(bench: Bench, kind: str) -> list[dict[str, object]]:
    with closing(bench.store.open(*bench.store.runs()[-1])) as journal:
        return [{"seq": e.seq, **e.body} for e in journal.events if e.kind == kind]


def test_a_lost_tail_and_a_field_that_is_accepted(broken: Bench, upgraded: Upgrade) -> None:
    (path,) = broken.state_dir.rglob("journal.sqlite")
    (claimed,) = (e["seq"] for e in at(broken, "claiming"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq >= ?", (claimed,))
    upgraded("etcd/swap/act.sh")
    ended = broken.resume("--accept-drift", "templates")
    assert ended.exit == 0, ended.err
