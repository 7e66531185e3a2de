"""The static-pod lab's files and scripts, as far as no machine is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from drctl.lab.docker.kubeadm import Api
from drctl.render import render

MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
{annotations}  creationTimestamp: null
  name: kube-nothing
spec: {{}}
"""
OWN = '  annotations:\n    its.own: "1"\n'


def control(folder: Path, verb: str) -> None:
    # No process is called that: only the manifest is at stake.
    script = render(
        "lab/docker/static-pod/control.sh",
        verb=verb,
        manifests=folder / "manifests",
        pods=[("kube-nothing", "kube-nothing")],
    )
    subprocess.run(["sh", "-c", script], check=True, timeout=30)


@pytest.mark.parametrize("annotations", ["", OWN], ids=["bare", "annotated"])
def test_a_stopped_pod_starts_as_another_pod(tmp_path: Path, annotations: str) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    manifest = manifests / "kube-nothing.yaml"
    manifest.write_text(MANIFEST.format(annotations=annotations))
    seen = {manifest.read_text()}
    for _ in range(2):
        control(tmp_path, "stop")
        assert not list(manifests.iterdir())
        control(tmp_path, "start")
        assert list(manifests.iterdir()) == [manifest]
        metadata = parsed(manifest.read_text())["metadata"]
        own = {"its.own": "1"} if annotations else {}
        assert metadata["annotations"].items() >= own.items()
        assert len(metadata["annotations"]) == len(own) + 1
        assert metadata["name"] == "kube-nothing"
        seen.add(manifest.read_text())
    assert len(seen) == 3


def test_stopping_and_starting_twice_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/kube-nothing.yaml").write_text(MANIFEST.format(annotations=""))
    control(tmp_path, "stop")
    control(tmp_path, "stop")
    control(tmp_path, "start")
    text = (tmp_path / "manifests/kube-nothing.yaml").read_text()
    control(tmp_path, "start")
    assert (tmp_path / "manifests/kube-nothing.yaml").read_text() == text


@pytest.mark.parametrize(
    ("api", "socket"),
    [
        ("v1beta2", "/run/containerd/containerd.sock"),
        ("v1beta3", "unix:///run/containerd/containerd.sock"),
    ],
)
def test_kubeadm_is_told_in_the_format_that_it_writes(api: str, socket: str) -> None:
    text = render(
        "lab/docker/static-pod/kubeadm.yaml",
        api=Api(f"kubeadm.k8s.io/{api}", socket.partition("/run")[0]),
        release="v1.2.3",
        name="node-1",
        address="10.0.0.1",
        apiservers="apiserver.lab",
        endpoint=None,
        cluster="lab",
        encryption="/etc/kubernetes/encryption.yaml",
        data_dir="/var/lib/etcd",
        wal_dir="/var/lib/etcd-wal",
        etcd_tag="3.5.16-0",
        initial_cluster="node-1=https://10.0.0.1:2380",
    )
    init, cluster = (parsed(part) for part in text.split("---\n"))
    assert {init["apiVersion"], cluster["apiVersion"]} == {f"kubeadm.k8s.io/{api}"}
    assert init["nodeRegistration"]["criSocket"] == socket
    assert cluster["etcd"]["local"]["extraArgs"]["wal-dir"] == "/var/lib/etcd-wal"


def parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return found
