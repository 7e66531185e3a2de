"""Whether what a lab runs answers, asked from this machine."""

from __future__ import annotations

from drctl.lab.docker.layout import APISERVER_PORT, DockerLab, Node
from drctl.lab.gateway import Gateway, GatewayError
from drctl.lab.probe import fetch


def etcd_answers(lab: DockerLab, node: Node) -> bool:
    """Whether the node's member answers a linearizable read, asked from this machine."""
    access = lab.etcd
    try:
        with Gateway(node.client_url, access.ca, access.cert, access.key, timeout=5) as gateway:
            return gateway.revision() > 0
    except GatewayError:
        return False


def apiserver_answers(lab: DockerLab, node: Node) -> bool:
    """Whether the node's real apiserver says that it is ready, asked from this machine."""
    access = lab.admin
    assert access is not None
    url = f"https://127.0.0.1:{node.ports[APISERVER_PORT]}/readyz"
    try:
        fetch(url, str(access.ca), cert=str(access.cert), key=str(access.key))
    except OSError:
        return False
    return True
