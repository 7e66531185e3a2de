"""etcd/swap and its undo: every layout, killed at every call, and what they refuse."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.templates.layouts import LAYOUTS, Member, put
from tests.templates.shells import Shell

MOST_CALLS = 60
# Not the whole product of shell, layout and side of the call: each pair is there, and in time.
KILLED = pytest.mark.parametrize(
    ("shell", "layout", "when"),
    [
        ("dash", "plain+wal", "after"),
        ("dash", "inside+wal", "before"),
        ("dash", "inside+wal", "after"),
        ("busybox", "plain+wal", "before"),
    ],
    indirect=["shell"],
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_swapped_and_taken_back(shell: Shell, tmp_path: Path, layout: str) -> None:
    member = Member(tmp_path / "n", shell, layout)
    node = member.node
    assert node.act("swap").status == 0
    assert node.state("swap") == "after"
    assert member.is_swapped()
    assert node.act("swap").status == 0  # once more changes nothing
    assert member.is_swapped()
    member.serve()
    assert node.state("undo swap", member.first) == "before"
    assert node.act("undo swap", member.first).status == 0
    assert node.observe("undo swap", member.first)["state"] == "after"
    assert member.live_tree() == member.original
    assert node.act("undo swap", member.first).status == 0
    assert member.live_tree() == member.original


@pytest.mark.parametrize("layout", ["plain+wal", "inside+wal", "inside+plain-wal"])
def test_what_was_written_outlives_the_undo_and_the_cleaning(
    dash: Shell, tmp_path: Path, layout: str
) -> None:
    member = Member(tmp_path / "n", dash, layout)
    node = member.node
    node.values["keep_restored"] = "yes"
    assert node.act("swap").status == 0
    member.serve()
    for n in range(1, MOST_CALLS):
        if not node.killed("undo swap", f"before {n}", member.first):
            break
    assert n > 2
    assert node.state("undo swap", member.first) == "after"
    assert node.act("undo send").status == 0
    assert member.live_tree() == member.original
    kept = node.stage / "restored" / member.data.name / "member/snap/db"
    assert kept.read_text() == "new db, written"
    wal = node.wal_stage / "restored" / member.wal.name
    assert (wal / "0000000000000001-0000000000000009.wal").read_text() == "new, second"
    assert not (node.stage / "new").exists() and not (node.stage / "snapshot.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("then", ["again", "undo"])
@KILLED
def test_killed_at_every_call(
    shell: Shell, tmp_path: Path, layout: str, then: str, when: str
) -> None:
    member = Member(tmp_path / "n", shell, layout)
    node = member.node
    for n in range(1, MOST_CALLS):
        member.build()
        if not node.killed("swap", f"{when} {n}"):
            break
        assert set(member.old_pieces().values()) == {1}, n
        if then == "again":
            assert node.state("swap") in ("before", "after"), n
            assert node.act("swap").status == 0, n
            assert node.state("swap") == "after" and member.is_swapped(), n
        else:
            assert node.act("undo swap", member.first).status == 0, n
            assert node.state("undo swap", member.first) == "after", n
            assert member.live_tree() == member.original, n
    assert n > 12  # two places, each: folder, entries, list and syncs


@pytest.mark.slow
@KILLED
def test_the_undo_killed_at_every_call(
    shell: Shell, tmp_path: Path, layout: str, when: str
) -> None:
    member = Member(tmp_path / "n", shell, layout)
    node = member.node
    for n in range(1, MOST_CALLS):
        member.build()
        assert node.act("swap").status == 0
        member.serve()
        if not node.killed("undo swap", f"{when} {n}", member.first):
            break
        assert set(member.old_pieces().values()) == {1}, n
        assert node.act("undo swap", member.first).status == 0, n
        assert node.state("undo swap", member.first) == "after", n
        assert member.live_tree() == member.original, n
    assert n > 10


@pytest.mark.parametrize("layout", ["plain", "inside"])
def test_what_appeared_meanwhile_is_not_replaced(shell: Shell, tmp_path: Path, layout: str) -> None:
    member = Member(tmp_path / "n", shell, layout)
    node = member.node
    # 1 mkdir old, 2 mv old, 3 sync: `out.done` is the last thing written.
    assert node.killed("swap", "before 4")
    assert not member.data.joinpath("member").exists()
    put(member.data / "member/snap/db", "somebody's")
    seen = node.observe("swap")
    assert seen["state"] == "unknown" and "appeared after" in seen["why"]
    refused = node.act("swap")
    assert refused.status != 0 and "refusing to replace" in refused.err
    assert (member.data / "member/snap/db").read_text() == "somebody's"
    assert node.act("undo swap", member.first).status != 0
    assert (member.data / "member/snap/db").read_text() == "somebody's"
    assert set(member.old_pieces().values()) == {1}


def test_another_directory_than_before_is_no_success(dash: Shell, tmp_path: Path) -> None:
    member = Member(tmp_path / "n", dash, "plain")
    member.data.rename(tmp_path / "elsewhere")
    put(member.data / "member/snap/db", "old db")
    seen = member.node.observe("undo swap", member.first)
    assert seen["state"] == "unknown" and "is not what was there before" in seen["why"]


@pytest.mark.parametrize("step", ["swap", "undo swap"])
def test_a_database_in_use_is_not_moved(shell: Shell, tmp_path: Path, step: str) -> None:
    member = Member(tmp_path / "n", shell, "plain")
    if step == "undo swap":
        assert member.node.act("swap").status == 0
    before = member.live_tree()
    with (member.data / "member/snap/db").open("a") as db:
        fcntl.flock(db, fcntl.LOCK_EX)
        ran = member.node.act(step, member.first)
        assert ran.status != 0 and "still uses" in ran.err
        assert member.live_tree() == before
    assert member.node.act(step, member.first).status == 0


def test_nothing_rebuilt_moves_nothing(shell: Shell, tmp_path: Path) -> None:
    member = Member(tmp_path / "n", shell, "plain")
    new = member.node.stage / "new"
    (new / "etcd").rename(tmp_path / "gone")
    ran = member.node.act("swap")
    assert ran.status != 0 and "no rebuilt data" in ran.err
    assert member.live_tree() == member.original
    new.rmdir()
    assert member.node.observe("swap")["state"] == "unknown"


def test_staging_on_another_filesystem_is_refused(dash: Shell, tmp_path: Path) -> None:
    """`mv` would copy the original and delete it."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    member = Member(tmp_path / "n", dash, "plain")
    real = other / f"drctl-test-{tmp_path.parent.name}-{tmp_path.name}"
    try:
        stage = Path(member.node.values["stage"])
        stage.rename(tmp_path / "aside")
        stage.symlink_to(real)
        put(real / "r1/new/etcd/member/snap/db", "new db")
        ran = member.node.act("swap")
        assert ran.status != 0 and "another filesystem" in ran.err
        assert member.live_tree() == member.original
    finally:
        _remove(real)


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("name", ["DRCTL_STAGE", "DRCTL_RUN"])
def test_an_unknown_place_ends_the_script(shell: Shell, tmp_path: Path, name: str) -> None:
    member = Member(tmp_path / "n", shell, "plain")
    for step in ("swap", "clean", "rebuild", "send"):
        task = member.node.task(step)
        assert task.act
        ran = shell.body(task.act.body, {**member.node.env(task, {}), name: ""})
        assert ran.status != 0 and "is not known" in ran.err
    assert member.live_tree() == member.original


def test_a_link_that_comes_between_is_not_followed(shell: Shell, tmp_path: Path) -> None:
    """Etcd's user puts one into his own directory just before the new data is renamed into it."""
    member = Member(tmp_path / "n", shell, "inside")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    inner = (shell.bin / "mv").rename(shell.bin / "real-mv")
    (shell.bin / "mv").write_text(
        f"#!/bin/sh\ncase $1 in */new/*) ln -s '{elsewhere}' '{member.data}/member' ;; esac\n"
        f'exec {inner} "$@"\n'
    )
    (shell.bin / "mv").chmod(0o755)
    member.node.act("swap")
    assert not any(elsewhere.iterdir())
    assert (member.node.stage / "old/member/snap/db").read_text() == "old db"
