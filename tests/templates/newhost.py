"""A new host in a folder: the scripts that a restore has for it, and a systemd made of files."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drctl.inventory import load_inventory
from drctl.plan.model import Plan, Task
from drctl.plan.planner import Planner
from drctl.plan.runbook import load_runbook
from tests.templates.shells import Ran, Shell

HOST, RUN = "m1", "r1"
FILES = {
    "etcd": "755",
    "etcdctl": "755",
    "etcdutl": "755",
    "ca": "644",
    "cert": "644",
    "key": "600",
}
_INVENTORY = """
cluster: t
layout: none
defaults: {{user: u, become: none, work_dir: {root}/work}}
hosts: {{m1: {{address: 127.0.83.1}}}}
groups: {{etcd: [m1], control_plane: []}}
etcd:
  bin_dir: {root}/opt/etcd/bin
  data_dir: {root}/lib/etcd
  wal_dir: {wal}
  owner: {owner}
  tls: {{ca: {root}/pki/ca.pem, cert: {root}/pki/c.pem, key: {root}/pki/k.pem}}
prepare:
  binaries: ./binaries
  certificates: {{ca: ./ca, cert: ./cert, key: ./key}}
  flags: {{heartbeat-interval: 200}}
services: {{etcd: {{hosts: etcd, units: [etcd]}}}}
"""
# The stub's state is files: up/UNIT runs or, with a word in it, is in that state; enabled/UNIT; log
# has every change. A start without a WAL makes one, where the drop-in for a new cluster is there.
_SYSTEMCTL = """#!/bin/sh
cd '{root}/svc' || exit 1
unit=; for word; do unit=${{word%.service}}; done
case $1 in
  show)
    case "$*" in
      *ActiveState*)
        state=inactive
        if [ -e "up/$unit" ]; then state=$(cat "up/$unit"); fi
        echo "ActiveState=${{state:-active}}" ;;
      *FragmentPath*) cat "fragment" 2>/dev/null || echo FragmentPath= ;;
      *DropInPaths*) cat "drop-ins" 2>/dev/null || echo DropInPaths= ;;
    esac ;;
  start)
    echo "start $unit" >> log
    member='{root}/lib/etcd/member' wal='{wal}'
    [ "$wal" != null ] || wal=$member/wal
    new='{root}/run/etcd.service.d/zz-drctl-blank.conf'
    if [ -e "$new" ]; then
      /bin/mkdir -p "$member/snap" "$wal" && : > "$wal/0.wal" && cp "$new" started-with
    fi
    : > "up/$unit" ;;
  stop) /bin/rm -f "up/$unit"; echo "stop $unit" >> log ;;
  enable) : > "enabled/$unit"; echo "enable $unit" >> log ;;
  disable) /bin/rm -f "enabled/$unit"; echo "disable $unit" >> log ;;
  is-enabled) if [ -e "enabled/$unit" ]; then echo enabled; else echo disabled; exit 1; fi ;;
  daemon-reload)
    echo reload >> log
    new=$(ls '{root}/run/etcd.service.d/'*.conf 2>/dev/null)
    echo "DropInPaths=$new" > drop-ins ;;
  reset-failed) ;;
  *) echo "stub: $*" >&2; exit 99 ;;
