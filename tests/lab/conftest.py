"""One lab for the tests that only look; those that break something make their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session", params=["asyncssh", "auto"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory: Path = tmp_path_factory.mktemp("lab") / "one"
    local.up(directory, keys=300, value_size=64, say=quiet, ssh_server=request.param)
    yield layout.require(directory)
    local.down(directory, quiet)
    assert not directory.exists()
