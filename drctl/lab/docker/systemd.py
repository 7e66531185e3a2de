"""The flavour `systemd`: binaries and units, laid out as kubeasz does it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from drctl.lab.binaries import TOOLS
from drctl.lab.certs import Authority
from drctl.lab.docker import kubeunits, pki, podimages
from drctl.lab.docker.answers import apiserver_answers, etcd_answers, node_is_ready
from drctl.lab.docker.kubeunits import UNITS
from drctl.lab.docker.layout import APISERVER_PORT, PEER_PORT, SSL, DockerLab, Node
from drctl.lab.docker.machine import File, Machine
from drctl.lab.labs import Say
from drctl.lab.site import Component, Flavour
from drctl.lab.waiting import until
from drctl.render import render

READY_SECONDS = 180.0
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
    needs = kubeunits.PROGRAMS
    needs_kubernetes = False
    member_name = "etcd-{address}"

    def programs(self, lab: DockerLab) -> Mapping[str, Path]:
        """etcd's tools, and Kubernetes's own."""
        programs = {tool: Path(lab.tools) / tool for tool in TOOLS}
        if lab.shape.kubernetes is not None:
            programs |= {name: Path(lab.shape.kubernetes) / name for name in kubeunits.PROGRAMS}
        return programs

    def start(self, lab: DockerLab, machines: Mapping[str, Machine], say: Say) -> None:
        """Certificates, etcd, then what stands in front of it."""
        authority = pki.make(lab)
        if lab.shape.kubernetes:
            kubeunits.issue(lab, authority)
            workers = [machines[node.name] for node in lab.having("worker")]
            if workers:
                podimages.give(podimages.pause(workers[0], say), workers)
        cluster = [node for node in lab.nodes if not node.has("spare")]
        with ThreadPoolExecutor(len(cluster)) as pool:
            list(pool.map(lambda node: _install(lab, machines[node.name], authority), cluster))
        for node in lab.having("etcd"):
            until(partial(etcd_answers, lab, node), READY_SECONDS, f"{node.name}: etcd")
        say("etcd is healthy")
        if lab.admin:
            for node in lab.having("control_plane"):
                ready = partial(apiserver_answers, lab, node)
                until(ready, READY_SECONDS, f"{node.name}: kube-apiserver")
            for node in lab.having("worker"):
                until(partial(node_is_ready, lab, node), READY_SECONDS, f"{node.name}: kubelet")
            say("every kube-apiserver is ready, and so is every node")

    def control(self, lab: DockerLab, verb: str, part: Component) -> str:
        """`systemctl` on the part's units."""
        units = _units(lab)[part]
        return _VERBS[verb].format(units=shlex.join(units)) if units else ":"

    def services(self, lab: DockerLab, node: Node) -> list[str]:
        """The units."""
        return [unit for part in _parts(node) for unit in _units(lab)[part]]

    def inventory(self, lab: DockerLab) -> dict[str, Any]:
        """The layout's services where they differ: no kube-proxy, or stand-ins."""
        units = _units(lab)
        services: dict[str, Any] = {"kubelet": None, "dependents": None}
        if lab.having("worker"):
            services["kubelet"] = {"hosts": ["workers"], "units": units["kubelet"]}
        if not lab.shape.kubernetes:
            services |= {
                "apiserver": {
                    "hosts": ["control_plane"],
                    "units": units["apiserver"],
                    "ports": [APISERVER_PORT],
                    "start": "first-alone",
                    "ready": f"curl -fs --max-time 5 http://{{address}}:{APISERVER_PORT}/readyz",
                },
                "controllers": None,
            }
        admin = {"cert": f"{SSL}/admin.pem", "key": f"{SSL}/admin-key.pem"} if lab.admin else {}
        return {"layout": "kubeasz", "etcd": {}, "kubernetes": admin, "services": services}


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
    machine.put(_files(lab, node, authority))
    folders = [lab.data_dir, *([lab.wal_dir] if lab.wal_dir else [])] if node.has("etcd") else []
    units = [unit for part in _parts(node) for unit in _units(lab)[part]]
    if folders:
        machine.sh(f"mkdir -p -m 700 {shlex.join(folders)}")
    # --no-block: a member alone would wait for its quorum.
    machine.sh(
        f"systemctl daemon-reload && systemctl enable --quiet --now --no-block {shlex.join(units)}"
    )


def _files(lab: DockerLab, node: Node, authority: Authority) -> dict[str, File]:
    files: dict[str, File] = {}
    if node.has("etcd"):
        files[f"{SSL}/ca.pem"] = File(authority.pair.cert)
        files |= kubeunits.pair_files("kubernetes", pki.pair(lab, "kubernetes"))
        files[f"{UNITS}/etcd.service"] = etcd_unit(lab, node)
    if lab.shape.kubernetes:
        if node.has("control_plane"):
            files |= kubeunits.control_plane_files(lab, node)
        if node.has("worker"):
            files |= kubeunits.worker_files(lab, node, authority)
    else:
        files |= _stand_ins(node)
    return files


def _stand_ins(node: Node) -> dict[str, File]:
    files: dict[str, File] = {}
    if node.has("control_plane"):
        command = _APISERVER_STAND_IN.format(address=node.address)
        files["/srv/kube-apiserver-stand-in/readyz"] = File(b"ok (a stand-in)\n")
        files[f"{UNITS}/kube-apiserver-stand-in.service"] = _stand_in("apiserver", command)
    if node.has("worker"):
        files[f"{UNITS}/kubelet-stand-in.service"] = _stand_in("kubelet", _KUBELET_STAND_IN)
    return files


def _stand_in(what: str, command: str) -> File:
    text = render("lab/docker/program.service", description=f"stand-in: {what}", command=command)
    return File(text.encode())


def _parts(node: Node) -> list[Component]:
    parts: list[Component] = []
    if node.has("etcd"):
        parts.append("etcd")
    if node.has("control_plane"):
        parts += ["apiserver", "controllers"]
    if node.has("worker"):
        parts.append("kubelet")
    return parts


def _units(lab: DockerLab) -> dict[Component, list[str]]:
    if lab.shape.kubernetes:
        return {
            "etcd": ["etcd"],
            "apiserver": ["kube-apiserver"],
            "controllers": list(kubeunits.CONTROLLERS),
            "kubelet": ["kubelet"],
        }
    return {
        "etcd": ["etcd"],
        "apiserver": ["kube-apiserver-stand-in"],
        "controllers": [],
        "kubelet": ["kubelet-stand-in"],
    }