esac
"""


class NewHost:
    """`observe` and `act` run a planned step's own scripts, as the engine has them run."""

    def __init__(
        self, root: Path, shell: Shell, *, wal: bool = False, owner: str | None = None
    ) -> None:
        self.root, self.shell = root, shell
        for folder in ("svc/up", "svc/enabled", "lib", "wal", "work/r1", "units"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.wal_dir = f"{root}/wal/w" if wal else "null"
        stub = shell.bin / "systemctl"
        stub.unlink(missing_ok=True)
        stub.write_text(_SYSTEMCTL.format(root=root, wal=self.wal_dir))
        stub.chmod(0o755)
        self.owner = owner or pwd.getpwuid(os.getuid()).pw_name
        self.data = root / "lib/etcd"
        self.unit = root / "units/etcd.service"
        self.values = {"start_blank": "yes", "blank_token": "t-r1-blank"}
        self.values |= {"stage": f"{self.data}.drctl", "wal_stage": f"{self.wal_dir}.drctl"}
        self.content = {name: f"the {name}\n" for name in FILES}
        self.plan = self._plan()

    def _plan(self) -> Plan:
        path = self.root / "inventory.yaml"
        path.write_text(_INVENTORY.format(root=self.root, wal=self.wal_dir, owner=self.owner))
        inventory = load_inventory(path)
        member = inventory.member(HOST)
        files = [
            {
                "name": name,
                "source": f"/operator/{name}",
                "path": getattr(member, name, None) or f"{member.bin_dir}/{name}",
                "mode": mode,
                "owner": self.owner if name == "key" else "",
                "sha256": hashlib.sha256(self.content[name].encode()).hexdigest(),
            }
            for name, mode in FILES.items()
        ]
        host = {
            "files": files,
            "unit": str(self.unit),
            "listen_peer_urls": ["https://127.0.83.1:2380"],
            "listen_client_urls": ["https://127.0.83.1:2379"],
        }
        prepare = {"hosts": {HOST: host}, "arch": "", "flags": {"heartbeat-interval": "200"}}
        self.paths = {file["name"]: Path(file["path"]) for file in files} | {"unit": self.unit}
        facts: dict[str, Any] = {"snapshot": {"sha256": "0" * 64}, "prepare": prepare}
        book = load_runbook("restore")
        judges = frozenset(name for step in book.steps for name in step.judge)
        return Planner(inventory, facts=facts, judges=judges).plan(book)

    def task(self, step: str) -> Task:
        task = self.plan.step(step.removeprefix("undo ")).tasks[HOST]
        undo = step.startswith("undo ")
        assert not undo or task.undo
        return task.undo if undo and task.undo else task

    def env(self, task: Task, seen: Mapping[str, str]) -> dict[str, str]:
        env = {"DRCTL_RUN": RUN, "DRCTL_WORK": f"{self.root}/work", "DRCTL_HOST": HOST}
        for variable, source in task.env.items():
            kind, _, name = source.partition(" ")
            env[variable] = seen.get(name, "") if kind == "seen" else self.values[name]
        return env

    def _here(self, body: str) -> str:
        return body.replace("/run/systemd/system/", f"{self.root}/run/").replace(
            "left=1200", "left=20"
        )

    def observe(self, step: str, seen: Mapping[str, str] | None = None) -> dict[str, str]:
        task = self.task(step)
        assert task.observe
        ran = self.shell.stdin(self._here(task.observe.body), self.env(task, seen or {}))
        assert ran.status == 0, ran
        return ran.fields

    def state(self, step: str) -> str:
        return self.observe(step)["state"]

    def act(self, step: str) -> Ran:
        task = self.task(step)
        assert task.act
        return self.shell.body(self._here(task.act.body), self.env(task, {}))

    def killed(self, step: str, when: str) -> bool:
        """Act, and die at `when`; False where the script ended before that."""
        self.shell.die(when)
        ran = self.act(step)
        self.shell.die(None)
        assert ran.status in (0, -9), ran
        return ran.status == -9

    def forget(self) -> None:
        """As if no run had ever come here."""
        for folder in ("work/r1", "run", "svc", "lib/etcd.drctl", "wal/w.drctl"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        for folder in ("svc/up", "svc/enabled", "work/r1"):
            (self.root / folder).mkdir(parents=True)

    def send(self) -> None:
        """What the engine uploads: every file that the observation gives a place for."""
        for name, target in self.observe("install").items():
            if name.startswith("target_"):
                path = Path(target)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                file = name.removeprefix("target_")
                if file != "unit":
                    path.write_text(self.content[file])
                    path.chmod(0o600)

    def install(self) -> None:
        self.send()
        ran = self.act("install")
        assert ran.status == 0, ran
        assert self.state("install") == "after"

    def log(self) -> list[str]:
        path = self.root / "svc/log"
        return path.read_text().splitlines() if path.exists() else []

    def everything(self) -> dict[str, str]:
        """What there is on this host, but drctl's own."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            mine = {"work", "inventory.yaml"} & set(path.relative_to(self.root).parts)
            if mine or "etcd.drctl" in str(path) or "w.drctl" in str(path) or "/svc" in str(path):
                continue
            found[str(path)] = path.read_text() if path.is_file() else "folder"
        return found
