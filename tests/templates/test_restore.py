"""etcd/restore with the real etcdutl and a real snapshot."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from drctl.etcd.identity import predict
from drctl.lab import binaries
from tests.etcd.samples import snapshot_bytes
from tests.templates.layouts import SEGMENT, put, sha256
from tests.templates.node import Node
from tests.templates.shells import Shell


def staged(root: Path, shell: Shell, etcd_dir: Path, *, wal: bool) -> Node:
    node = Node(root, shell, sha256=sha256(snapshot_bytes()), wal=wal)
    binaries.install(etcd_dir, root / "shared", [root / "bin"])
    node.stage.mkdir(parents=True)
    (node.stage / "snapshot.db").write_bytes(snapshot_bytes())
    return node


@pytest.fixture
def node(shell: Shell, tmp_path: Path, etcd_dir: Path) -> Node:
    return staged(tmp_path / "n", shell, etcd_dir, wal=False)


@pytest.fixture
def quick(dash: Shell, tmp_path: Path, etcd_dir: Path) -> Node:
    return staged(tmp_path / "n", dash, etcd_dir, wal=True)


def restored_id(node: Node) -> str:
    return node.observe("rebuilt")["restored_cluster_id"]


def predicted(node: Node) -> str:
    members = {m.name: m.peer_urls for m in node.inventory.members}
    return predict(members, node.values["token"]).cluster_hex


def test_rebuilt_beside_the_data(node: Node) -> None:
    put(node.data / "member/snap/db", "live")
    assert node.state("rebuild") == "before"
    assert node.act("rebuild").status == 0
    assert node.state("rebuild") == "after"
    made = node.stage / "new/etcd"
    assert (made / "member/snap/db").stat().st_size > 0
    assert [p.name for p in (made / "member/wal").glob("*.wal")] == [SEGMENT]
    assert made.stat().st_mode & 0o777 == 0o750
    assert (made / "member/snap").stat().st_mode & 0o777 == 0o700
    assert (node.stage / "new").stat().st_mode & 0o777 == 0o700
    assert (node.stage / "restore.log").stat().st_mode & 0o777 == 0o600
    assert not (node.stage / "new.part").exists()
    assert (node.data / "member/snap/db").read_text() == "live"
    assert restored_id(node) == predicted(node)


def test_a_wal_directory_of_its_own(quick: Node) -> None:
    assert quick.act("rebuild").status == 0
    assert quick.state("rebuild") == "after"
    assert (quick.wal_stage / "new/w" / SEGMENT).is_file()
    assert not (quick.stage / "new/etcd/member/wal").exists()
    assert not quick.wal.exists()


def test_the_whole_way_with_a_real_member(quick: Node) -> None:
    put(quick.data / "member/snap/db", "old")
    put(quick.wal / SEGMENT, "old")
    seen = quick.observe("swap")
    assert quick.act("rebuild").status == 0
    assert quick.act("swap").status == 0 and quick.state("swap") == "after"
    assert (quick.wal / SEGMENT).stat().st_size > 1000
    assert quick.act("rebuild").status != 0  # not any more
    assert quick.act("undo swap", seen).status == 0
    assert quick.state("undo swap", seen) == "after"
    assert (quick.wal / SEGMENT).read_text() == "old"


@pytest.mark.parametrize("wal", [False, True])
def test_what_a_failed_try_left_does_not_poison_the_next(
    dash: Shell, tmp_path: Path, etcd_dir: Path, wal: bool
) -> None:
    node = staged(tmp_path / "n", dash, etcd_dir, wal=wal)
    put(node.stage / "new.part/etcd/member/snap/db", "half")
    put(node.stage / "new/etcd/member/snap/db", "half")
    if wal:
        put(node.wal_stage / "new.part/w/0.wal", "half")
        put(node.wal_stage / "new/w/0.wal", "half")
    assert node.state("rebuild") == "before"
    assert node.act("rebuild").status == 0
    assert node.state("rebuild") == "after"
    assert not list(node.root.rglob("0.wal"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_call(quick: Node, when: str) -> None:
    """Never passes for rebuilt before it is; each next try begins where the last one died."""
    for n in range(1, 30):
        (quick.stage / "new.params").unlink(missing_ok=True)
        if not quick.killed("rebuild", f"{when} {n}"):
            break
        if quick.state("rebuild") == "after":
            assert (quick.stage / "new/etcd/member/snap/db").is_file(), n
            assert (quick.wal_stage / "new/w" / SEGMENT).is_file(), n
    assert n > 8
    assert quick.state("rebuild") == "after"


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_half_removed_is_not_rebuilt(quick: Node, n: int) -> None:
    assert quick.act("rebuild").status == 0
    first, quick.values["token"] = quick.values["token"], "another"
    assert quick.killed("rebuild", f"after {n}")
    quick.values["token"] = first
    assert quick.state("rebuild") == "before"


def test_other_parameters_mean_another_rebuild(node: Node) -> None:
    assert node.act("rebuild").status == 0
    one = restored_id(node)
    node.values["token"] = "t-r2"
    assert node.state("rebuild") == "before"
    assert node.act("rebuild").status == 0
    assert node.state("rebuild") == "after"
    assert restored_id(node) == predicted(node) != one
    node.values["bump"] = "1000000"
    assert node.state("rebuild") == "before"


def test_a_bump_is_passed_on(quick: Node, etcd_dir: Path) -> None:
    if binaries.version(etcd_dir / "etcd") < (3, 5, 10):
        pytest.skip("this etcdutl cannot bump the revision")
    quick.values["bump"] = "1000000"
    assert quick.act("rebuild").status == 0
    assert '"bump-revision"' in (quick.stage / "restore.log").read_text() or (
        "1000000" in (quick.stage / "restore.log").read_text()
    )


def test_a_damaged_snapshot_is_refused_by_etcdutl_too(node: Node) -> None:
    content = bytearray(snapshot_bytes())
    content[len(content) // 2] ^= 1
    (node.stage / "snapshot.db").write_bytes(content)
    (node.stage / "snapshot.db.verified").write_text(f"{node.sha256} {len(content)}\n")
    assert node.state("send") == "after"  # it changed after it was verified
    ran = node.act("rebuild")
    assert ran.status != 0 and "sha256" in ran.err
    assert "resume sends it again" in ran.err
    assert node.state("rebuild") == "before"
    assert not (node.stage / "new").exists()
    assert node.state("send") == "before"


def test_another_failure_leaves_the_verified_copy_verified(node: Node) -> None:
    (node.stage / "snapshot.db.verified").write_text(f"{node.sha256} {len(snapshot_bytes())}\n")
    node.values["bump"] = "no number"
    assert node.act("rebuild").status != 0
    assert node.state("send") == "after"


def test_without_an_owner_nothing_is_given_away(node: Node) -> None:
    node.values["owner"] = ""
    assert node.act("rebuild").status == 0
    assert node.state("rebuild") == "after"


def test_no_log_is_no_identity(node: Node) -> None:
    assert restored_id(node) == ""
    shutil.rmtree(node.stage)
    assert restored_id(node) == ""


def test_nothing_is_rebuilt_once_the_swap_has_begun(quick: Node) -> None:
    """What is half moved in must not be made anew: a later session with other parameters, say."""
    assert quick.act("rebuild").status == 0
    made = sorted(quick.stage.rglob("*"))
    (quick.stage / "in.list").write_text("etcd\n")
    quick.values["token"] = "another"
    ran = quick.act("rebuild")
    assert ran.status == 1
    assert "the swap has begun" in ran.err
    assert sorted(quick.stage.rglob("*")) == sorted([*made, quick.stage / "in.list"])


def test_the_rebuilt_data_is_given_to_its_owner(
    dash: Shell, tmp_path: Path, etcd_dir: Path
) -> None:
    """Before it gets its name. (Only root can give files away: so a chown that takes notes.)"""
    node = staged(tmp_path / "n", dash, etcd_dir, wal=True)
    notes = tmp_path / "notes"
    chown = dash.bin / "chown"
    chown.write_text(f'#!/bin/sh\necho "$*" >> {notes}\n')
    chown.chmod(0o755)
    node.values["owner"] = "4711:4712"
    assert node.act("rebuild").status == 0
    assert notes.read_text().splitlines() == [
        f"-hR 4711:4712 {node.stage}/new.part/etcd",
        f"-hR 4711:4712 {node.wal_stage}/new.part/w",
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root has an etcd user to work for")
def test_rebuilt_in_a_directory_of_etcds_user(shell: Shell, tmp_path: Path, etcd_dir: Path) -> None:
    """A mount point is its user's; the staging in it is held open."""
    node = Node(tmp_path / "n", shell, sha256=sha256(snapshot_bytes()))
    binaries.install(etcd_dir, tmp_path / "n/shared", [tmp_path / "n/bin"])
    put(node.data / "member/snap/db", "old")
    for path in (node.data, node.data / "member"):
        os.chown(path, 4711, 4711)
    node.values |= {"stage": f"{node.data}/.drctl", "owner": "4711:4711"}
    node.stage.mkdir(parents=True, mode=0o700)
    (node.data / ".drctl").chmod(0o700)
    (node.stage / "snapshot.db").write_bytes(snapshot_bytes())
    ran = node.act("rebuild")
    assert ran.status == 0, ran
    assert node.state("rebuild") == "after" and restored_id(node) == predicted(node)
    seen = node.observe("swap")
    assert seen["state"] == "before"
    assert node.act("swap").status == 0 and node.state("swap") == "after"
    made = node.data / "member/snap/db"
    assert made.stat().st_uid == 4711 and made.stat().st_size > 1000
    assert node.act("undo swap", seen).status == 0
    assert node.state("undo swap", seen) == "after" and made.read_text() == "old"
