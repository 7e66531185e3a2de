"""The Docker engine: whether it answers, and what earlier sessions left behind in it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker import DockerClient
from docker.errors import APIError, DockerException

LABEL = "drctl.test.owner"
"""On every container and network of these tests: HOSTNAME:PID:START of the session it is for."""


def connect() -> DockerClient:
    """A client of the engine that answers here; otherwise the test is skipped, or fails in CI."""
    try:
        client = docker.from_env(timeout=120)
    except DockerException as error:
        unavailable(f"no Docker engine answers: {error}")
    return client


def unavailable(reason: str) -> NoReturn:
    """Skip with `reason`. Where a Docker engine is promised, its absence is a failure."""
    if os.environ.get("CI") == "true" or os.environ.get("DRCTL_REQUIRE_DOCKER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def owner() -> str:
    """This process, told apart from a later one that got the same number."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


def sweep(client: DockerClient) -> None:
    """Remove what sessions that no longer run (killed, crashed) left on this machine."""
    for container in client.containers.list(
        all=True, ignore_removed=True, filters={"label": LABEL}
    ):
        if _abandoned(container.labels[LABEL]):
            with contextlib.suppress(APIError):  # another session may be sweeping, too
                container.remove(force=True, v=True)
    for network in client.networks.list(filters={"label": LABEL}):
        if _abandoned(network.attrs["Labels"][LABEL]):
            with contextlib.suppress(APIError):
                network.remove()


def _abandoned(label: str) -> bool:
    host, pid, started = label.split(":")
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
