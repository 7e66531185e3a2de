"""What a backup leaves when it fails or is killed, here and on the node, and who clears it up."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from drctl.errors import DrctlError, StepFailed
from drctl.runs.stray_copies import HELD_SECONDS, clear, workplace
from drctl.transport import CommandResult
from tests.support.bench import Bench, Ended

LEFT = "left:2048 she@there\n"


@pytest.fixture
def to(bench: Bench) -> Path:
    """A folder for backups, of nodes that can be backed up."""

    def download(_host: str, _source: str, target: Path) -> None:
        target.write_bytes(bench.snapshot.read_bytes())

    sha256 = hashlib.sha256(bench.snapshot.read_bytes()).hexdigest()

    def save(_host: str, _script: object, env: Mapping[str, str]) -> str:
        file = f"{env['DRCTL_WORK']}/backup/{env['DRCTL_RUN']}/snapshot.db"
        return f"file={file}\nsize=1\nsha256={sha256}\n"

    bench.rig.handlers["backup/save"] = save
    bench.rig.handlers["backup/remove"] = lambda _h, _s, _e: ""
    bench.rig.on_download = download
    return bench.folder / "backups"


def backup(bench: Bench, to: Path, *more: str) -> Ended:
    return bench.drctl("backup", "--inventory", bench.inventory, "--to", to, *more)


def names(to: Path) -> set[str]:
    return {path.name for path in to.iterdir()}


def test_a_backup_leaves_nothing_but_itself(bench: Bench, to: Path) -> None:
    made = backup(bench, to, "--output", "json")
    assert made.exit == 0, made.err
    path = Path(made.document["path"])
    assert names(to) == {path.name, f"{path.name}.json"}
    assert made.document["warnings"] == []
    assert stat.S_IMODE(to.stat().st_mode) == 0o700


def test_a_place_that_is_not_safe_is_a_refusal_and_leaves_no_copy(bench: Bench, to: Path) -> None:
    bench.rig.handlers["backup/save"] = fails(77, "/w belongs to user 1001: it is not used")
    bench.rig.handlers["backup/remove"] = fails(77, "/w belongs to user 1001: it is not used")
    ended = backup(bench, to)
    assert ended.exit == 4
    assert "nothing was saved: /w belongs to user 1001: it is not used" in ended.err
    assert "may be left" not in ended.err
    assert "hint: fix that on this host, then run the same command again" in ended.err


def fails(status: int, why: str) -> Callable[..., CommandResult]:
    return lambda *_: CommandResult(status, "", why)


def raises(error: DrctlError) -> Callable[..., str]:
    def handler(*_: object) -> str:
        raise error

    return handler


@pytest.mark.parametrize(
    "removal", [fails(1, "rm: read-only"), raises(StepFailed("the line is cut", host="m2"))]
)
def test_a_failed_removal_does_not_hide_why_the_backup_failed(
    bench: Bench, to: Path, removal: Callable[..., str]
) -> None:
    bench.rig.handlers["backup/save"] = fails(1, "no space left")
    bench.rig.handlers["backup/remove"] = removal
    ended = backup(bench, to)
    assert ended.exit == 5
    first, second, *_ = ended.err[ended.err.index("error: ") :].splitlines()
    assert "could not be saved: no space left" in first
    assert "with every Secret may be left in /" in second
    assert "read-only" in second or "the line is cut" in second
    assert names(to) == set()


def test_a_good_backup_is_kept_where_the_copy_cannot_be_removed(bench: Bench, to: Path) -> None:
    bench.rig.handlers["backup/remove"] = fails(1, "rm: read-only")
    ended = backup(bench, to)
    assert ended.exit == 0
    assert len(names(to)) == 2
    assert "warning: m" in ended.err and ": rm: read-only" in ended.err


def test_commands_that_look_say_what_is_left_and_leave_it(bench: Bench, to: Path) -> None:
    removing: list[str] = []

    def sweep(host: str, _script: object, env: dict[str, str]) -> str:
        removing.append(env["DRCTL_REMOVE"])
        return LEFT if host == "m1" else ""

    bench.rig.handlers["backup/sweep"] = sweep  # type: ignore[assignment]  # a plainer signature
    on = ("--inventory", bench.inventory)
    for looking in (
        ("status", *on),
        ("verify", *on),
        ("preflight", *on),
        ("restore", *on, "--snapshot", bench.snapshot, "--dry-run", "--replace-healthy"),
    ):
        said = bench.drctl(*looking).err
        assert "m1: in " in said and "(2048 kB)" in said and "she@there" in said, said
        assert "the next `drctl backup` removes it" in said
    assert set(removing) == {""}
    removing.clear()
    assert "m1: removed from " in backup(bench, to).err
    assert "m1: removed from " in bench.restore("--replace-healthy").err
    assert "m1: removed from " in bench.rollback().err
    assert set(removing) == {"yes"}


def test_a_sweep_never_ends_a_command(bench: Bench) -> None:
    bench.rig.handlers["backup/sweep"] = raises(StepFailed("frozen"))
    assert bench.restore("--replace-healthy").exit == 0
    bench.rig.handlers["backup/sweep"] = fails(1, "rm: Operation not permitted")
    ended = bench.rollback()
    assert ended.exit == 0
    assert "cannot remove what a backup left there: rm: Operation not permitted" in ended.err


def test_a_host_that_is_gone_is_not_asked_once_more(bench: Bench) -> None:
    bench.rig.silent = {"m2"}
    bench.drctl("status", "--inventory", bench.inventory)
    swept = {host for host, script in bench.rig.calls if script == "backup/sweep"}
    assert swept and "m2" not in swept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_ended_tidies_up(bench: Bench, to: Path, number: signal.Signals) -> None:
    removed: list[str] = []

    def save(*_: object) -> str:
        signal.raise_signal(number)
        return ""

    bench.rig.handlers["backup/save"] = save
    bench.rig.handlers["backup/remove"] = lambda h, _s, _e: removed.append(h) or ""  # type: ignore[func-returns-value]  # both, in one line
    assert backup(bench, to).exit == 10
    assert len(removed) == 1
    assert names(to) == set()


# -- here ---------------------------------------------------------------------------------------


def test_the_workplace_is_closed_and_held(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with workplace(tmp_path) as (name, file):
            assert file.parent.name == f".drctl-{name.removeprefix('backup-')}.part"
            file.write_text("all Secrets")
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            assert clear(tmp_path) == ([], [])
            assert file.exists()
    finally:
        os.umask(old)
    assert list(tmp_path.iterdir()) == []


def killed(folder: Path) -> Path:
    """What a killed backup leaves."""
    place = folder / ".drctl-0123abcd.part"
    place.mkdir(mode=0o700)
    (place / "lock").touch()
    (place / "snapshot.db").write_text("all Secrets")
    return place


def test_what_a_killed_backup_left_here_goes_with_the_next(bench: Bench, to: Path) -> None:
    to.mkdir()
    place = killed(to)
    gone: list[str] = []
    bench.rig.handlers["backup/sweep"] = lambda _h, _s, env: gone.append(env["DRCTL_GONE"]) or ""  # type: ignore[func-returns-value]  # both, in one line
    ended = backup(bench, to)
    assert ended.exit == 0
    assert f"removed what a killed backup left: {place}" in ended.err
    assert not place.exists() and len(names(to)) == 2
    assert set(gone) == {"backup-0123abcd"}


def test_a_backup_under_way_is_left_alone(tmp_path: Path) -> None:
    place = killed(tmp_path)
    with (place / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert clear(tmp_path) == ([], [])
    assert clear(tmp_path)[0] == ["backup-0123abcd"]
    assert list(tmp_path.iterdir()) == []


def test_one_without_a_lock_yet_goes_by_its_age(tmp_path: Path) -> None:
    place = killed(tmp_path)
    (place / "lock").unlink()
    assert clear(tmp_path) == ([], [])
    then = time.time() - HELD_SECONDS - 5
    os.utime(place, (then, then))
    assert clear(tmp_path)[0] == ["backup-0123abcd"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_a_backups_and_is_left_alone(tmp_path: Path) -> None:
    part = tmp_path / ".drctl-00ff00ff.part"
    part.write_text("somebody's")
    then = time.time() - HELD_SECONDS - 5
    os.utime(part, (then, then))
    assert clear(tmp_path) == ([], [])
    assert part.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    to, elsewhere = tmp_path / "to", tmp_path / "elsewhere"
    to.mkdir()
    elsewhere.mkdir()
    killed(elsewhere)
    (to / ".drctl-aaaaaaaa.part").symlink_to(elsewhere / ".drctl-0123abcd.part")
    assert clear(to) == ([], [])
    assert (elsewhere / ".drctl-0123abcd.part" / "snapshot.db").exists()
