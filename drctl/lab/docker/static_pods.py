"""The flavour `static-pod`: etcd and the control plane as a kubelet runs them, laid out by kubeadm.

A real kubelet with containerd on every machine; certificates, kubeconfigs and manifests come from
kubeadm's own phases, run on the machines themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from drctl.lab.binaries import TOOLS
from drctl.lab.docker import kubernetes
from drctl.lab.docker.answers import etcd_answers
from drctl.lab.docker.kubeadm import Kubeadm
from drctl.lab.docker.layout import DockerLab, Node
from drctl.lab.docker.machine import Machine
from drctl.lab.labs import Say
from drctl.lab.site import Component, Flavour
from drctl.lab.waiting import until
from drctl.render import render

READY_SECONDS = 240.0
MANIFESTS = "/etc/kubernetes/manifests"
# Manifest -> what the kernel calls the process: at most 15 letters.
_PODS: Mapping[Component, Sequence[tuple[str, str]]] = {
    "etcd": [("etcd", "etcd")],
    "apiserver": [("kube-apiserver", "kube-apiserver")],
    "controllers": [
        ("kube-controller-manager", "kube-controller"),
        ("kube-scheduler", "kube-scheduler"),
    ],
}
_KUBELET = {
    "start": "systemctl start --no-block kubelet",
    "stop": "systemctl stop kubelet",
    "kill": "systemctl kill --kill-who=main -s KILL kubelet",
}


class StaticPods:
    """A kubelet on every machine; etcd and the control plane are its static pods."""

    name: Flavour = "static-pod"
    needs = kubernetes.WITH_KUBELET
    needs_kubernetes = True
    member_name = "{host}"

    def programs(self, lab: DockerLab) -> Mapping[str, Path]:
        """kubelet and kubeadm. Everything else comes in images, unless etcd's tools are wanted on
        the machines."""
        folder = Path(lab.shape.kubernetes or "")
        programs = {name: folder / name for name in ("kubelet", "kubeadm")}
        if lab.shape.etcd_tools == "host":
            programs |= {tool: Path(lab.tools) / tool for tool in TOOLS}
        return programs

    def start(self, lab: DockerLab, machines: Mapping[str, Machine], say: Say) -> None:
        """Images, certificates, manifests, kubelets; then wait for etcd, apiservers and nodes."""
        programs = kubernetes.given(Path(lab.shape.kubernetes or ""), self.needs)
        cluster = Kubeadm(lab, machines, programs)
        cluster.install(say)
        for node in lab.having("etcd"):
            until(partial(etcd_answers, lab, node), READY_SECONDS, f"{node.name}: etcd")
        say("etcd is healthy")
        for machine in machines.values():
            if not machine.node.has("spare"):
                until(partial(cluster.registered, machine), READY_SECONDS, f"{machine.name}: node")
        say("all apiservers answer, and all nodes are ready")

    def control(self, lab: DockerLab, verb: str, part: Component) -> str:
        """By the manifests; the kubelet is a unit."""
        if part == "kubelet":
            return _KUBELET[verb]
        pods = _PODS[part]
        return render("lab/docker/static-pod/control.sh", verb=verb, pods=pods, manifests=MANIFESTS)

    def services(self, lab: DockerLab, node: Node) -> list[str]:
        """The kubelet, and the pods by their manifests' names."""
        if node.has("spare"):
            return []
        pods = [pod for part in _PODS.values() for pod, _ in part]
        return [*(pods if node.has("control_plane") else []), "kubelet"]

    def inventory(self, lab: DockerLab) -> dict[str, Any]:
        """kubeadm's layout as it is, and where etcd's tools are."""
        tools = {
            "image": {"tools": "image"},
            "host": {"tools": "host"},
            "upload": {"tools": "image", "etcdutl": str(Path(lab.tools) / "etcdutl")},
        }
        return {
            "layout": "kubeadm",
            "etcd": tools[lab.shape.etcd_tools],
            "kubernetes": {},
            "services": {"dependents": None},
        }
