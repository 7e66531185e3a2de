"""One lab for the tests that only look; those that break something have one of their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from drctl.errors import StepFailed
from drctl.lab import data, layout
from drctl.lab.gateway import GatewayError
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from drctl.lab.waiting import until
from tests.support.operator import Operator


def quiet(_: str) -> None:
    """A `say` that says nothing."""


def content(lab: Lab) -> dict[str, bytes]:
    """Every key under /registry, from the first member; its leader may just be changing."""
    found: dict[str, bytes] = {}

    def read() -> bool:
        try:
            found.clear()
            with data.gateway(lab.hosts[0]) as gateway:
                found.update(gateway.read_all(data.PREFIX))
        except GatewayError:
            return False
        return True

    until(read, 60, f"{lab.hosts[0].name}: etcd")
    return found


def stand_ins_serve(lab: Lab, seconds: float = 60) -> None:
    """Every apiserver stand-in answers; just started, it may need a while on a slow machine. A
    restore has seen it answer before it is done."""
    for host in lab.hosts:
        until(partial(data.stand_in_ready, host), seconds, f"{host.name}: the stand-in")


def ssh(
    lab: Lab, node: str, command: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` on `node` with the system's client."""
    argv = [*driver.ssh_argv(lab.directory, node), command]
    return subprocess.run(argv, input=given, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three members, with the SSH server that works everywhere."""
    yield from _a_lab(tmp_path_factory, members=3, ssh_server="asyncssh")


@pytest.fixture(scope="session")
def openssh_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two members, with the system's SSH server; skipped where there is none that works."""
    try:
        yield from _a_lab(tmp_path_factory, members=2, ssh_server="openssh")
    except StepFailed as error:
        if "no OpenSSH server" not in str(error):
            raise
        pytest.skip("no OpenSSH server here")


@pytest.fixture(params=["lab", "openssh_lab"])
def any_ssh(request: pytest.FixtureRequest) -> Lab:
    """Each kind of SSH server in turn, for the system's client."""
    if shutil.which("ssh") is None:
        pytest.skip("no ssh client on PATH; the product itself needs none")
    chosen = request.getfixturevalue(request.param)
    assert isinstance(chosen, Lab)
    return chosen


def _a_lab(factory: pytest.TempPathFactory, *, members: int, ssh_server: str) -> Iterator[Lab]:
    directory: Path = factory.mktemp("lab") / "one"
    driver.up(directory, members=members, keys=300, value_size=64, say=quiet, ssh_server=ssh_server)
    yield layout.require(directory)
    driver.down(directory, quiet)
    assert not directory.exists()


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory, etcd_dir: Path) -> Iterator[Lab]:
    """Three members for the tests of one module; a module takes it by a fixture `lab`."""
    directory = tmp_path_factory.mktemp("own") / "lab"
    driver.up(directory, etcd=etcd_dir, keys=100, value_size=64, say=quiet)
    yield layout.require(directory)
    driver.down(directory, quiet)


@pytest.fixture(scope="module")
def operator(own_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """A person at a laptop, with that lab's inventory."""
    return Operator(own_lab.inventory, tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def snapshot(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That lab as it was filled."""
    return operator.backup(tmp_path_factory.mktemp("backup"))


@pytest.fixture(scope="module")
def saved(own_lab: Lab, snapshot: Path) -> dict[str, bytes]:
    """What the snapshot holds; what is written after it must not come back."""
    return content(own_lab)
