"""How labs begin and end: side by side, after a half-way death, and without a trace."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drctl.drill import breaking
from drctl.errors import StepFailed, UsageError
from drctl.lab import data, labfile, layout, processes
from drctl.lab.gateway import GatewayError
from drctl.lab.local import driver
from drctl.lab.waiting import until
from tests.support.labs import quiet

pytestmark = pytest.mark.lab


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for labs; those that a failed test leaves there are ended."""
    yield tmp_path
    for state in tmp_path.glob(f"*/{labfile.STATE_FILE}"):
        driver.down(state.parent, quiet)


def test_two_labs_break_apart_and_leave_nothing(place: Path) -> None:
    long = place / ("so-long-that-no-socket-could-lie-in-it" * 2)
    first, second = place / "first", long
    driver.up(first, members=1, keys=10, say=quiet)
    driver.up(second, keys=10, say=quiet)
    labs = [layout.require(first), layout.require(second)]
    assert labs[1].sockets and Path(labs[1].sockets).is_dir()
    site = driver.site(second)
    assert breaking.strike(site, "majority-data-lost", say=quiet) == ["node-1", "node-2"]
    assert not labs[1].host("node-2").data_dir.exists()
    with data.gateway(labs[1].host("node-3"), timeout=2) as gateway, pytest.raises(GatewayError):
        gateway.revision()
    with data.gateway(labs[0].hosts[0]) as gateway:
        assert len(gateway.read_all(data.PREFIX)) == 11
    with pytest.raises(UsageError, match="meteorite"):
        breaking.strike(driver.site(first), "meteorite", say=quiet)
    with pytest.raises(UsageError, match="within a drill"):
        breaking.strike(driver.site(first), "snapshot-damaged", say=quiet)
    assert breaking.strike(driver.site(first), "lose-data", say=quiet, node="node-1") == ["node-1"]
    for lab in labs:
        driver.down(lab.directory, quiet)
        assert not lab.directory.exists()
        assert processes.belonging(lab.processes, lab.id) == set()
    assert not Path(str(labs[1].sockets)).exists()


def test_a_lab_takes_an_etcd_that_lost_a_flag(place: Path, etcd_dir: Path) -> None:
    """etcd 3.6 deprecates --snapshot-count. This etcd, which does not know it any more, is an
    imitation: a real one behind a script that refuses what the script's --help does not list."""
    folder = place / "etcd-without-a-flag"
    folder.mkdir()
    for tool in ("etcdctl", "etcdutl"):
        (folder / tool).symlink_to(etcd_dir / tool)
    real = shlex.quote(str(etcd_dir / "etcd"))
    (folder / "etcd").write_text(
        "#!/bin/sh\n"
        f"case $* in *--help*) {real} --help | grep -v snapshot-count; exit ;; esac\n"
        "case $* in *--snapshot-count*) echo 'flag provided but not defined' >&2; exit 2 ;; esac\n"
        f'exec {real} "$@"\n'
    )
    (folder / "etcd").chmod(0o755)
    driver.up(place / "lab", members=1, etcd=folder, keys=10, say=quiet)
    with data.gateway(layout.require(place / "lab").hosts[0]) as gateway:
        assert len(gateway.read_all(data.PREFIX)) == 11


def test_a_lab_whose_up_was_killed_is_cleaned_by_the_next(place: Path) -> None:
    directory = place / "lab"
    code = (
        "import sys; from pathlib import Path; from drctl.lab.local import driver;"
        "driver.up(Path(sys.argv[1]), members=1, say=lambda _: None)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(directory)])
    until(lambda: _supervised(directory), 60, "the first process")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    dead = layout.require(directory)
    assert dead.state == "starting"
    driver.up(directory, members=1, keys=10, say=quiet)
    lab = layout.require(directory)
    assert processes.belonging(dead.processes, dead.id) == set()
    os.kill(_supervisor(lab), signal.SIGKILL)  # its programs die with it
    until(lambda: not _etcd_runs(lab), 30, "etcd's end")
    driver.down(directory, quiet)
    assert processes.belonging(lab.processes, lab.id) == set()


def test_a_drill_that_is_ended_by_a_signal_leaves_nothing(place: Path) -> None:
    directory = place / "lab"
    code = (
        "import sys; from pathlib import Path; from drctl.drill import drivers, gameday, scenario;"
        "place = Path(sys.argv[1]); options = drivers.LabOptions(keys=10);"
        "day = gameday.Drill('local', options, place.parent, lambda _: None, directory=place);"
        "day.run([scenario.load('majority-data-lost')])"
    )
    argv = [sys.executable, "-c", code, str(directory)]
    ended = subprocess.Popen(argv, stderr=subprocess.PIPE)
    until(lambda: _supervised(directory), 60, "the first process")
    lab = layout.require(directory)
    ended.terminate()
    assert b"stopped by SIGTERM" in ended.communicate(timeout=120)[1]
    assert not directory.exists()
    assert processes.belonging(lab.processes, lab.id) == set()


def test_a_failure_shows_the_log_and_leaves_nothing(place: Path) -> None:
    tools = place / "bin"
    tools.mkdir()
    for name in ("etcd", "etcdctl", "etcdutl"):
        (tools / name).write_text("#!/bin/sh\necho this etcd is broken; exit 1\n")
    directory = place / "lab"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_READY_SECONDS", 20.0)
        with pytest.raises(StepFailed, match="this etcd is broken"):
            driver.up(directory, members=1, etcd=tools, say=quiet)
    assert not directory.exists()


def _supervised(directory: Path) -> bool:
    lab = layout.load(directory) if (directory / labfile.STATE_FILE).is_file() else None
    return bool(lab and lab.processes)


def _supervisor(lab: layout.Lab) -> int:
    return next(r.pid for r in lab.processes if r.what.endswith("supervisord"))


def _etcd_runs(lab: layout.Lab) -> bool:
    found = processes.belonging([], lab.id)
    return any(_name(pid) == "etcd" for pid in found)


def _name(pid: int) -> str:
    with suppress(OSError):  # it may end while it is looked at
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
