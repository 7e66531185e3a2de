"""etcd in a container of an engine of its own: the fence, on a real Docker daemon that these tests
start for themselves and restart, and which nobody else uses.

`podman` here is an imitation: a script that hands everything to that daemon's `docker`, as the two
take the same words for all that is used.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.docker.engine import unavailable
from tests.templates.node import Node
from tests.templates.shells import Ran, Shell

_CONTAINER = "etcd"
_SECONDS = 60.0


@dataclass
class Daemon:
    """A Docker daemon with its own socket, data and namespace."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/s"

    def start(self) -> None:
        name = f"drctl-test-{os.getpid()}"
        settings = self.folder / "daemon.json"  # not those of the machine's own daemon
        settings.write_text("{}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    # In a network of its own: without a bridge, it removes the machine's docker0.
                    *(
                        "unshare",
                        "--net",
                        "dockerd",
                        "--config-file",
                        str(settings),
                        "--host",
                        self.host,
                    ),
                    *("--pidfile", f"{self.folder}/pid"),
                    *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
                    *("--bridge=none", "--iptables=false", "--storage-driver=vfs"),
                    *(
                        "--containerd-namespace",
                        name,
                        "--containerd-plugins-namespace",
                        f"{name}-plugins",
                    ),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + _SECONDS
        while self.docker("ps", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                unavailable(f"no second dockerd here: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(_SECONDS)

    def restart(self) -> None:
        """As a reboot of the machine is to it: what ran has ended, and it starts what it should."""
        self.stop()
        self.start()

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "--host", self.host, *words],
            check=check,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )

    def make(self, policy: str, *more: str) -> None:
        """The container, running."""
        command = ("run", "-d", "--name", _CONTAINER, "--network=none", "--restart", policy)
        ends_at_once = "trap 'exit 0' TERM; /bin/busybox sleep 1000 & wait"
        self.docker(*command, *more, "imitation", "/bin/busybox", "sh", "-c", ends_at_once)

    def seen(self, what: str) -> str:
        asked = self.docker("inspect", "--format", f"{{{{.{what}}}}}", _CONTAINER)
        return asked.stdout.strip()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    if os.geteuid():
        pytest.skip("a Docker daemon of our own needs root")
    if not all(map(shutil.which, ("dockerd", "docker", "busybox"))):
        unavailable("a Docker daemon of our own needs dockerd and busybox")
    daemon = Daemon(tmp_path_factory.mktemp("dockerd"))
    daemon.start()
    try:
        archive = daemon.folder / "image.tar"
        with tarfile.open(archive, "w") as image:
            for path in ("/bin/busybox", *_libraries("/bin/busybox")):
                image.add(os.path.realpath(path), path)
        daemon.docker("import", str(archive), "imitation")
        yield daemon
        for name in daemon.docker("ps", "-aq").stdout.split():
            daemon.docker("rm", "-f", name)
    finally:
        daemon.stop()


@pytest.fixture
def daemon(running: Daemon) -> Iterator[Daemon]:
    yield running
    running.docker("rm", "-f", _CONTAINER, check=False)


@dataclass(frozen=True)
class Machine:
    node: Node

    def observe(self, step: str, seen: dict[str, str] | None = None) -> dict[str, str]:
        task = self.node.task(step)
        assert task.observe
        ran = self.node.shell.body(task.observe.body, self.node.env(task, seen or {}))
        assert ran.status == 0, ran
        return ran.fields

    def act(self, step: str, seen: dict[str, str] | None = None) -> Ran:
        task = self.node.task(step)
        assert task.act
        return self.node.shell.body(task.act.body, self.node.env(task, seen or {}))


def _machine(shell: Shell, folder: Path, running: Daemon, engine: str) -> Machine:
    program = shell.bin / engine
    program.unlink(missing_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shutil.which("docker")} --host {running.host} "$@"\n')
    program.chmod(0o755)
    node = Node(folder / "n", shell)
    text = node.file.read_text()
    begin, end = text.index("service_manager:"), text.index("options:")
    text = f"{text[:begin]}service_manager: {engine}\n{text[end:]}"
    node.file.write_text(text)
    return Machine(node)


@pytest.fixture
def machine(shell: Shell, tmp_path: Path, running: Daemon) -> Machine:
    return _machine(shell, tmp_path, running, "docker")


@pytest.fixture
def imitation(shell: Shell, tmp_path: Path, running: Daemon) -> Machine:
    return _machine(shell, tmp_path, running, "podman")


@pytest.mark.parametrize("policy", ["always", "on-failure:5", "no"])
def test_a_fenced_container_stays_stopped_when_the_engine_comes_back(
    machine: Machine, daemon: Daemon, policy: str
) -> None:
    daemon.make(policy)
    _there_and_back(machine, daemon, policy)


def test_so_does_one_of_podman_imitated(imitation: Machine, daemon: Daemon) -> None:
    daemon.make("unless-stopped")
    _there_and_back(imitation, daemon, "unless-stopped")


def _there_and_back(machine: Machine, daemon: Daemon, policy: str) -> None:
    before = machine.observe("stop-etcd")
    assert (before["was"], before["state"]) == ("etcd:active,", "before")
    stopped = machine.act("stop-etcd")
    assert stopped.status == 0, stopped
    assert machine.observe("stop-etcd")["state"] == "after"
    daemon.restart()
    assert daemon.seen("State.Running") == "false"
    assert machine.observe("stop-etcd")["state"] == "after"
    undone = machine.act("undo stop-etcd", {"was": before["was"]})
    assert undone.status == 0, undone
    assert daemon.seen("State.Running") == "true"
    assert machine.observe("undo stop-etcd", {"was": before["was"]})["state"] == "after"
    name, _, count = policy.partition(":")
    assert daemon.seen("HostConfig.RestartPolicy") == f"{{{name} {count or 0}}}"


def test_one_that_does_not_stop_is_killed(machine: Machine, daemon: Daemon) -> None:
    """The engine itself would wait for ten minutes."""
    text = machine.node.file.read_text()
    assert text.count("units: [etcd]") == 1
    machine.node.file.write_text(text.replace("units: [etcd]", "units: [etcd], stop_seconds: 1"))
    deaf = ("run", "-d", "--name", _CONTAINER, "--network=none", "--stop-timeout=600")
    daemon.docker(*deaf, "imitation", "/bin/busybox", "sleep", "1000")  # as PID 1 it hears no TERM
    stopped = machine.act("stop-etcd")
    assert stopped.status == 0, stopped
    assert "etcd did not stop within 1.0 s: killed" in stopped.err
    assert machine.observe("stop-etcd")["state"] == "after"


def test_a_kill_between_keeping_the_policy_and_changing_it(
    machine: Machine, daemon: Daemon
) -> None:
    """Begun again, the fence keeps what was before the first try."""
    daemon.make("always")
    node = machine.node
    for when in ("before", "after"):
        for number in range(1, 5):
            node.shell.die(f"{when} {number}")
            machine.act("stop-etcd")
            node.shell.die(None)
            assert machine.act("stop-etcd").status == 0
            assert machine.observe("stop-etcd")["state"] == "after"
            assert machine.act("undo stop-etcd", {"was": "etcd:active,"}).status == 0
            assert daemon.seen("HostConfig.RestartPolicy.Name") == "always"


def test_a_policy_that_somebody_puts_back_is_no_fence(machine: Machine, daemon: Daemon) -> None:
    daemon.make("always")
    assert machine.act("stop-etcd").status == 0
    daemon.docker("update", "--restart=always", _CONTAINER)
    assert machine.observe("stop-etcd")["state"] == "before"
    assert machine.act("stop-etcd").status == 0
    assert machine.act("undo stop-etcd", {"was": "etcd:active,"}).status == 0
    assert daemon.seen("HostConfig.RestartPolicy.Name") == "always"


def test_a_container_made_anew_is_named_and_fenced_itself(machine: Machine, daemon: Daemon) -> None:
    daemon.make("always")
    assert machine.act("stop-etcd").status == 0
    daemon.docker("rm", _CONTAINER)
    daemon.make("no")
    daemon.docker("stop", _CONTAINER)
    assert machine.observe("stop-etcd")["state"] == "before"  # what undoes it is not kept
    daemon.docker("rm", _CONTAINER)
    daemon.make("on-failure:3")
    seen = machine.observe("stop-etcd")
    assert seen["state"] == "before"
    assert "is not the one that was fenced: somebody made it anew" in seen["why"]
    assert machine.act("stop-etcd").status == 0
    assert machine.act("undo stop-etcd", {"was": "etcd:active,"}).status == 0
    assert daemon.seen("HostConfig.RestartPolicy") == "{on-failure 3}"


def test_an_engine_that_does_not_answer_says_nothing(machine: Machine, daemon: Daemon) -> None:
    daemon.make("no")
    docker = machine.node.shell.bin / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    found = machine.observe("stop-etcd")
    assert found["state"] == "unknown"
    assert found["why"] == "docker does not answer for: etcd:unknown,"
    assert machine.observe("facts")["manager"] == "docker does not answer"


def test_what_could_not_be_started_again_is_refused_before(
    machine: Machine, daemon: Daemon
) -> None:
    assert "etcd" in machine.observe("facts")["units_missing"].split()
    daemon.make("no", "--rm")
    found = machine.observe("facts")
    assert "etcd" not in found["units_missing"].split()
    assert found["manager"] == (
        "the container etcd is removed when it stops (--rm): nothing could start it again"
    )


def test_an_older_podman_imitated_cannot_change_a_policy(
    imitation: Machine, daemon: Daemon
) -> None:
    daemon.make("always")
    assert imitation.observe("facts")["manager"] == "ok"
    podman = imitation.node.shell.bin / "podman"
    real = podman.read_text().removeprefix("#!/bin/sh\n")
    podman.write_text(f'#!/bin/sh\n[ "$1 $2" = "update --help" ] && exit 0\n{real}')
    assert imitation.observe("facts")["manager"] == (
        "podman here cannot change the restart policy of etcd: make it anew with --restart=no "
        "under a unit"
    )


def _libraries(program: str) -> list[str]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for word in told.split() if word.startswith("/")]
