"""stage/snapshot and stage/clean: only the very file, and nothing of the original."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.templates.layouts import put, sha256
from tests.templates.node import Node, tree
from tests.templates.shells import Shell

CONTENT = b"a snapshot" * 1000


@pytest.fixture
def node(shell: Shell, tmp_path: Path) -> Node:
    return Node(tmp_path / "n", shell, sha256=sha256(CONTENT), wal=True)


def upload(node: Node, content: bytes = CONTENT) -> Path:
    part = Path(node.observe("send")["target"])
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    part.chmod(0o644)
    return part


def test_a_good_copy_gets_its_name(node: Node) -> None:
    assert node.state("send") == "before"
    part = upload(node)
    assert node.state("send") == "before"
    assert node.act("send").status == 0
    assert node.state("send") == "after"
    file = node.stage / "snapshot.db"
    assert file.read_bytes() == CONTENT and file.stat().st_mode & 0o777 == 0o600
    assert not part.exists()
    assert node.act("send").status == 0  # again, without another upload
    assert node.state("send") == "after"


@pytest.mark.parametrize("bad", [CONTENT[:-1], b"", b"b" + CONTENT[1:]])
def test_another_file_is_refused_and_removed(node: Node, bad: bytes) -> None:
    part = upload(node, bad)
    ran = node.act("send")
    assert ran.status != 0 and f"the copy does not match: sha256 {sha256(bad)}" in ran.err
    assert not part.exists() and not (node.stage / "snapshot.db").exists()
    assert node.state("send") == "before"


def test_a_file_that_shrank_is_sent_again(node: Node) -> None:
    upload(node)
    node.act("send")
    (node.stage / "snapshot.db").write_bytes(CONTENT[:-5])
    assert node.state("send") == "before"


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_call(node: Node, when: str) -> None:
    for n in range(1, 10):
        put(node.stage / "x", "")
        upload(node)
        if not node.killed("send", f"{when} {n}"):
            break
        assert node.act("send").status == 0, n
        assert node.state("send") == "after", n
        assert node.act("undo send").status == 0, n
    assert n == 4  # sync, mv and rm


def note(part: Path, content: bytes, size: int) -> None:
    """What node/receive leaves beside a file that it took."""
    Path(f"{part}.sum").write_text(f"{sha256(content)} {size}\n")


def test_what_was_hashed_on_the_way_is_not_read_again(node: Node) -> None:
    part = upload(node, b"x" * len(CONTENT))  # to tell which of the two was believed
    note(part, CONTENT, len(CONTENT))
    assert node.act("send").status == 0
    assert node.state("send") == "after"
    assert not Path(f"{part}.sum").exists()


@pytest.mark.parametrize("cut", [1, len(CONTENT)])
def test_a_note_of_another_size_is_not_believed(node: Node, cut: int) -> None:
    part = upload(node, CONTENT[:-cut])
    note(part, CONTENT, len(CONTENT))
    ran = node.act("send")
    assert ran.status != 0 and "the copy does not match" in ran.err
    assert not part.exists() and not Path(f"{part}.sum").exists()


def fill(node: Node) -> list[Path]:
    """Everything that a run may have staged, a failed rebuild's remains too."""
    staged = [
        node.stage / "snapshot.db",
        node.stage / "snapshot.db.part",
        node.stage / "snapshot.db.part.sum",
        node.stage / "snapshot.db.verified",
        node.stage / "new/etcd/member/snap/db",
        node.stage / "new.part/etcd/member/snap/db",
        node.stage / "new.params",
        node.wal_stage / "new/w/0.wal",
        node.wal_stage / "new.part/w/0.wal",
    ]
    for path in staged:
        put(path, "staged")
    put(node.stage / "restore.log", "log")
    return staged


def test_clean_keeps_the_original(node: Node) -> None:
    fill(node)
    put(node.stage / "old/etcd/member/snap/db", "original")
    put(node.wal_stage / "old/w/0.wal", "original")
    put(node.data / "member/snap/db", "live")
    before = {p for p in node.root.rglob("*") if "old" in p.parts}
    assert node.state("clean") == "before"
    assert node.act("clean").status == 0
    assert node.state("clean") == "after"
    assert {p for p in node.root.rglob("*") if "old" in p.parts} == before
    assert (node.stage / "old/etcd/member/snap/db").read_text() == "original"
    assert "staged" not in tree(node.data, node.wal_stage, node.stage).values()
    assert node.act("clean").status == 0


@pytest.mark.parametrize("index", range(8))
def test_anything_left_is_noticed(node: Node, index: int) -> None:
    for number, path in enumerate(fill(node)):
        if number != index:
            path.unlink()
    for folder in sorted((p for p in node.stage.parent.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    assert node.state("clean") == "before"


def test_after_a_rollback_nothing_stays(node: Node) -> None:
    fill(node)
    (node.stage / "old").mkdir()  # emptied by the undo of the swap
    put(node.data / "member/snap/db", "live")
    assert node.state("undo send") == "before"
    assert node.act("undo send").status == 0
    assert node.state("undo send") == "after"
    assert not node.stage.parent.exists() and not node.wal_stage.parent.exists()
    assert (node.data / "member/snap/db").read_text() == "live"


def test_a_link_among_the_staged_is_removed_and_not_followed(node: Node, tmp_path: Path) -> None:
    put(tmp_path / "precious/file", "precious")
    node.stage.mkdir(parents=True)
    (node.stage / "new").symlink_to(tmp_path / "precious")
    (node.stage / "new.part").symlink_to(tmp_path / "nowhere")
    assert node.state("clean") == "before"
    assert node.act("clean").status == 0
    assert node.state("clean") == "after"
    assert (tmp_path / "precious/file").read_text() == "precious"
