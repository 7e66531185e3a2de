"""Going on: what a second command finds, refuses and accepts."""

from __future__ import annotations

from contextlib import closing

import pytest

from drctl.errors import Unreachable
from drctl.transport import CommandResult
from tests.etcd.samples import snapshot_bytes, write_snapshot
from tests.support.bench import Bench
from tests.support.rig import READ_ONLY

pytestmark = pytest.mark.slow

FAILED = CommandResult(0, "done 1\n", "no space left on device")


@pytest.fixture
def broken(down: Bench) -> Bench:
    """A run that failed at `rebuild` on m2, after everything was stopped."""
    down.rig.trouble("job/start", FAILED, step="rebuild", host="m2", times=3)
    ended = down.restore()
    assert ended.exit == 5
    assert "m2: rebuild" in ended.err
    assert "no space left on device" in ended.err
    assert down.state().state == "failed"
    return down


def test_a_failed_step_is_taken_up_again(broken: Bench) -> None:
    broken.rig.started.clear()
    assert broken.resume().exit == 0
    steps = [step for _, step in broken.rig.started]
    assert "stop-etcd" not in steps
    assert [host for host, step in broken.rig.started if step == "rebuild"] == ["m2"]
    assert broken.state().state == "done"


def test_next_is_what_to_type(broken: Bench) -> None:
    shown = broken.drctl("runs", "show", "--output", "json").document
    run = broken.state().run
    assert shown["next"] == f"drctl restore --resume {run} --inventory {broken.inventory}"
    assert shown["error"]["code"] == "step-failed"
    assert broken.drctl(*shown["next"].split()[1:], "--yes").exit == 0


def test_a_new_run_is_refused_while_one_is_unfinished(broken: Bench) -> None:
    before, calls = broken.rig.conditions(), len(broken.rig.calls)
    ended = broken.restore("--output", "json")
    run = broken.state().run
    assert (ended.exit, ended.error["code"]) == (4, "refused")
    assert f"drctl restore --resume {run}" in ended.error["hint"]
    assert f"drctl rollback {run}" in ended.error["hint"]
    assert (broken.rig.conditions(), len(broken.rig.calls)) == (before, calls)
    assert len(broken.store.runs()) == 1


def test_nothing_to_resume(down: Bench) -> None:
    assert down.resume().exit == 2
    assert down.rig.calls == []
    assert down.restore().exit == 0
    calls = len(down.rig.calls)
    ended = down.resume()
    assert (ended.exit, len(down.rig.calls)) == (2, calls)
    assert down.resume(down.state().run).exit == 2
    assert down.resume("20200101-000000-abcdef").exit == 4


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("address: 127.0.0.12", "address: 127.0.0.22", "members.m2.peer_urls"),
        ("workers: [w1]", "workers: [w1]\netcd: {data_dir: /srv/etcd}", "members.m1.data_dir"),
        ("workers: [w1]", "workers: [w1]\netcd: {wal_dir: /srv/wal}", "members.m1.wal_dir"),
        ("workers: [w1]", "workers: [w1]\netcd: {member_name: 'x-{host}'}", "members.m1.name"),
        ("etcd: [m1, m2, m3]", "etcd: [m1, m2]", "members"),
        ("units: [etcd-backup.timer]", "units: [other.timer]", "services.dependents.units"),
        ("control_plane: [m1, m2, m3]", "control_plane: [m1, m2]", "steps.start-apiserver"),
    ],
)
def test_an_inventory_that_means_something_else_is_refused(
    broken: Bench, old: str, new: str, field: str
) -> None:
    before, calls = broken.rig.conditions(), len(broken.rig.calls)
    broken.change(old, new)
    ended = broken.resume("--output", "json")
    assert (ended.exit, ended.error["code"]) == (6, "drifted")
    said = next(x for x in ended.error["message"].splitlines() if x.startswith(f"  {field}: was"))
    assert ", is " in said
    assert f"--accept-drift {field}" in ended.error["hint"]
    assert (broken.rig.conditions(), len(broken.rig.calls)) == (before, calls)
    assert broken.state().state == "failed"


def test_how_a_host_is_reached_may_change(broken: Bench) -> None:
    broken.change("defaults: {user: root}", "defaults: {user: root, port: 2222}")
    assert broken.resume().exit == 0


