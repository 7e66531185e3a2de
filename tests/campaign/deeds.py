"""What is done to a lab in the middle of a run, by a process of its own:

    python -m tests.campaign.deeds NAME LAB-DIRECTORY HOST STATE-DIRECTORY

and how it is mended afterwards, so that the operator's next command finds a world that can be
restored. A deed that has nothing to mend leaves what the product itself must cope with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drctl.lab import build, layout, processes
from drctl.lab.layout import Lab, LabHost
from drctl.lab.localsite import LocalSite
from tests.operator import Operator


@dataclass(frozen=True)
class Scene:
    """Where something happens: a lab, one of its hosts, and the operator's state directory."""

    lab: Lab
    host: LabHost
    state: Path

    @property
    def stages(self) -> list[Path]:
        """What the run has beside the data (earlier runs' are removed after they were checked)."""
        return list(self.host.data_dir.with_name("etcd.drctl").glob("*"))

    def sshd(self) -> int:
        """The pid of this host's SSH server."""
        lab = layout.require(self.lab.directory)
        (record,) = (r for r in lab.processes if r.what == f"{self.host.name} sshd" and r.alive())
        return record.pid

    def control(self, verb: str, unit: str) -> int:
        argv = build.control(self.host, verb, unit)
        return subprocess.run(argv, capture_output=True, check=False).returncode


def kill_the_controller_softly(number: int) -> Callable[[Scene], None]:
    """The deed's shell is a child of the controller."""

    def send(_: Scene) -> None:
        shell = os.getppid()
        stat = Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()
        controller = shell if b"tests.mortal" in _cmdline(shell) else int(stat[1])
        assert b"tests.mortal" in _cmdline(controller)
        os.kill(controller, number)

    return send


def _cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def sshd_killed(scene: Scene) -> None:
    os.kill(scene.sshd(), signal.SIGKILL)


def sshd_back(scene: Scene) -> None:
    lab = layout.require(scene.lab.directory)
    if not any(r.what == f"{scene.host.name} sshd" and r.alive() for r in lab.processes):
        site = LocalSite(lab.directory)
        site.power_off(scene.host.name)
        site.power_on(scene.host.name)


def sshd_frozen(scene: Scene) -> None:
    """For six seconds; somebody else wakes it up."""
    pid = scene.sshd()
    os.kill(pid, signal.SIGSTOP)
    subprocess.Popen(["sh", "-c", f"sleep 6; kill -CONT {pid}"], start_new_session=True)


def job_killed(scene: Scene) -> None:
    """The next job's body dies as soon as it runs: wait for it in the background."""
    subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.deeds", "kill-next-job", *sys.argv[2:]],
        start_new_session=True,
    )


def kill_next_job(scene: Scene) -> None:
    known = set(scene.host.work_dir.glob("*/jobs/*/pid"))
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        for path in set(scene.host.work_dir.glob("*/jobs/*/pid")) - known:
            with suppress(OSError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)
                return
        time.sleep(0.002)


def copy_altered(scene: Scene) -> None:
    for copy in (stage / "snapshot.db" for stage in scene.stages):
        if copy.exists():
            content = bytearray(copy.read_bytes())
            content[len(content) // 2] ^= 0x10
            copy.write_bytes(content)


def copy_removed(scene: Scene) -> None:
    for stage in scene.stages:
        (stage / "snapshot.db").unlink(missing_ok=True)


def rebuilt_removed(scene: Scene) -> None:
    for stage in scene.stages:
        subprocess.run(["rm", "-rf", stage / "new"], check=True)


def etcd_started_by_somebody(scene: Scene) -> None:
    scene.control("start", "etcd")


def fence_removed_and_etcd_started(scene: Scene) -> None:
    (scene.host.fences / "etcd").unlink(missing_ok=True)
    scene.control("start", "etcd")


def etcd_killed(scene: Scene) -> None:
    with suppress(OSError):
        LocalSite(scene.lab.directory).kill(scene.host.name, "etcd")


def apiserver_killed(scene: Scene) -> None:
    with suppress(OSError):
        LocalSite(scene.lab.directory).kill(scene.host.name, "apiserver")


def machine_restarted(scene: Scene) -> None:
    site = LocalSite(scene.lab.directory)
    site.power_off(scene.host.name)
    site.power_on(scene.host.name)


def machine_off(scene: Scene) -> None:
    LocalSite(scene.lab.directory).power_off(scene.host.name)


def tool_taken_away(scene: Scene) -> None:
    tool = scene.host.bin_dir / "etcdutl"
    if tool.exists():
        tool.rename(tool.with_name("etcdutl.away"))


def tool_back(scene: Scene) -> None:
    away = scene.host.bin_dir / "etcdutl.away"
    if away.exists():
        away.rename(away.with_name("etcdutl"))


def records_lost(scene: Scene) -> None:
    """The node forgets its jobs."""
    for jobs in scene.host.work_dir.glob("*/jobs"):
        subprocess.run(["rm", "-rf", jobs], check=True)


def owner_lost(scene: Scene) -> None:
    (scene.host.work_dir / "owner").unlink(missing_ok=True)


def foreign_file(scene: Scene) -> None:
    with suppress(OSError):
        (scene.host.data_dir / "lost+found.txt").write_text("not etcd's\n")


def second_operator(scene: Scene) -> None:
    """Another machine: must be turned away. Its status is left beside the state directory."""
    other = Operator(scene.lab.inventory, scene.state.with_name("another-machine"))
    ended = other.restore(scene.state.with_name("snap.db"), "--replace-healthy")
    with scene.state.with_name("second").open("a") as file:
        file.write(f"{ended.returncode}\n")


def second_session(scene: Scene) -> None:
    """The same operator in another terminal."""
    ended = Operator(scene.lab.inventory, scene.state).resume()
    with scene.state.with_name("second").open("a") as file:
        file.write(f"{ended.returncode}\n")


def nothing(_: Scene) -> None:
    pass


DEEDS: dict[str, tuple[Callable[[Scene], None], Callable[[Scene], None]]] = {
    "sigterm": (kill_the_controller_softly(signal.SIGTERM), nothing),
    "sigint": (kill_the_controller_softly(signal.SIGINT), nothing),
    "sshd-killed": (sshd_killed, sshd_back),
    "sshd-frozen": (sshd_frozen, nothing),
    "job-killed": (job_killed, nothing),
    "kill-next-job": (kill_next_job, nothing),
    "copy-altered": (copy_altered, nothing),
    "copy-removed": (copy_removed, nothing),
    "rebuilt-removed": (rebuilt_removed, nothing),
    "etcd-started-by-somebody": (etcd_started_by_somebody, nothing),
    "fence-removed": (fence_removed_and_etcd_started, nothing),
    "etcd-killed": (etcd_killed, nothing),
    "apiserver-killed": (apiserver_killed, nothing),
    "machine-restarted": (machine_restarted, nothing),
    "machine-off": (machine_off, machine_restarted),
    "tool-missing": (tool_taken_away, tool_back),
    "records-lost": (records_lost, nothing),
    "owner-lost": (owner_lost, nothing),
    "foreign-file": (foreign_file, nothing),
    "second-operator": (second_operator, nothing),
    "second-session": (second_session, nothing),
}
"""Name -> (the deed, what mends it)."""

__all__ = ["DEEDS", "Scene", "processes"]


def main() -> None:
    name, directory, host, state = sys.argv[1:]
    lab = layout.require(Path(directory))
    DEEDS[name][0](Scene(lab, lab.host(host), Path(state)))


if __name__ == "__main__":
    main()
