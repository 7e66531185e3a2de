"""A backup while a run of the cluster is unfinished: refused, or marked for good."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from drctl.errors import Unreachable
from drctl.etcd.sidecar import sidecar_path
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench, Ended
from tests.support.rig import READ_ONLY


@pytest.fixture
def half(bench: Bench) -> Bench:
    """A restore of a living cluster that failed after m2 was locked: all three serve still."""
    sha256 = hashlib.sha256(bench.snapshot.read_bytes()).hexdigest()

    def save(_host: str, _script: object, env: Mapping[str, str]) -> str:
        file = f"{env['DRCTL_WORK']}/backup/{env['DRCTL_RUN']}/snapshot.db"
        return f"file={file}\nsize=1\nsha256={sha256}\n"

    def download(_host: str, _source: str, target: Path) -> None:
        target.write_bytes(bench.snapshot.read_bytes())

    bench.rig.handlers["backup/save"] = save
    bench.rig.handlers["backup/remove"] = lambda _h, _s, _e: ""
    bench.rig.on_download = download
    return bench


def held(bench: Bench, run: str = "20261124-031502-0a1b2c") -> str:
    bench.rig.nodes["m2"].owner = {"run": run, "who": "eve@laptop", "since": "2026-11-24T03:15:02Z"}
    return run


def backup(bench: Bench, *more: str) -> Ended:
    to = bench.folder / "to"
    return bench.drctl(
        "backup", "--inventory", bench.inventory, "--to", to, "--output", "json", *more
    )


def test_another_machines_run_is_told_by_the_node(half: Bench) -> None:
    run = held(half)
    ended = backup(half)
    assert ended.exit == 4
    assert f"m2: locked by run {run} of eve@laptop since 2026-11" in ended.error["message"]
    assert "--anyway" in ended.error["hint"]
    assert half.rig.scripts() <= READ_ONLY
    assert list((half.folder / "to").iterdir()) == []


def test_anyway_marks_the_backup_and_whoever_restores_it_is_told(half: Bench) -> None:
    run = held(half)
    ended = backup(half, "--anyway")
    assert ended.exit == 0, ended.err
    assert ended.document["unfinished_runs"] == [run]
    assert any(f"run {run}" in warning for warning in ended.document["warnings"])
    assert f"warning: m2: locked by run {run}" in ended.err
    made = Path(ended.document["path"])
    assert json.loads(sidecar_path(made).read_text())["unfinished_runs"] == [run]
    half.rig.nodes["m2"].owner = {}
    checked = half.drctl("preflight", "--inventory", half.inventory, "--snapshot", made)
    assert f"taken while run {run} was unfinished" in checked.err


def test_a_run_of_this_machine_is_known_by_its_journal(bench: Bench, half: Bench) -> None:
    bench.rig.trouble("job/start", FAILED, step="stop-etcd")
    assert bench.restore("--replace-healthy").exit == 5
    run = bench.state().run
    for node in bench.rig.nodes.values():
        node.owner = {}  # no node tells
    ended = backup(half)
    assert ended.exit == 4
    assert f"run {run} is failed, by this machine's journal" in ended.error["message"]


def test_a_lock_that_outlived_its_run_is_a_warning(half: Bench) -> None:
    assert half.restore("--replace-healthy").exit == 0
    held(half, half.state().run)
    ended = backup(half)
    assert ended.exit == 0, ended.err
    assert "which is over: the next restore releases it" in ended.document["warnings"][0]
    assert ended.document["unfinished_runs"] == []


@pytest.mark.parametrize("owner", ["../../etc", "x y", "$(reboot)"])
def test_a_node_that_does_not_tell_is_said(half: Bench, owner: str) -> None:
    held(half, owner)
    ended = backup(half)
    assert ended.exit == 0, ended.err
    assert "m2: not known whether a run is unfinished there" in ended.document["warnings"]


def test_a_node_that_is_gone_is_said(half: Bench) -> None:
    half.rig.trouble("backup/look", Unreachable("no route"), host="m3", times=1)
    ended = backup(half)
    assert ended.exit == 0, ended.err
    assert "m3: not known whether a run is unfinished there" in ended.document["warnings"]


@pytest.mark.parametrize("target", ["/dev/null", "/proc/nowhere"])
def test_a_place_where_nothing_can_be_saved(half: Bench, target: str) -> None:
    ended = half.drctl("backup", "--inventory", half.inventory, "--to", target, "--output", "json")
    assert ended.exit == 2
    assert f"cannot save to {target}" in ended.error["message"]
    assert half.rig.scripts() == set()


def test_a_full_disk(half: Bench) -> None:
    def download(_host: str, _source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    half.rig.on_download = download
    ended = backup(half)
    assert ended.exit == 11
    assert ended.error["code"] == "not-written"
    assert "No space left on device" in ended.error["message"]