def test_another_snapshot_is_refused(broken: Bench) -> None:
    other = write_snapshot(broken.folder, snapshot_bytes("solo-3.5.1"), "other.db")
    ended = broken.resume("--snapshot", other)
    assert ended.exit == 6
    assert f"snapshot.sha256: was '{broken.rig.sha256}', is '" in ended.err


def test_what_became_of_a_snapshot_that_was_sent_everywhere_is_not_looked_at(
    broken: Bench,
) -> None:
    """Each node has it, and verified it; reading it again would take long."""
    write_snapshot(broken.folder, snapshot_bytes("solo-3.5.1"))
    assert broken.resume().exit == 0


def test_a_snapshot_that_changed_before_it_was_sent_is_refused(down: Bench) -> None:
    down.rig.trouble("job/start", FAILED, step="stop-etcd")
    assert down.restore().exit == 5
    write_snapshot(down.folder, snapshot_bytes("solo-3.5.1"))
    assert down.resume().exit == 6


def test_the_same_snapshot_in_another_place_is_the_same(broken: Bench) -> None:
    moved = broken.snapshot.rename(broken.folder / "moved.db")
    assert broken.resume("--snapshot", moved).exit == 0


def test_a_snapshot_that_was_sent_everywhere_may_be_gone(broken: Bench) -> None:
    broken.snapshot.unlink()
    assert broken.resume().exit == 0


def test_a_snapshot_that_is_still_needed_may_not(down: Bench) -> None:
    down.rig.trouble("job/start", FAILED, step="stop-etcd")
    assert down.restore().exit == 5
    down.snapshot.unlink()
    assert down.resume().exit == 3


def test_accepted_drift_goes_on_and_stays_accepted(broken: Bench) -> None:
    broken.change("units: [etcd-backup.timer]", "units: [other.timer]")
    for node in broken.rig.nodes.values():
        node.services["other.timer"] = False
    field = "services.dependents.units"
    broken.rig.trouble("job/start", FAILED, step="start-etcd")
    assert broken.resume("--accept-drift", field).exit == 5
    (accepted,) = broken.events("drift-accepted")
    assert accepted["fields"] == {field: ["etcd-backup.timer", "other.timer"]}
    assert broken.rollback().exit == 0  # which needs the same inventory as well


def test_drift_is_accepted_by_its_name_only(broken: Bench) -> None:
    broken.change("units: [etcd-backup.timer]", "units: [other.timer]")
    assert broken.resume("--accept-drift", "services").exit == 6


def test_another_runbook_is_drift(down: Bench) -> None:
    text = down.drctl("runbook", "show", "restore").out
    own = down.runbook(text)
    down.rig.trouble("job/start", FAILED, step="stop-etcd")
    assert down.restore("--runbook", own).exit == 5
    assert "stage/clean" in text
    own.write_text("\n".join(line for line in text.splitlines() if "stage/clean" not in line))
    ended = down.resume()
    assert ended.exit == 6
    assert "steps.clean: was 'stage/clean on m1 m2 m3', is '(absent)'" in ended.err
    assert down.resume("--accept-drift", "steps", "--accept-drift", "steps.clean").exit == 0
    assert down.state().state == "done"


def test_another_machine_is_refused(broken: Bench) -> None:
    broken.rig.nodes["m3"].machine_id = "another"
    before = broken.rig.conditions()
    ended = broken.resume()
    assert ended.exit == 6
    assert "m3: another machine answers here: machine-id was machine-of-m3, is another" in ended.err
    assert broken.rollback().exit == 6
    started = broken.rig.conditions()
    assert started["m3"] == before["m3"], "something was left on another machine"
    for node in (*before.values(), *started.values()):
        node["owner"].pop("epoch")  # the claim of the new session: no change of the node's own
    assert started == before
    assert broken.resume("--accept-drift", "machine_id.m3").exit == 0


def test_a_rollback_looks_which_machines_answer_before_it_asks(broken: Bench) -> None:
    assert broken.resume().exit == 0
    broken.rig.nodes["m3"].machine_id = "another"
    before, asked = broken.rig.conditions(), broken.events("confirmed")
    broken.rig.calls.clear()
    ended = broken.rollback()
    assert ended.exit == 6
    assert "m3: another machine answers here: machine-id was machine-of-m3, is another" in ended.err
    assert (broken.rig.conditions(), broken.events("confirmed")) == (before, asked)
    assert broken.rig.scripts() <= READ_ONLY
    assert broken.state().state == "done"


