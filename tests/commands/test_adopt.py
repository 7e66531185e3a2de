"""`drctl runs adopt` and `drctl clean`: what they find, what they refuse, and what follows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands.test_resume import FAILED
from tests.etcd.samples import snapshot_bytes, write_snapshot
from tests.support.bench import Bench
from tests.support.rig import READ_ONLY

pytestmark = pytest.mark.slow


@pytest.fixture
def orphan(down: Bench) -> Bench:
    """A run that failed at `rebuild` on m2; its machine is gone, this is another one."""
    down.rig.trouble("job/start", FAILED, step="rebuild", host="m2", times=3)
    assert down.restore().exit == 5
    down.state_dir.rename(down.folder / "the machine that is gone")
    down.rig.calls.clear()
    return down


def papers(bench: Bench, host: str) -> dict[str, str]:
    return bench.rig.nodes[host].papers


def rewrite(bench: Bench, host: str, **fields: object) -> None:
    """Forge the manifest that a node keeps."""
    for name, text in papers(bench, host).items():
        if name.endswith("manifest.json"):
            papers(bench, host)[name] = json.dumps({**json.loads(text), **fields})


def old_run(bench: Bench) -> str:
    (path,) = (bench.folder / "the machine that is gone").rglob("journal.sqlite")
    return path.parent.name


def test_it_shows_what_each_node_has_and_changes_none(orphan: Bench) -> None:
    before = orphan.rig.conditions()
    shown = orphan.drctl("runs", "adopt", "--inventory", orphan.inventory, "--output", "json")
    assert shown.exit == 0
    run = old_run(orphan)
    assert (shown.document["run"], shown.document["state"]) == (run, "running")
    assert shown.document["nodes"]["m1"]["last_job"] == "rebuild-1"
    assert shown.document["nodes"]["m1"]["owner"]["run"] == run
    assert shown.document["next"].startswith(f"drctl restore --resume {run} ")
    assert orphan.rig.conditions() == before
    assert orphan.rig.scripts() <= READ_ONLY
    (began,) = orphan.events("run-started")
    assert set(began["adopted"]["nodes"]) == {"m1", "m2", "m3", "w1"}
    assert all(e.get("learned") for e in orphan.events("intent"))


def test_then_a_resume_ends_it(orphan: Bench) -> None:
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory).exit == 0
    orphan.rig.started.clear()
    assert orphan.resume().exit == 0
    steps = [step for _, step in orphan.rig.started]
    assert "stop-etcd" not in steps
    assert orphan.state().state == "done"
    assert orphan.state().epoch == 2


def test_or_a_rollback_takes_it_back(orphan: Bench) -> None:
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory).exit == 0
    assert orphan.rollback().exit == 0
    assert orphan.state().state == "rolled-back"
    assert not any(node.fenced for node in orphan.rig.nodes.values())


def test_the_old_machine_that_comes_back_is_turned_away(orphan: Bench) -> None:
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory).exit == 0
    assert orphan.resume().exit == 0
    orphan.state_dir.rename(orphan.folder / "the new machine")
    (orphan.folder / "the machine that is gone").rename(orphan.state_dir)
    before = orphan.rig.conditions()
    for ended in (orphan.resume(), orphan.rollback()):
        assert ended.exit == 7
        assert "was taken over by" in ended.err
    assert orphan.rig.conditions() == before
    again = orphan.drctl("runs", "adopt", "-i", orphan.inventory)  # unless it takes it back
    assert again.exit == 0
    assert orphan.state().state == "done"
    assert list(orphan.state_dir.rglob("journal.sqlite.aside-1"))


def test_another_snapshot_is_refused(orphan: Bench) -> None:
    other = write_snapshot(orphan.folder, snapshot_bytes("solo-3.5.1"), "other.db")
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory, "--snapshot", other)
    assert ended.exit == 6
    assert f"snapshot.sha256: was '{orphan.rig.sha256}', is '" in ended.err
    assert not orphan.store.runs()
    moved = shutil.copy(orphan.snapshot, orphan.folder / "moved.db")
    orphan.snapshot.unlink()
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory, "--snapshot", moved).exit == 0
    assert orphan.resume().exit == 0


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("snapshot", {"sha256": "7" * 64}, "its snapshot is 7777777777777777…"),
        ("plan", "8" * 64, "its plan is 8888888888888888…"),
        ("journal", "9" * 16, "its journal is 9999999999999999…"),
    ],
)
def test_nodes_that_disagree_are_refused(
    orphan: Bench, field: str, value: object, what: str
) -> None:
    rewrite(orphan, "m3", **{field: value, "values_at": 0})
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 4
    assert f"m3: the nodes disagree about run {old_run(orphan)}: {what}" in ended.err


def test_nodes_of_different_runs_are_refused(orphan: Bench) -> None:
    orphan.rig.nodes["m3"].owner |= {"run": "20261122-000000-7be125", "who": "eve@x"}
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 4
    assert "they are locked by different runs" in ended.err
    assert "m3: 20261122-000000-7be125" in ended.err
    named = orphan.drctl("runs", "adopt", old_run(orphan), "-i", orphan.inventory)
    assert named.exit == 7
    assert "m3: the node is locked by run 20261122-000000-7be125 of eve@x" in named.err


def test_no_run_found(bench: Bench) -> None:
    ended = bench.drctl("runs", "adopt", "-i", bench.inventory)
    assert ended.exit == 4
    assert "no run found: m1, m2, m3, w1 have no records of any" in ended.err
    ended = bench.drctl("runs", "adopt", "20200101-000000-abcdef", "-i", bench.inventory)
    assert ended.exit == 4
    assert "no run '20200101-000000-abcdef' found" in ended.err


def test_nobody_answers(orphan: Bench) -> None:
    orphan.rig.silent = set(orphan.rig.nodes)
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 8
    assert "m2: no route to host" in ended.err


def test_a_living_controller_is_not_robbed(orphan: Bench) -> None:
    orphan.rig.trace_age = 12
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 7
    assert "worked on a node 12 s ago" in ended.err
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory, "--gone").exit == 0


def test_a_record_that_cannot_be_read_is_not_believed(orphan: Bench) -> None:
    job = next(name for name in orphan.rig.nodes["m1"].started if name.endswith("stop-etcd-1"))
    orphan.rig.nodes["m1"].started[job][-1] = '{"was": "etc'
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 0
    assert "warning: m1: its records are not trusted: a job" in ended.err
    resumed = orphan.resume()
    assert resumed.exit == 4
    assert "error: m1: its records of run" in resumed.err
    assert "--without m1" in resumed.err


def test_a_run_that_is_known_here_is_resumed_instead(orphan: Bench) -> None:
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory).exit == 0
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 4
    assert "is known on this machine" in ended.err


def test_a_damaged_journal_is_rebuilt_and_kept_aside(down: Bench) -> None:
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore().exit == 5
    (path,) = down.state_dir.rglob("journal.sqlite")
    path.write_bytes(path.read_bytes().replace(b'"host": "m2"', b'"host": "m1"', 1))
    refused = down.resume()
    assert refused.exit == 4
    assert "drctl runs adopt" in refused.err
    assert down.drctl("runs", "adopt", "-i", down.inventory).exit == 0
    assert path.with_name("journal.sqlite.aside-1").exists()
    assert down.resume().exit == 0


def test_an_own_runbook_has_to_be_given(down: Bench) -> None:
    own = down.runbook(down.drctl("runbook", "show", "restore").out)
    down.rig.trouble("job/start", FAILED, step="swap", host="m2")
    assert down.restore("--runbook", own).exit == 5
    down.state_dir.rename(down.folder / "the machine that is gone")
    moved = Path(shutil.move(own, down.folder / "elsewhere.yaml"))
    ended = down.drctl("runs", "adopt", "-i", down.inventory)
    assert ended.exit == 3
    assert "give that file with --runbook" in ended.err
    assert down.drctl("runs", "adopt", "-i", down.inventory, "--runbook", moved).exit == 0
    assert down.resume().exit == 0


def test_a_silent_worker_does_not_matter_and_is_said(orphan: Bench) -> None:
    orphan.rig.silent = {"w1"}
    ended = orphan.drctl("runs", "adopt", "-i", orphan.inventory)
    assert ended.exit == 0
    assert "w1: unreachable, resume tries it again" in ended.err


# -- clean ----------------------------------------------------------------------------------------


@pytest.fixture
def restored(down: Bench) -> Bench:
    assert down.restore().exit == 0
    return down


def clean(bench: Bench, *more: object) -> tuple[int, str]:
    ended = bench.drctl("clean", "--inventory", bench.inventory, *more)
    return ended.exit, ended.err


def test_old_data_is_removed_after_a_question(restored: Bench) -> None:
    before = restored.rig.conditions()
    status, said = clean(restored)
    assert status == 10  # no terminal to ask on
    assert "m1:/var/lib/etcd.drctl/" in said
    assert "4.1 kB" in said
    assert "only copy of the old data" in said
    assert restored.rig.conditions() == before
    assert restored.state().state == "done"
    status, said = clean(restored, "--yes")
    assert status == 0
    assert not any(node.kept for node in restored.rig.nodes.values())
    refused = restored.rollback()
    assert refused.exit == 4
    assert "its old data was removed by `drctl clean`" in refused.err
    assert restored.state().state == "done"
    assert clean(restored, "--yes")[0] == 2  # nothing keeps any
    assert restored.restore("--replace-healthy").exit == 0


def test_the_data_of_an_unfinished_run_is_never_removed(orphan: Bench) -> None:
    assert orphan.drctl("runs", "adopt", "-i", orphan.inventory).exit == 0
    before = orphan.rig.conditions()
    status, said = clean(orphan, "--yes")
    assert status == 4
    assert "is not finished" in said
    assert "drctl restore --resume" in said
    assert orphan.rig.conditions() == before


def test_a_clean_that_failed_goes_on_and_bars_the_rollback_but_no_restore(restored: Bench) -> None:
    restored.rig.trouble("job/start", FAILED, step="remove-old", host="m2")
    status, said = clean(restored, "--yes")
    assert status == 5
    assert f"drctl clean {restored.state().run}" in said
    assert restored.rollback().exit == 4
    assert clean(restored, "--yes")[0] == 0
    assert not any(node.kept for node in restored.rig.nodes.values())
    assert not any(node.owner for node in restored.rig.nodes.values())


def test_a_host_that_is_away_keeps_its_data_until_the_next_time(restored: Bench) -> None:
    restored.rig.silent = {"m3"}
    status, said = clean(restored, "--yes")
    assert status == 0
    assert "m3: UNREACHABLE" in said
    restored.rig.silent = set()
    run = restored.state().run
    assert clean(restored, run, "--yes")[0] == 0
    assert not any(node.kept for node in restored.rig.nodes.values())


def test_an_earlier_run_is_cleaned_without_ending_the_later_ones_rollback(restored: Bench) -> None:
    first = restored.state().run
    for node in restored.rig.nodes.values():  # the old data of a run lies under its own name
        node.kept, node.moved_in, node.moved_out = None, False, False
    assert restored.restore("--replace-healthy").exit == 0
    second = restored.state().run
    status, said = clean(restored, first)
    assert status == 10
    assert f"of the later run {second}" in said


def test_what_a_rolled_back_run_keeps(restored: Bench) -> None:
    assert restored.rollback().exit == 0
    assert clean(restored, "--yes")[0] == 2
    assert clean(restored, restored.state().run, "--yes")[0] == 2
    assert clean(restored, "20200101-000000-abcdef", "--yes")[0] == 4
