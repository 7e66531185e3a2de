"""A node whose services are static pods, and a stand-in for its kubelet.

The stand-in reacts to the manifests folder as a kubelet does (measured with kubelet 1.20): every
file without a leading dot is a pod, a pod's identity is a digest of its manifest, an identity that
ran before is logged as one that had to wait (back-off), and once a pod may come back by itself just
after its manifest has gone. Pods outlive it, and have a folder, which goes last. While the file
`deaf` exists it is one that has reached no apiserver since its start: it starts, and ends nothing.
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
from dataclasses import replace
from pathlib import Path

from drctl.plan.model import Task
from drctl.transport import Script
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
  kubelet: {{hosts: control_plane, units: [kubelet], manager: command}}
  controllers: null
service_manager: static-pod
commands:
  start: "{root}/ctl start"
  stop: "{root}/ctl stop"
  running: "{root}/ctl running"
  fence: "false"
  unfence: "false"
  fenced: "false"
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
import hashlib, os, re, shutil, signal, subprocess, sys, time
root = {root!r}
folder, pods, proc = root + "/manifests", sys.argv[1].split("=")[1] + "/pods", root + "/proc"
def log(what):
    with open(root + "/kubelet.log", "a") as file:
        file.write(what + "\\n")
def ignore():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def alive(pid):
    try:
        return open("/proc/%s/cmdline" % pid).read() != ""
    except OSError:
        return False
def of(identity):
    cgroups = ((pid, proc + "/" + pid + "/cgroup") for pid in os.listdir(proc))
    return [p for p, path in cgroups if identity in open(path).read() and alive(p)]
def run(identity, program, seconds):
    made = subprocess.Popen(
        [program, seconds],
        executable=root + "/bin/" + program,
        preexec_fn=ignore if os.path.exists(root + "/stubborn") else None,
    )
    os.makedirs(proc + "/" + str(made.pid), exist_ok=True)
    with open(proc + "/" + str(made.pid) + "/cgroup", "w") as file:
        scope = "/kubepods.slice/kubepods-pod" + identity + ".slice/cri-%s.scope" % made.pid
        file.write("0::" + scope + "\\n")
    return made
def start(name, text, identity):
    if identity in ran:
        log("back-off " + name)
    ran.add(identity)
    program = re.search(r"command:\\n *- (\\S+)", text)[1]
    unit = re.search(r"\\n  name: (\\S+)", text)[1]
    os.makedirs(pods + "/" + identity + "/containers/" + unit, exist_ok=True)
    run(identity, program, "1000")
    log("start " + name)
def stop(identity):
    for pid in of(identity):
        os.kill(int(pid), signal.SIGTERM)
    while of(identity):
        time.sleep(0.01)
    if os.path.exists(root + "/comes-back"):
        program = open(root + "/comes-back").read()
        os.remove(root + "/comes-back")
        time.sleep(0.4)
        run(identity, program, "1").wait()
        log("came back")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
os.makedirs(pods, exist_ok=True)
known, ran, removed = set(), set(), {{}}
lag = 4 if os.path.exists(root + "/slow") else 0.3
log("kubelet " + str(os.getpid()))
while True:
    wanted = {{}}
    for name in sorted(os.listdir(folder)):
        if not name.startswith("."):
            try:
                text = open(folder + "/" + name).read()
            except FileNotFoundError:
                continue
            wanted[hashlib.md5(text.encode()).hexdigest()] = (name, text)
    for identity, (name, text) in wanted.items():
        if identity not in known and not of(identity):
            start(name, text, identity)
        known.add(identity)
    if not os.path.exists(root + "/deaf"):
        for identity in known - set(wanted):
            stop(identity)
            known.discard(identity)
        for identity in set(os.listdir(pods)) - set(wanted):
            if time.time() - removed.setdefault(identity, time.time()) > lag:
                del removed[identity]
                shutil.rmtree(pods + "/" + identity)
    time.sleep(0.02)
"""
# The kubelet's own manager.
_CTL = """#!/bin/sh
case $1 in
  start) '{root}/bin/{name}' '--root-dir={root}/kubelet' </dev/null >/dev/null 2>&1 & ;;
  stop) kill "$(sed -n 's/^kubelet //p' '{root}/kubelet.log' | tail -n 1)" ;;
  running) kill -0 "$(sed -n 's/^kubelet //p' '{root}/kubelet.log' | tail -n 1)" 2>/dev/null ;;
esac
"""


class PodNode(Node):
    """`etcd`, `one` and `two` are the units' names, which nothing else on this machine has."""

    def __init__(self, root: Path, shell: Shell, *, settle: float = 0.5) -> None:
        super().__init__(root, shell)
        tag = secrets.token_hex(3)
        self.etcd, self.one, self.two = (f"{name}-{tag}" for name in ("etcd", "one", "two"))
        self.kubelet_name = f"kubelet-{tag}"
        self.patience = 3  # seconds
        names = {"etcd": self.etcd, "one": self.one, "two": self.two}
        self.file.write_text(_INVENTORY.format(root=root, settle=settle, **names))
        self.manifests = root / "manifests"
        self.manifests.mkdir()
        sleep = shutil.which("sleep", path="/usr/bin:/bin")
        assert sleep
        for unit in names.values():
            shutil.copy(sleep, root / "bin" / unit)
            self.write(unit)
        (root / "proc").mkdir()
        (root / "ctl").write_text(_CTL.format(root=root, name=self.kubelet_name))
        (root / "ctl").chmod(0o755)

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
        program = self.root / "bin" / self.kubelet_name
        program.write_text(_KUBELET.format(python=sys.executable, root=str(self.root)))
        program.chmod(0o755)
        self.ctl("start")
        pods = len(list(self.manifests.glob("[!.]*")))
        self.wait_for(lambda: len([one for one in self.log() if one.startswith("start ")]) == pods)

    def ctl(self, verb: str) -> None:
        """The kubelet's own manager."""
        subprocess.run([str(self.root / "ctl"), verb], check=True)

    @property
    def kubelets(self) -> list[str]:
        """Every kubelet that there was, by its process."""
        return [one.split()[1] for one in self.log() if one.startswith("kubelet ")]

    def deafen(self) -> None:
        """The kubelet is started anew, and from now on reaches no apiserver."""
        (self.root / "deaf").touch()
        before = len(self.kubelets)
        self.ctl("stop")
        self.wait_for(lambda: not Path("/proc", self.kubelets[-1], "fd").exists())
        self.ctl("start")
        self.wait_for(lambda: len(self.kubelets) > before)

    def own(self, body: str) -> str:
        """A script for this node: its kubelet is told from others by its name, its pods have no
        cgroups but those that it writes down, and it is waited for a shorter time."""
        for old, new in (
            ("processes kubelet)", f"processes {self.kubelet_name})"),
            ("cd /proc ", f"cd {self.root}/proc "),
            ("else echo 10;", f"else echo {self.patience};"),
            ("-ge 8 ]", "-ge 1 ]"),
            ("-lt 300 ]", "-lt 0 ]"),
        ):
            body = body.replace(old, new)
        return body

    def task(self, step: str) -> Task:
        task = super().task(step)
        assert task.observe and task.act
        observe, act = (Script(s.name, self.own(s.body)) for s in (task.observe, task.act))
        return replace(task, observe=observe, act=act)

    def close(self) -> None:
        if self.kubelets:
            subprocess.run([str(self.root / "ctl"), "stop"], check=False, capture_output=True)
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
