"""Whether what a lab runs answers, asked from this machine."""

from __future__ import annotations

from drctl.lab.docker.layout import APISERVER_PORT, DockerLab, Node
from drctl.lab.gateway import Gateway, GatewayError
from drctl.lab.kubeapi import KubeApi, KubeError
from drctl.lab.probe import fetch


def etcd_answers(lab: DockerLab, node: Node) -> bool:
    """Whether the node's member answers a linearizable read, asked from this machine."""
    access = lab.etcd
    try:
        with Gateway(node.client_url, access.ca, access.cert, access.key, timeout=5) as gateway:
            return gateway.revision() > 0
    except GatewayError:
        return False


def node_is_ready(lab: DockerLab, node: Node) -> bool:
    """Whether the cluster knows the machine as a node on which pods can run."""
    access = lab.admin
    assert access is not None
    url = f"https://127.0.0.1:{lab.having('control_plane')[0].ports[APISERVER_PORT]}"
    try:
        with KubeApi(url, access) as api:
            status = api.get(f"/api/v1/nodes/{node.name}")["status"]
    except KubeError:
        return False
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )


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
