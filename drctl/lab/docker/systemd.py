"""The flavour `systemd`: binaries and units, laid out as kubeasz does it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from drctl.lab.binaries import TOOLS
from drctl.lab.certs import Authority, Pair
from drctl.lab.docker import pki
from drctl.lab.docker.layout import (
    APISERVER_PORT,
    PEER_PORT,
    SSL,
    DockerLab,
    Node,
)
from drctl.lab.docker.machine import File, Machine
from drctl.lab.gateway import Gateway, GatewayError
from drctl.lab.labs import Say
from drctl.lab.site import Flavour, Part
from drctl.lab.waiting import until
from drctl.render import render

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
UNITS = "/etc/systemd/system"
READY_SECONDS = 120.0
# It answers HTTP on the apiserver's port and knows nothing of etcd.
_APISERVER_STAND_IN = "/bin/busybox httpd -f -p {address}:6443 -h /srv/kube-apiserver-stand-in"
_KUBELET_STAND_IN = "/bin/sleep infinity"
_VERBS = {
    "start": "systemctl start --no-block {units}",
    "stop": "systemctl stop {units}",
    "kill": "systemctl kill --kill-who=all -s KILL {units}",
}


class Systemd:
    """etcd and everything in front of it as units."""

    name: Flavour = "systemd"

    def programs(self, etcd: Path, kubernetes: Path | None) -> Mapping[str, Path]:
        """etcd's tools, and Kubernetes's own."""
        programs = {tool: etcd / tool for tool in TOOLS}
        if kubernetes is not None:
            programs |= {name: kubernetes / name for name in KUBERNETES}
        return programs

    def start(self, lab: DockerLab, machines: Mapping[str, Machine], say: Say) -> None:
        """Certificates, etcd, then what stands in front of it."""
        authority = pki.make(lab)
        members = lab.having("etcd")
        with ThreadPoolExecutor(len(lab.nodes)) as pool:
            list(pool.map(lambda node: _install(lab, machines[node.name], authority), lab.nodes))
        for node in members:
            ready = partial(etcd_answers, lab, node)
            until(ready, READY_SECONDS, f"{node.name}: etcd")
        say("etcd is healthy")

    def control(self, lab: DockerLab, verb: str, part: Part) -> str:
        """`systemctl`, on whichever of the part's units the machine has."""
        return _VERBS[verb].format(units=shlex.join(_units(lab)[part]))

    def services(self, lab: DockerLab, node: Node) -> list[str]:
        """The units."""
        return [unit for part in _parts(node) for unit in _units(lab)[part]]

    def inventory(self, lab: DockerLab) -> dict[str, Any]:
        """The layout's services where they differ: the stand-ins."""
        units = _units(lab)
        return {
            "services": {
                "apiserver": {
                    "hosts": ["control_plane"],
                    "units": units["apiserver"],
                    "ports": [APISERVER_PORT],
                    "start": "one-by-one",
                    "ready": "curl -fs --max-time 5 http://{address}:6443/readyz",
                },
                "controllers": None,
                "kubelet": {"hosts": ["workers"], "units": units["kubelet"]}
                if lab.having("worker")
                else None,
                "dependents": None,
            }
        }


def etcd_answers(lab: DockerLab, node: Node) -> bool:
    """Whether the node's member answers a linearizable read, asked from this machine."""
    access = lab.etcd
    try:
        with Gateway(node.client_url, access.ca, access.cert, access.key, timeout=5) as gateway:
            return gateway.revision() > 0
    except GatewayError:
        return False


def certificates(pair: Pair, authority: Authority) -> dict[str, File]:
    """The three files that every machine of the cluster has."""
    return {
        f"{SSL}/ca.pem": File(authority.pair.cert),
        f"{SSL}/kubernetes.pem": File(pair.cert),
        f"{SSL}/kubernetes-key.pem": File(pair.key, 0o600),
    }


def etcd_unit(lab: DockerLab, node: Node) -> File:
    """The unit file of the node's member."""
    members = [f"{one.member_name}=https://{one.address}:{PEER_PORT}" for one in lab.having("etcd")]
    text = render(
        "lab/docker/etcd.service",
        name=node.member_name,
        address=node.address,
        data_dir=lab.data_dir,
        wal_dir=lab.wal_dir,
        ssl=SSL,
        token="etcd-cluster-0",
        initial_cluster=",".join(members),
    )
    return File(text.encode())


def _install(lab: DockerLab, machine: Machine, authority: Authority) -> None:
    node = machine.node
    if node.has("spare"):
        return
    files = certificates(pki.pair(lab, "kubernetes"), authority)
    if node.has("etcd"):
        files[f"{UNITS}/etcd.service"] = etcd_unit(lab, node)
    if node.has("control_plane"):
        command = _APISERVER_STAND_IN.format(address=node.address)
        files["/srv/kube-apiserver-stand-in/readyz"] = File(b"ok (a stand-in)\n")
        files[f"{UNITS}/kube-apiserver-stand-in.service"] = _program("apiserver", command)
    if node.has("worker"):
        files[f"{UNITS}/kubelet-stand-in.service"] = _program("kubelet", _KUBELET_STAND_IN)
    machine.put(files)
    units = [unit for part in _parts(node) for unit in _units(lab)[part]]
    folders = [lab.data_dir, *([lab.wal_dir] if lab.wal_dir else [])]
    # --no-block: a member alone would wait for its quorum.
    machine.sh(
        f"mkdir -p -m 700 {shlex.join(folders)} && systemctl daemon-reload"
        f" && systemctl enable --quiet --now --no-block {shlex.join(units)}"
    )


def _program(what: str, command: str) -> File:
    text = render("lab/docker/program.service", description=f"stand-in: {what}", command=command)
    return File(text.encode())


def _parts(node: Node) -> list[Part]:
    parts: list[Part] = []
    if node.has("etcd"):
        parts.append("etcd")
    if node.has("control_plane"):
        parts += ["apiserver", "controllers"]
    if node.has("worker"):
        parts.append("kubelet")
    return parts


def _units(lab: DockerLab) -> dict[Part, list[str]]:
    if lab.shape.kubernetes:
        return {
            "etcd": ["etcd"],
            "apiserver": ["kube-apiserver"],
            "controllers": ["kube-controller-manager", "kube-scheduler"],
            "kubelet": ["kubelet"],
        }
    return {
        "etcd": ["etcd"],
        "apiserver": ["kube-apiserver-stand-in"],
        "controllers": [],
        "kubelet": ["kubelet-stand-in"],
    }
