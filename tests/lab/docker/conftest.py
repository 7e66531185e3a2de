"""Fixtures: the engine, the image, nodes and clusters. All are removed at the end."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from drctl.lab import certs
from tests.lab.docker import engine, images
from tests.lab.docker.cluster import Cluster, running_cluster
from tests.lab.docker.nodes import Node, Nodes

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder needs the engine."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")


@pytest.fixture(scope="session")
def docker_client() -> Iterator[DockerClient]:
    """A client of the local engine, swept of what killed sessions left."""
    client = engine.connect()
    engine.sweep(client)
    yield client
    client.close()


@pytest.fixture(scope="session")
def systemd_image(
    docker_client: DockerClient, etcd_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The tag of the nodes' image; two workers of one session do not build it twice."""
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "systemd-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return images.build(docker_client, etcd_dir)


@pytest.fixture(scope="session")
def systemd_node(
    docker_client: DockerClient, systemd_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """Makes nodes: `systemd_node("name", tmpfs={"/var/lib/etcd": "size=300m"})`."""
    folder = tmp_path_factory.mktemp("nodes")
    key = folder / "id_ed25519"
    nodes = Nodes(docker_client, systemd_image, key, certs.new_ssh_key(key), folder)
    try:
        yield nodes
    finally:
        nodes.close()


@pytest.fixture(scope="session")
def node(systemd_node: Nodes) -> Node:
    """One plain node, shared: a test leaves it as it found it."""
    return systemd_node("shared")


@pytest.fixture
def etcd_cluster(systemd_node: Nodes, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of etcd on nodes: `etcd_cluster(members=3)`; removed after the test."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Cluster:
            return stack.enter_context(running_cluster(systemd_node, tmp_path, **options))

        yield make
