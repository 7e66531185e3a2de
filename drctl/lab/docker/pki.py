"""The lab's certificates on this machine: what an operator of such a cluster would have."""

from __future__ import annotations

from drctl.lab.certs import Authority, Pair, write_private
from drctl.lab.docker.layout import DockerLab

APISERVERS_NAME = "apiserver.lab"
"""In the workers' /etc/hosts with the address of every apiserver: a client tries them in turn."""
# What pods would call the apiserver by; kubeasz's default service network.
SERVICE_ADDRESS = "10.68.0.1"
SERVICE_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    APISERVERS_NAME,
)


def make(lab: DockerLab) -> Authority:
    """A fresh authority and the certificate that names every machine, the spares too."""
    lab.pki.mkdir(mode=0o700)
    authority = Authority.new()
    keep(lab, "ca", authority.pair)
    addresses = [SERVICE_ADDRESS, *(node.address for node in lab.nodes)]
    issued = authority.issue(
        "kubernetes", organization="k8s", addresses=addresses, names=SERVICE_NAMES
    )
    keep(lab, "kubernetes", issued)
    keep(lab, "etcd", issued)  # kubeasz has one certificate for everything
    return authority


def keep(lab: DockerLab, name: str, pair: Pair) -> None:
    """Write NAME.pem and NAME-key.pem into the lab's `pki`."""
    (lab.pki / f"{name}.pem").write_bytes(pair.cert)
    write_private(lab.pki / f"{name}-key.pem", pair.key)


def pair(lab: DockerLab, name: str) -> Pair:
    """What `keep` wrote."""
    cert, key = (lab.pki / f"{name}.pem", lab.pki / f"{name}-key.pem")
    return Pair(cert.read_bytes(), key.read_bytes())


def authority(lab: DockerLab) -> Authority:
    """The lab's own, to issue more: for new addresses, or expired ones."""
    return Authority.load(pair(lab, "ca"))
