"""What newer Kubernetes does otherwise than 1.20.2, which is all that can be built here.

An imitation answers as 1.36.3 was recorded to (`newer_apiserver_stand_in`); programs that only
print that version's `--help` stand for the real ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml

from drctl.drill import kubeworld
from drctl.errors import InvalidInput
from drctl.lab import flags, probe
from drctl.lab.docker.kubeadm import Api
from drctl.lab.kubeapi import KubeApi, KubeError
from drctl.render import render
from tests.lab.newer_apiserver_stand_in import NewerApiserver, newer_apiserver

RECORDED = Path(__file__).parents[1] / "recorded" / "kubernetes-1.36.3-flags.txt"
UNITS = {
    "kube-apiserver": "systemd/kube-apiserver.service",
    "kube-controller-manager": "systemd/kube-controller-manager.service",
    "kube-scheduler": "systemd/kube-scheduler.service",
    "kubelet": "systemd/kubelet.service",
    "kubelet as kubeadm has it": "static-pod/kubelet.service",
}
WIDGETS = "/apis/drill.example/v1/namespaces/drill/widgets"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited, and is not."""
    waited: list[float] = []
    monkeypatch.setattr("drctl.lab.again.time.sleep", waited.append)
    return waited


def test_a_newer_apiserver_that_says_again_soon_is_asked_again_when_it_said(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=2) as server, _api(server) as api:
        made = api.create(WIDGETS, {"metadata": {"name": "w0"}})
        assert made["metadata"]["name"] == "made"
        assert api.items(WIDGETS) == []
    assert server.asked == {f"POST {WIDGETS}": 3, f"GET {WIDGETS}": 3}
    assert pauses == [1.0] * 4


def test_patience_with_a_newer_apiserver_ends(tmp_path: Path, pauses: list[float]) -> None:
    with (
        newer_apiserver(tmp_path, not_yet=1000) as server,
        _api(server, patience=0.5) as api,
        pytest.raises(KubeError, match=r"429: storage is \(re\)initializing") as caught,
    ):
        api.get(WIDGETS)
    assert caught.value.status == 429
    assert pauses == []  # a whole second would have been too late


@pytest.mark.parametrize(
    ("told", "pause"), [("0", 0.1), ("3", 3.0), ("Sun, 29 Nov 2026 00:00:00 GMT", 1.0)]
)
def test_what_retry_after_may_say(
    tmp_path: Path, pauses: list[float], told: str, pause: float
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server, _api(server) as api:
        server.retry_after = told
        api.get(WIDGETS)
    assert pauses == [pause]


def test_too_many_requests_without_a_word_of_when_is_an_answer(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server, _api(server) as api:
        server.retry_after = None
        with pytest.raises(KubeError, match="429"):
            api.get(WIDGETS)
    assert pauses == []


def test_the_labs_probe_waits_for_a_newer_apiserver_too(
    tmp_path: Path, pauses: list[float]
) -> None:
    with newer_apiserver(tmp_path, not_yet=1) as server:
        ca = str(server.access.ca)
        assert probe.fetch(f"{server.url}/readyz", ca)
        assert pauses == [1.0]
        server.asked.clear()
        with pytest.raises(HTTPError, match="429"):
            probe.fetch(f"{server.url}/readyz", ca, timeout=0.9)


def test_the_lease_that_a_newer_apiserver_makes_anew_is_not_missed(tmp_path: Path) -> None:
    with newer_apiserver(tmp_path) as server, _api(server) as api:
        before = kubeworld.look(api)
        server.restart()
        assert before.missing_from(kubeworld.look(api)) == []
        server.kept.clear()
        assert before.missing_from(kubeworld.look(api)) == [
            ("leases.coordination.k8s.io", "kube-system", "user-lease")
        ]


@pytest.mark.parametrize("what", UNITS)
def test_a_unit_names_only_flags_that_the_newer_program_lists(tmp_path: Path, what: str) -> None:
    name = what.partition(" ")[0]
    program = _program_of_1_36(tmp_path, name)
    values = dict.fromkeys(("address", "ssl", "etcd_servers", "encryption", "service_range"), "x")
    written = render(f"lab/docker/{UNITS[what]}", name="node-1", **values)
    unit = flags.fitted(written, program)
    named = re.findall(r"^  --([a-z0-9-]+)", unit, re.MULTILINE)
    assert set(named) <= flags.known(program)
    assert {"config", "kubeconfig"} & set(named) or name == "kube-apiserver"
    assert unit.count("\n\n") == 2  # three sections, each whole
    gone = set(re.findall(r"^  --([a-z0-9-]+)", written, re.MULTILINE)) - set(named)
    assert gone <= {"container-runtime", "pod-infra-container-image"}
    assert bool(gone) == (name == "kubelet")


def test_a_program_that_lists_no_flags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="kubelet --help names no flags"):
        flags.known(_program(tmp_path / "kubelet", "echo 'for --help see elsewhere'"))


@pytest.mark.parametrize(
    ("version", "socket", "arguments"),
    [
        ("v1beta2", "/var/run/dockershim.sock", {"wal-dir": "/w"}),
        ("v1beta4", "unix:///var/run/containerd.sock", [{"name": "wal-dir", "value": "/w"}]),
    ],
)
def test_kubeadm_is_told_in_the_format_that_it_writes_itself(
    tmp_path: Path, version: str, socket: str, arguments: object
) -> None:
    said = f"apiVersion: kubeadm.k8s.io/{version}\nnodeRegistration:\n  criSocket: {socket}"
    kubeadm = f'[ "$*" = "config print init-defaults" ] && echo "{said}"'
    api = Api.of(_program(tmp_path / "kubeadm", kubeadm))
    assert api.arguments({"wal-dir": "/w", "left-out": None}) == arguments
    values = dict.fromkeys(
        ("release", "name", "address", "apiservers", "cluster", "encryption", "data_dir"), "x"
    )
    more = {"endpoint": None, "wal_dir": "/w", "etcd_tag": "t", "initial_cluster": "a=https://b:1"}
    text = render("lab/docker/static-pod/kubeadm.yaml", api=api, **values, **more)
    init, cluster = yaml.safe_load_all(text)
    assert {init["apiVersion"], cluster["apiVersion"]} == {f"kubeadm.k8s.io/{version}"}
    scheme = "unix://" if "unix" in socket else ""
    found = init["nodeRegistration"]["criSocket"]
    assert found == f"{scheme}/run/containerd/containerd.sock"
    extra = cluster["etcd"]["local"]["extraArgs"]
    assert len(extra) == 3 and isinstance(extra, type(arguments))


def _program_of_1_36(folder: Path, name: str) -> Path:
    """It lists the flags that were recorded, and does nothing else: an imitation."""
    recorded = RECORDED.read_text().partition(f"[{name}]\n")[2].partition("\n\n")[0].split()
    lines = "\n".join(f"      {flag} string   of this program" for flag in recorded)
    return _program(folder / name, f"cat <<'EOF'\n{lines}\nEOF")


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _api(server: NewerApiserver, patience: float = 30.0) -> KubeApi:
    return KubeApi(server.url, server.access, patience=patience)
