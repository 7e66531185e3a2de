"""The nodes' image: the lab's own machine, and one release of etcd."""

from __future__ import annotations

from pathlib import Path

from docker import DockerClient

from drctl.errors import Refused
from drctl.lab.binaries import TOOLS
from drctl.lab.docker import images
from tests.lab.docker.engine import unavailable


def blank(client: DockerClient) -> str:
    """The tag of a machine that has SSH and nothing of etcd."""
    try:
        return images.machine(client, images.base(print), print)
    except Refused as error:
        unavailable(str(error))


def build(client: DockerClient, etcd_dir: Path) -> str:
    """The tag of the image with the etcd of `etcd_dir`, built unless the engine has it."""
    return images.node(client, blank(client), {tool: etcd_dir / tool for tool in TOOLS}, print)