def test_a_machine_that_comes_after_the_look_is_refused_by_its_claim(broken: Bench) -> None:
    """A rollback does not wait for a silent host; when it answers at last it may be another one."""
    assert broken.resume().exit == 0
    rig, before = broken.rig, broken.rig.conditions()["m3"]
    rig.silent = {"m3"}

    def back() -> None:
        rig.silent, rig.nodes["m3"].machine_id = set(), "another"

    rig.trouble("job/claim", back, host="m1")
    ended = broken.rollback()
    assert ended.exit == 6, ended.err
    assert "m3: another machine answers here: machine-id was machine-of-m3, is another" in ended.err
    assert rig.conditions()["m3"] == before


def test_a_rollback_accepts_another_machine_by_name_and_nothing_else(broken: Bench) -> None:
    start = broken.state().hosts
    broken.rig.nodes["m3"].machine_id = "another"
    refused = broken.rollback("--accept-drift", "etcd.data_dir")
    assert (refused.exit, "steps.STEP can be accepted" in refused.err) == (2, True)
    assert broken.state().hosts == start
    assert "--accept-drift machine_id.m3" in broken.rollback().err
    ended = broken.rollback("--accept-drift", "machine_id.m3")
    assert ended.exit == 0, ended.err
    assert broken.state().values["machine_id"]["m3"] == "another"
    assert broken.state().state == "rolled-back"


def test_a_damaged_journal_is_refused_with_nothing_changed(broken: Bench) -> None:
    calls = len(broken.rig.calls)
    (path,) = broken.state_dir.rglob("journal.sqlite")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"host": "m2"', b'"host": "m1"', 1))
    for ended in (broken.resume(), broken.rollback(), broken.restore()):
        assert ended.exit == 4
        assert "is damaged" in ended.err
    assert len(broken.rig.calls) == calls


def test_an_unwritable_state_folder_is_said(down: Bench) -> None:
    down.state_dir.write_text("a file")
    ended = down.restore()
    assert (ended.exit, down.rig.calls) == (4, [])
    assert "cannot be written" in ended.err


def test_two_sessions_on_one_machine(down: Bench) -> None:
    with down.store.lock("sim", "ann@desk"):
        ended = down.restore("--output", "json")
    assert (ended.exit, ended.error["code"]) == (7, "lock-held")
    assert "ann@desk, process" in ended.error["message"]
    assert down.rig.calls == []


def test_an_operator_on_another_machine_is_told_whose_run_it_is(broken: Bench) -> None:
    run = broken.state().run
    before = broken.rig.conditions()
    broken.monkeypatch.setattr(Bench, "state_dir", broken.folder / "another machine")
    broken.rig.calls.clear()
    ended = broken.restore("--output", "json")
    assert (ended.exit, ended.error["code"]) == (7, "lock-held")
    assert f"locked by run {run} of " in ended.error["message"]
    assert "since 2026-11-23T00:00:00Z" in ended.error["message"]
    assert broken.rig.conditions() == before
    assert broken.rig.scripts() <= READ_ONLY


def test_a_host_that_dies_before_anything_was_changed(down: Bench) -> None:
    down.rig.silent = {"m2"}
    assert down.restore().exit == 8
    assert down.rig.scripts() <= READ_ONLY
    shown = down.drctl("runs", "show", "--output", "json").document
    assert (shown["state"], shown["next"].split()[:3]) == (
        "failed",
        ["drctl", "restore", "--snapshot"],
    )
    down.rig.silent = set()
    assert down.restore().exit == 0  # nothing was changed: no need to resume that run


def test_a_host_that_dies_afterwards(down: Bench) -> None:
    lost = Unreachable("no route to host")
    down.rig.trouble("service/fenced/observe", lost, host="m2", times=99)
    ended = down.restore("--output", "json")
    assert (ended.exit, ended.error["code"], ended.error["host"]) == (5, "step-failed", "m2")
    down.rig.troubles.clear()
    assert down.resume().exit == 0


def test_every_session_has_its_own_epoch(broken: Bench) -> None:
    broken.resume()
    assert [body["epoch"] for body in broken.events("session")] == [1, 2]
    with closing(broken.store.open(*broken.store.runs()[-1])) as journal:
        assert [event.seq for event in journal.events] == [*range(1, len(journal.events) + 1)]
