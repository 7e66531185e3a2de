"""Kubernetes as kubeasz installs it: units, their configuration, and who is who by certificate."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Any

from drctl.lab import certs, flags
from drctl.lab.certs import Authority, Pair
from drctl.lab.docker import pki
from drctl.lab.docker.layout import APISERVER_PORT, CLIENT_PORT, SSL, DockerLab, Node
from drctl.lab.docker.machine import File
from drctl.render import render

UNITS = "/etc/systemd/system"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
ENCRYPTION = "/etc/kubernetes/encryption.yaml"
SERVICE_RANGE = "10.68.0.0/16"


def issue(lab: DockerLab, authority: Authority) -> None:
    """Into `lab.pki`: the administrator's and the controllers' certificates, the key that signs
    service accounts' tokens, and the configuration that encrypts secrets in etcd. The last two
    are the same on all control planes, and a restore is worthless without them."""
    pki.keep(lab, "admin", authority.issue("admin", organization="system:masters"))
    for name in CONTROLLERS:
        pki.keep(lab, name, authority.issue(f"system:{name}"))
    private, public = certs.new_key()
    pki.keep(lab, "service-account", Pair(public, private))
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    text = render("lab/docker/encryption.yaml", secret=secret)
    certs.write_private(_kept_encryption(lab), text.encode())


def control_plane_files(lab: DockerLab, node: Node) -> dict[str, File]:
    """What apiserver, controller manager and scheduler of that machine read."""
    values: dict[str, Any] = {
        "address": node.address,
        "ssl": SSL,
        "encryption": ENCRYPTION,
        "service_range": SERVICE_RANGE,
        "etcd_servers": ",".join(
            f"https://{member.address}:{CLIENT_PORT}" for member in lab.having("etcd")
        ),
    }
    programs = _programs(lab)
    files = {ENCRYPTION: File(_kept_encryption(lab).read_bytes(), 0o600)}
    for name in ("ca", "service-account", "admin", *CONTROLLERS):
        files |= pair_files(name, pki.pair(lab, name))
    for name in ("kube-apiserver", *CONTROLLERS):
        text = render(f"lab/docker/systemd/{name}.service", **values)
        files[f"{UNITS}/{name}.service"] = File(flags.fitted(text, programs / name).encode())
    for name in CONTROLLERS:
        files[f"/etc/kubernetes/{name}.kubeconfig"] = _kubeconfig(node.address, name)
    return files


def worker_files(lab: DockerLab, node: Node, authority: Authority) -> dict[str, File]:
    """What the kubelet of that machine reads; its certificate is its own."""
    kubelet = _programs(lab) / "kubelet"
    who = authority.issue(
        f"system:node:{node.name}",
        organization="system:nodes",
        addresses=[node.address],
        names=[node.name],
    )
    values: dict[str, Any] = {"name": node.name, "address": node.address, "ssl": SSL}
    unit = flags.fitted(render("lab/docker/systemd/kubelet.service", **values), kubelet)
    values |= {"flags": flags.known(kubelet)}
    pods = f"10.244.{node.address.rpartition('.')[2]}.0/24"
    return {
        f"{SSL}/ca.pem": File(authority.pair.cert),
        **pair_files("kubelet", who),
        "/etc/kubernetes/kubelet.kubeconfig": _kubeconfig(pki.APISERVERS_NAME, "kubelet"),
        "/etc/cni/net.d/10-lab.conflist": File(
            render("lab/docker/static-pod/cni.json", pods=pods).encode()
        ),
        "/etc/kubernetes/kubelet.yaml": File(
            render("lab/docker/systemd/kubelet.yaml", **values).encode()
        ),
        f"{UNITS}/kubelet.service": File(unit.encode()),
    }


def pair_files(name: str, pair: Pair) -> dict[str, File]:
    """NAME.pem and NAME-key.pem where kubeasz has them."""
    return {
        f"{SSL}/{name}.pem": File(pair.cert),
        f"{SSL}/{name}-key.pem": File(pair.key, 0o600),
    }


def _programs(lab: DockerLab) -> Path:
    assert lab.shape.kubernetes is not None
    return Path(lab.shape.kubernetes)


def _kubeconfig(server: str, user: str) -> File:
    url = f"https://{server}:{APISERVER_PORT}"
    text = render("lab/docker/systemd/kubeconfig.yaml", server=url, user=user, ssl=SSL)
    return File(text.encode(), 0o600)


def _kept_encryption(lab: DockerLab) -> Path:
    return lab.pki / "encryption.yaml"
