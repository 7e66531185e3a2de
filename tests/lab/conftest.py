"""One lab for the tests that only look; those that break something make their own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.errors import StepFailed
from drctl.lab import layout, local
from drctl.lab.layout import Lab


def quiet(_: str) -> None:
    """A `say` that says nothing."""


def ssh(
    lab: Lab, node: str, command: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` on `node` with the system's client."""
    argv = [*local.ssh_argv(lab.directory, node), command]
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
    local.up(directory, members=members, keys=300, value_size=64, say=quiet, ssh_server=ssh_server)
    yield layout.require(directory)
    local.down(directory, quiet)
    assert not directory.exists()
