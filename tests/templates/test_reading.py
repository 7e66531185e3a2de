"""node/reading on a machine: real processes, real files, and nothing secret in the answer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drctl.answer import parse
from drctl.inventory import load_inventory
from drctl.plan.planner import host_context
from drctl.reading import Reading, read_evidence, read_host
from drctl.render import render
from tests.templates.shells import Shell

INVENTORY = """
cluster: t
layout: none
defaults: {{user: u, become: none, work_dir: {root}/work}}
hosts: {{m1: {{address: {address}}}}}
groups: {{etcd: [m1]}}
etcd:
  data_dir: {root}/link
  bin_dir: {root}
  peer_url: "http://{{address}}:2380"
  client_url: "http://{{address}}:{port}"
kubernetes: {{manifests: {root}/manifests}}
"""
SECRET = "hunter2"
MANIFEST = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: etcd}}
spec:
  containers:
  - name: etcd
    command: [etcd, --name=a, --data-dir=/inside]
    env:
    - name: PASSWORD
      value: {SECRET}
    - {{name: TOKEN, value: {SECRET}}}
    - name: BLOCK
      value: |
        {SECRET}
    - name: ETCD_QUOTA_BACKEND_BYTES
      value: "4711"
    volumeMounts:
    - {{mountPath: /inside, name: d}}
  volumes:
  - {{name: d, hostPath: {{path: /outside}}}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("work", "manifests", "data/member/snap"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    return tmp_path


@pytest.fixture
def running(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that the kernel calls etcd, with etcd's database open: a shell under that name."""
    (root / "data/member/snap/db").write_text("")
    program = root / "etcd"
    shutil.copy("/bin/bash", program)
    script = f"exec 7<{root}/data/member/snap/db; read line"
    (root / "config.yml").write_text(
        f"root:{SECRET}:19000:\nname: b  # mine\npassword: {SECRET}\n  data-dir: /x\n"
    )
    env = {"ETCD_NAME": "a", "PASSWORD": SECRET, "ETCDISH": SECRET}
    env["ETCD_CONFIG_FILE"] = f"{root}/config.yml"
    with subprocess.Popen([program, "-c", script], env=env, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def look(
    shell: Shell, root: Path, address: str = "10.231.7.9", port: int = 2379
) -> tuple[str, Reading]:
    file = root / "inventory.yaml"
    file.write_text(INVENTORY.format(root=root, address=address, port=port))
    script = render("node/reading.sh", **host_context(load_inventory(file), "m1"))
    ran = shell.stdin(script, {"DRCTL_RUN": "r", "DRCTL_WORK": f"{root}/work", "DRCTL_HOST": "m1"})
    assert ran.status == 0, ran
    return ran.out, read_host(read_evidence(parse(ran.out, "m1")))


def test_a_process_is_known_by_what_it_has_open(
    shell: Shell, root: Path, running: subprocess.Popen[bytes]
) -> None:
    said, reading = look(shell, root)
    (etcd,) = [p for p in reading.running if p.process and p.process.pid == running.pid]
    assert etcd.data_dir.value == f"{root}/data"
    assert etcd.data_dir.where == f"open in process {running.pid}"
    assert etcd.process and etcd.process.config == "name: b  # mine\n  data-dir: /x\n"
    assert reading.evidence.real["data_dir"] == f"{root}/data", "the inventory names a symlink"
    assert set(etcd.process.environment) == {"ETCD_NAME", "ETCD_CONFIG_FILE"}
    _nothing_secret(said)


def test_nobody_elses_kubelet_names_a_folder(shell: Shell, root: Path) -> None:
    """Anybody may call a program so; what lies in the folder that it names stays there."""
    if os.geteuid():
        pytest.skip("needs root: a process of another user")
    program = root / "kubelet"
    shutil.copy("/bin/bash", program)
    folder = root / "theirs"
    folder.mkdir()
    (folder / "x.yaml").write_text(MANIFEST)
    for path in (root, program, *root.parents[:-2]):
        path.chmod(0o755)
    argv = [str(program), "-c", "read line", f"--pod-manifest-path={folder}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, user=65534, env={}) as process:
        try:
            _, reading = look(shell, root)
        finally:
            process.kill()
    assert not [path for path in reading.evidence.manifests if path.startswith(str(folder))]


def test_hosts_that_share_a_machine_see_their_own(
    shell: Shell, root: Path, running: subprocess.Popen[bytes]
) -> None:
    """A lab's hosts have loopback addresses; this process listens at none of them."""
    _, reading = look(shell, root, address="127.9.9.9")
    assert running.pid not in {p.process.pid for p in reading.running if p.process}


def test_a_kubelet_of_another_host_spoils_nothing(shell: Shell, root: Path) -> None:
    """One that listens at no address of this host, as `kubelet --version` does for a moment."""
    program = root / "kubelet"
    shutil.copy("/bin/bash", program)
    with subprocess.Popen([program, "-c", "read line"], stdin=subprocess.PIPE, env={}) as process:
        try:
            said, reading = look(shell, root, address="127.9.9.9")
        finally:
            process.kill()
    assert f"p.{process.pid}." not in said and not reading.running


def test_apiservers_are_named_by_the_leases_in_etcd(shell: Shell, root: Path) -> None:
    program = root / "etcdctl"
    keys = "/registry/masterleases/10.0.0.7\n\n/registry/masterleases/$(id)\n/registry/x/10.0.0.8\n"
    program.write_text(f"#!/bin/sh\nprintf '{keys}'\necho \"$*\" >> {root}/asked\n")
    program.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        _, reading = look(shell, root, port=port)
    assert reading.evidence.leases == ("10.0.0.7",)
    assert "127.0.0.1" in reading.evidence.addresses
    asked = (root / "asked").read_text()
    assert "get /registry/masterleases/ --prefix --keys-only --limit=100" in asked
    (root / "asked").unlink()
    _, reading = look(shell, root, port=port)  # nobody listens: not asked
    assert reading.evidence.leases == () and not (root / "asked").exists()


def test_a_manifest_leaves_without_its_secrets(shell: Shell, root: Path) -> None:
    (root / "manifests/etcd.yaml").write_text(MANIFEST)
    (root / "manifests/.hidden.yaml").write_text(MANIFEST)
    said, reading = look(shell, root)
    (etcd,) = [p for p in reading.written if p.starter.name == f"{root}/manifests/etcd.yaml"]
    assert etcd.data_dir.value == "/outside"
    assert etcd.said("quota-backend-bytes").value == "4711"
    assert len(reading.evidence.manifests) == 1
    _nothing_secret(said)


def _nothing_secret(said: str) -> None:
    answer = parse(said, "m1")
    evidence = read_evidence(answer)
    shown = (said, repr(evidence.processes), repr(evidence.manifests), evidence.units)
    assert not any(SECRET in text for text in shown)
