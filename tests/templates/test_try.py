"""try: on real directories it is done as a restore would, told as it went, and removed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.plan.sample import sample
from tests.templates.node import RUN, Node, tree
from tests.templates.shells import Shell


@pytest.fixture
def node(shell: Shell, tmp_path: Path) -> Node:
    return Node(tmp_path / "n", shell, wal=True)


def send(node: Node, content: bytes | None = None) -> None:
    target = Path(node.observe("try")["target"])
    assert target == node.stage / "try/sample"
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = Path(sample()["path"]).read_bytes()
    target.write_bytes(whole if content is None else content)


def told(node: Node) -> dict[str, str]:
    task = node.plan.step("tried").tasks["m1"]
    assert task.observe
    ran = node.shell.stdin(
        task.observe.body,
        node.env(task, {}),
    )
    return dict(parse(ran.out))


def everything(node: Node) -> list[str]:
    return sorted(str(path) for path in node.root.rglob("*") if path.name != "work")


def test_it_is_tried_and_removed(node: Node) -> None:
    before = [path for path in everything(node) if RUN not in path]
    assert told(node) == {}
    send(node)
    assert node.state("try") == "before"
    assert node.act("try").status == 0
    assert node.state("try") == "after"
    found = told(node)
    assert (found["files.data"], found["files.wal"], found["sent"]) == ("ok", "ok", "ok")
    assert int(found["fsync.data"]) >= 0 and int(found["fsync.wal"]) >= 0
    assert node.state("untry") == "before"
    assert node.act("untry").status == 0
    assert node.state("untry") == node.state("undo try") == "after"
    assert [path for path in everything(node) if not path.endswith(f"work/{RUN}")] == before


def test_what_came_back_is_told(node: Node) -> None:
    send(node, b"Welcome!\n" + Path(sample()["path"]).read_bytes())
    assert node.act("try").status == 0
    assert "bytes came, beginning with: Welcome!?" in told(node)["sent"]


def test_nothing_came(node: Node) -> None:
    assert node.act("try").status == 0
    assert told(node)["sent"] == "no file came"


def test_an_owner_that_cannot_be_given(node: Node) -> None:
    node.values["owner"] = "no-such-user:x"
    send(node)
    assert node.act("try").status == 0
    assert "no-such-user" in told(node)["files.data"]


def test_a_full_filesystem_is_told_and_nothing_fails(dash: Shell, tmp_path: Path) -> None:
    """No inodes left, on a real filesystem."""
    if os.getuid() != 0:
        pytest.skip("mounts need root")
    node = Node(tmp_path / "n", dash)
    disk = node.root / "lib"
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no mount here")
    try:
        assert node.act("try").status == 0
        assert told(node)["files.data"] not in ("ok", "")
        assert node.act("untry").status == 0
        assert node.state("untry") == "after"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow  # some forty runs, each of which waits for the disk
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_call(node: Node, when: str) -> None:
    for n in range(1, 60):
        send(node)
        if not node.killed("try", f"{when} {n}"):
            break
        assert node.state("undo try") == "before", n
        assert node.act("undo try").status == 0, n
        assert node.state("undo try") == "after", n
        assert not node.stage.parent.exists() and not node.wal_stage.parent.exists(), n
    assert n > 8
    assert not tree(node.data, node.wal).keys() - {str(node.data), str(node.wal)}
