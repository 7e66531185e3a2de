"""Members as they are found: old data at its place, a rebuilt member staged beside it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.templates.node import Node, tree
from tests.templates.shells import Shell

LAYOUTS = ("plain", "absent", "symlink", "inside", "plain+wal", "inside+wal", "inside+plain-wal")
SEGMENT = "0000000000000000-0000000000000000.wal"


class Member:
    """A node laid out in one of LAYOUTS. "inside" is what a mount point is swapped like."""

    def __init__(self, root: Path, shell: Shell, layout: str) -> None:
        self.layout = layout
        self.node = Node(root, shell, wal="wal" in layout)
        self.data, self.wal = self.node.data, self.node.wal
        self.build()
        seen = self.node.observe("swap")
        assert (
            seen["state"] == "before"
            and self.first.items()
            >= {name: inode for name, inode in seen.items() if name.startswith("inode_")}.items()
        )

    def build(self) -> None:
        """Lay everything out, from the start."""
        self.node.shell.die(None)
        for top in ("lib", "wal", "disk"):
            shutil.rmtree(self.node.root / top, ignore_errors=True)
        for top in ("lib", "wal"):
            (self.node.root / top).mkdir()
        self._old_data()
        if "wal" in self.layout:
            self._old_wal()
        self._new()
        self.original = self.live_tree()
        inodes = {"inode_data": self.data if not self.data_inside else self.data / "member"}
        inodes["inode_wal"] = self.wal
        self.first = {
            name: str(path.stat().st_ino) if path.exists() else "absent"
            for name, path in inodes.items()
        }

    @property
    def data_inside(self) -> bool:
        return self.layout.startswith(("symlink", "inside"))

    @property
    def wal_inside(self) -> bool:
        return self.layout == "inside+wal"

    def live_tree(self) -> dict[str, str]:
        tops = [self.node.root / "lib", self.node.root / "wal", self.node.root / "disk"]
        return {**tree(*[top for top in tops if top.exists()]), **self._inode()}

    def _inode(self) -> dict[str, str]:
        member = self.data / "member"
        return {"inode": str(member.stat().st_ino if member.exists() else "absent")}

    def _old_data(self) -> None:
        if self.layout == "absent":
            return
        if self.layout == "symlink":
            (self.node.root / "disk").mkdir()
            self.data.symlink_to(self.node.root / "disk")
        else:
            self.data.mkdir()
        if self.data_inside:
            (self.data / "lost+found").mkdir()
            (self.data / "my notes").write_text("foreign")
            self.node.values["stage"] = f"{self.data}/.drctl"
        put(self.data / "member/snap/db", "old db")
        put(self.data / "member/snap/1.snap", "old snap")

    def _old_wal(self) -> None:
        self.wal.mkdir()
        (self.wal / SEGMENT).write_text("old wal")
        (self.wal / "0.tmp").write_text("old tmp")
        if self.wal_inside:
            (self.wal / "lost+found").mkdir()
            (self.wal / "my notes").write_text("foreign")
            self.node.values["wal_stage"] = f"{self.wal}/.drctl"

    def _new(self) -> None:
        put(self.node.stage / "new" / self.data.name / "member/snap/db", "new db")
        if "wal" in self.layout:
            put(self.node.wal_stage / "new" / self.wal.name / SEGMENT, "new wal")

    def serve(self) -> None:
        """What etcd does on its new data: it writes, and begins another segment."""
        (self.data / "member/snap/db").write_text("new db, written")
        if "wal" in self.layout:
            (self.wal / "0.tmp").write_text("new tmp")
            (self.wal / "0000000000000001-0000000000000009.wal").write_text("new, second")

    def old_pieces(self) -> dict[str, int]:
        """How often each file of the old member exists below the root: always exactly once."""
        names = [v for v in self.original.values() if v.startswith("old")]
        every = [p.read_text() for p in self.node.root.rglob("*") if p.is_file()]
        return {name: every.count(name) for name in names}

    def is_swapped(self) -> bool:
        good = (self.data / "member/snap/db").read_text() == "new db"
        if "wal" in self.layout:
            segments = sorted(p.name for p in self.wal.iterdir() if p.suffix in (".wal", ".tmp"))
            good = good and segments == [SEGMENT]
            good = good and (self.wal / SEGMENT).read_text() == "new wal"
        return good and self.foreign() and set(self.old_pieces().values()) <= {1}

    def foreign(self) -> bool:
        """What is not etcd's lies where it was."""
        there = [self.data] if self.data_inside else []
        there += [self.wal] if self.wal_inside else []
        return all((d / "lost+found").is_dir() and (d / "my notes").is_file() for d in there)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
