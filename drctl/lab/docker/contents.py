"""What a fresh lab holds: written through a real apiserver where one stands, else into etcd."""

from __future__ import annotations

from functools import partial

from drctl.lab import data
from drctl.lab.docker.layout import APISERVER_PORT, DockerLab
from drctl.lab.gateway import Gateway
from drctl.lab.kubeapi import KubeApi, KubeError
from drctl.lab.site import Access
from drctl.lab.waiting import until

NAMESPACE = "lab"
_SETTLED_SECONDS = 120.0


def fill(lab: DockerLab, keys: int, value_size: int) -> None:
    """`keys` items of `value_size` bytes: ConfigMaps in the namespace `lab`, or bare keys."""
    first = lab.having("etcd")[0]
    if lab.admin is None:
        with Gateway(first.client_url, lab.etcd.ca, lab.etcd.cert, lab.etcd.key) as gateway:
            data.fill(gateway, keys, value_size)
        return
    url = f"https://127.0.0.1:{first.ports[APISERVER_PORT]}"
    until(partial(_settled, url, lab.admin), _SETTLED_SECONDS, "Kubernetes")
    with KubeApi(url, lab.admin) as api:
        api.ensure("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for key, value in data.items("item", keys, value_size):
            body = {"metadata": {"name": key.rpartition("/")[2]}, "data": {"value": value.decode()}}
            api.create(f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)


def _settled(url: str, access: Access) -> bool:
    """Whether the controllers have begun: the default namespace has its service account."""
    try:
        with KubeApi(url, access) as api:
            api.get("/api/v1/namespaces/default/serviceaccounts/default")
    except KubeError:
        return False
    return True
