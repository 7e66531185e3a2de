"""backup/sweep: what killed backups left goes, what may be under way or is something else stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from drctl.render import render_script
from drctl.runs.stray_copies import HELD_SECONDS
from tests.templates.shells import Ran, Shell

SWEEP = render_script("backup/sweep", None, held_seconds=HELD_SECONDS).body
HELD = render_script("backup/held").body


class Left:
    """A work directory in which backups left copies."""

    def __init__(self, shell: Shell, work: Path) -> None:
        self.shell, self.work = shell, work

    def copy(self, name: str, seconds: int | None) -> Path:
        """A copy that is held for `seconds` from now; None: it was never said."""
        folder = self.work / "backup" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "snapshot.db").write_bytes(b"s" * 5000)
        if seconds is not None:
            who = {"DRCTL_WHO": "she@there"}
            script = f"folder='{folder}'\n{HELD}\nhold {seconds}"
            assert self.shell.stdin(script, who).status == 0
        return folder

    def sweep(self, remove: bool = True, gone: str = "") -> Ran:
        env = {
            "DRCTL_WORK": str(self.work),
            "DRCTL_REMOVE": "yes" if remove else "",
            "DRCTL_GONE": gone,
        }
        return self.shell.stdin(SWEEP, env)


@pytest.fixture
def left(shell: Shell, tmp_path: Path) -> Left:
    return Left(shell, tmp_path / "work")


def test_nothing_is_left(left: Left) -> None:
    assert left.sweep() == Ran(0, "", "")
    left.work.mkdir()
    assert left.sweep() == Ran(0, "", "")
    assert list(left.work.iterdir()) == []


def test_what_nobody_holds_any_more_goes(left: Left) -> None:
    dead, alive = left.copy("backup-1", -5), left.copy("backup-2", 600)
    ran = left.sweep()
    assert ran.status == 0, ran.err
    assert ran.out.startswith("left:") and ran.out.endswith(" she@there\n")
    assert not dead.exists() and alive.exists()
    assert left.sweep().out == ""
    assert alive.exists()


def test_the_last_one_takes_its_folder_along(left: Left) -> None:
    left.copy("backup-1", -5)
    left.sweep()
    assert list(left.work.iterdir()) == []


def test_who_only_looks_changes_nothing(left: Left) -> None:
    dead = left.copy("backup-1", -5)
    before = sorted(left.work.rglob("*"))
    assert left.sweep(remove=False).out.startswith("left:")
    assert sorted(left.work.rglob("*")) == before
    assert (dead / "snapshot.db").exists()


def test_one_that_is_known_to_be_dead_is_not_waited_for(left: Left) -> None:
    mine, other = left.copy("backup-1", 600), left.copy("backup-12", 600)
    left.sweep(gone="backup-1")
    assert not mine.exists() and other.exists()


@pytest.mark.parametrize("held", [None, "until=\n", "until=$(id)\n", "until=9999999999999\n", "x"])
def test_one_that_does_not_say_until_when_is_judged_by_its_age(
    left: Left, held: str | None
) -> None:
    folder = left.copy("backup-1", None)
    if held is not None:
        (folder / "held").write_text(held)
    assert left.sweep().out == ""
    then = time.time() - HELD_SECONDS - 5
    os.utime(folder, (then, then))
    assert left.sweep().out.startswith("left:")
    assert not folder.exists()


def test_what_is_no_copy_of_ours_stays(left: Left, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    left.copy("backup-1", -5)
    (left.work / "backup" / "backup-x").symlink_to(elsewhere)
    (left.work / "backup" / "other").mkdir()
    then = time.time() - HELD_SECONDS - 5
    os.utime(elsewhere, (then, then))
    assert left.sweep(gone="backup-x other").status == 0
    assert {p.name for p in (left.work / "backup").iterdir()} == {"backup-x", "other"}
    assert (elsewhere / "precious").exists()
