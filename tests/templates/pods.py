"""A node whose services are static pods, and a stand-in for its kubelet.

The stand-in reacts to the manifests folder as a kubelet does (measured with kubelet 1.20): every
file without a leading dot is a pod, a pod's identity is a digest of its manifest, an identity that
ran before is logged as one that had to wait (back-off), and once a pod may come back by itself just
after its manifest has gone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.templates.node import Node
from tests.templates.shells import Shell

_INVENTORY = """
cluster: t
layout: none
defaults: {{user: u, become: none, work_dir: {root}/work}}
hosts: {{m1: {{address: 127.0.83.9}}}}
groups: {{etcd: [m1], control_plane: [m1]}}
etcd:
  bin_dir: {root}/bin
  data_dir: {root}/lib/etcd
  peer_url: "http://{{address}}:2380"
  client_url: "http://{{address}}:2379"
services:
  etcd: {{hosts: etcd, units: [{etcd}]}}
  apiserver: {{hosts: control_plane, units: [{one}, {two}]}}
  kubelet: {{hosts: control_plane, units: [{one}]}}
  controllers: null
service_manager: static-pod
kubernetes: {{manifests: {root}/manifests}}
options: {{settle_seconds: {settle}}}
"""
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
  annotations:
    some.one/else: "yes"
  creationTimestamp: null
  labels:
    component: {unit}
    name: not-the-name
  name: {unit}
  namespace: kube-system
spec:
  containers:
  - command:
    - {program}
    - "1000"
    image: nobody.local/etcd:9
    name: {unit}
  hostNetwork: true
status: {{}}
"""
_KUBELET = """#!{python} -Su
import hashlib, os, re, signal, subprocess, sys, time
root = {root!r}
folder, running, ran = root + "/manifests", {{}}, set()
def log(what):
    with open(root + "/kubelet.log", "a") as file:
        file.write(what + "\\n")
def start(name, text, identity):
    if identity in ran:
        log("back-off " + name)
    ran.add(identity)
    program = re.search(r"command:\\n *- (\\S+)", text)[1]
    running[identity] = subprocess.Popen([program, "1000"], executable=root + "/bin/" + program)
    log("start " + name)
def stop(identity):
    process = running.pop(identity)
    process.terminate()
    process.wait()
def end(*_):
    for process in running.values():
        process.kill()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    wanted = {{}}
    for name in sorted(os.listdir(folder)):
        if not name.startswith("."):
            try:
                text = open(folder + "/" + name).read()
            except FileNotFoundError:
                continue
            wanted[hashlib.md5(text.encode()).hexdigest()] = (name, text)
    for identity in [each for each in running if each not in wanted]:
        stop(identity)
        if os.path.exists(root + "/comes-back"):
            program = open(root + "/comes-back").read()
            os.remove(root + "/comes-back")
            time.sleep(0.4)
            again = subprocess.Popen([program, "1"], executable=root + "/bin/" + program)
            again.wait()
            log("came back")
    for identity, (name, text) in wanted.items():
        if identity not in running:
            start(name, text, identity)
    time.sleep(0.02)
"""


class PodNode(Node):
    """`etcd`, `one` and `two` are the units' names, which nothing else on this machine has."""

    def __init__(self, root: Path, shell: Shell, *, settle: float = 0.5) -> None:
        super().__init__(root, shell)
        tag = secrets.token_hex(3)
        self.etcd, self.one, self.two = (f"{name}-{tag}" for name in ("etcd", "one", "two"))
        names = {"etcd": self.etcd, "one": self.one, "two": self.two}
        self.file.write_text(_INVENTORY.format(root=root, settle=settle, **names))
        self.manifests = root / "manifests"
        self.manifests.mkdir()
        sleep = shutil.which("sleep", path="/usr/bin:/bin")
        assert sleep
        for unit in names.values():
            shutil.copy(sleep, root / "bin" / unit)
            self.write(unit)
        self._kubelet: subprocess.Popen[bytes] | None = None

    def write(self, unit: str, name: str = "", more: str = "") -> Path:
        """A manifest of the unit, written in one go as kubeadm does."""
        path = self.manifests / (name or f"{unit}.yaml")
        hidden = self.manifests / f".{path.name}.new"
        hidden.write_text(MANIFEST.format(unit=unit, program=unit) + more)
        hidden.chmod(0o600)
        hidden.rename(path)
        return path

    def kubelet(self) -> None:
        """Start the stand-in and wait for its pods."""
        program = self.root / "bin" / "kubelet"
        program.write_text(_KUBELET.format(python=sys.executable, root=str(self.root)))
        program.chmod(0o755)
        self._kubelet = subprocess.Popen([str(program)])
        self.wait_for(lambda: len(self.log()) == len(list(self.manifests.glob("[!.]*"))))

    def close(self) -> None:
        if self._kubelet and self._kubelet.poll() is None:
            self._kubelet.send_signal(signal.SIGTERM)
            self._kubelet.wait(10)
        for unit in (self.etcd, self.one, self.two):
            for pid in self.pids(unit):
                os.kill(int(pid), signal.SIGKILL)

    def pids(self, unit: str) -> list[str]:
        """Every process whose program is the unit's."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if path.read_bytes().split(b"\0")[0].decode() == unit:
                    found.append(path.parent.name)
            except OSError:
                continue
        return found

    def log(self) -> list[str]:
        file = self.root / "kubelet.log"
        return file.read_text().splitlines() if file.exists() else []

    def wait_for(self, condition: Callable[[], object], seconds: float = 20) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, self.log()
            time.sleep(0.02)

    def visible(self) -> set[str]:
        """What the kubelet sees."""
        return {path.name for path in self.manifests.iterdir() if not path.name.startswith(".")}
