"""One node in a folder: its inventory, and the scripts that the shipped runbooks have for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from drctl.inventory import Inventory, load_inventory
from drctl.plan.model import Plan, Task
from drctl.plan.planner import Planner
from drctl.plan.runbook import load_runbook
from drctl.runs.facts import tool_facts
from drctl.transport import Script
from tests.templates.shells import Ran, Shell

HOST = "m1"
RUN = "r1"
_INVENTORY = """
cluster: t
layout: none
defaults: {{user: u, become: none, work_dir: {root}/work}}
hosts: {{m1: {{address: {address}}}}}
groups: {{etcd: [m1], control_plane: [m1]}}
etcd:
  bin_dir: {root}/bin
  data_dir: {root}/lib/etcd
  wal_dir: {wal}
  peer_url: "{scheme}://{{address}}:2380"
  client_url: "{scheme}://{{address}}:2379"
  member_name: "etcd-{{address}}"
  {tls}
services:
  etcd: {{hosts: etcd, units: [etcd]}}
  apiserver: {{hosts: control_plane, units: [one, two], ports: [{port}], ready: "{ready}"}}
  kubelet: {{hosts: control_plane, units: [kubelet], ready: "{ready}"}}
  controllers: null
service_manager: command
commands:
  start: "{root}/ctl start {{unit}}"
  stop: "{root}/ctl stop {{unit}}  # a comment must not swallow what follows"
  running: "{root}/ctl running {{unit}}; exit $?"
  fence: "{root}/ctl fence {{unit}}"
  unfence: "{root}/ctl unfence {{unit}}"
  fenced: "{root}/ctl fenced {{unit}}"
options: {{settle_seconds: {settle}}}
"""
# The stub's state is files: up/UNIT runs, fence/UNIT is fenced, log has every start and stop.
# back/UNIT: it comes back once, half a second after it was stopped, in spite of the fence.
_CTL = """#!/bin/sh
cd '{root}/svc' || exit 126
case $1 in
  start) [ ! -e "fence/$2" ] && : > "up/$2" && echo "start $2" >> log ;;
  stop)
    rm -f "up/$2" && echo "stop $2" >> log
    if [ -e "back/$2" ]; then rm "back/$2"; (sleep 0.5; : > "up/$2") >/dev/null 2>&1 & fi
    ;;
  running) [ -e "up/$2" ] ;;
  fence) : > "fence/$2" ;;
  unfence) rm -f "fence/$2" ;;
  fenced) [ -e "fence/$2" ] ;;
esac
"""


class Node:
    """`observe` and `act` run a planned step's own scripts, as the engine has them run."""

    def __init__(
        self,
        root: Path,
        shell: Shell,
        *,
        wal: bool = False,
        sha256: str = "0" * 64,
        address: str = "127.0.83.1",
        port: int = 6443,
        ready: str = "true",
        tls: str = "",
        settle: float = 1,
    ) -> None:
        self.root, self.shell, self.sha256 = root, shell, sha256
        for folder in ("bin", "lib", "work", "svc/up", "svc/fence", "svc/back"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        ctl = root / "ctl"
        ctl.write_text(_CTL.format(root=root))
        ctl.chmod(0o755)
        wal_dir = f"{root}/wal/w" if wal else "null"
        (root / "wal").mkdir(exist_ok=True)
        self.file = root / "inventory.yaml"
        self.file.write_text(
            _INVENTORY.format(
                root=root,
                wal=wal_dir,
                address=address,
                port=port,
                ready=ready,
                tls=tls,
                scheme="https" if tls else "http",
                settle=settle,
            )
        )
        self.data = root / "lib" / "etcd"
        self.wal = root / "wal" / "w"
        self.values: dict[str, str] = {
            "stage": f"{self.data}.drctl",
            "wal_stage": f"{self.wal}.drctl" if wal else "",
            "owner": f"{os.getuid()}:{os.getgid()}",
            "mode": "750",
            "token": "t-r1",
            "bump": "",
            "keep_restored": "no",
        }

    @property
    def stage(self) -> Path:
        return Path(self.values["stage"]) / RUN

    @property
    def wal_stage(self) -> Path:
        return Path(self.values["wal_stage"]) / RUN

    @cached_property
    def inventory(self) -> Inventory:
        return load_inventory(self.file)

    @cached_property
    def plan(self) -> Plan:
        book = load_runbook("restore")
        judges = frozenset(name for phase in book.phases for s in phase.steps for name in s.judge)
        facts: dict[str, Any] = {"snapshot": {"sha256": self.sha256}, **tool_facts(self.inventory)}
        return Planner(self.inventory, facts=facts, judges=judges).plan(book)

    def task(self, step: str) -> Task:
        """A step's task on this node; "undo STEP" is what takes it back."""
        task = self.plan.step(step.removeprefix("undo ")).tasks[HOST]
        if not step.startswith("undo "):
            return task
        assert task.undo
        return task.undo

    def env(self, task: Task, seen: Mapping[str, str]) -> dict[str, str]:
        env = {"DRCTL_RUN": RUN, "DRCTL_WORK": f"{self.root}/work", "DRCTL_HOST": HOST}
        for variable, source in task.env.items():
            kind, _, name = source.partition(" ")
            env[variable] = seen.get(name, "") if kind == "seen" else self.values[name]
        return env

    def observe(self, step: str, seen: Mapping[str, str] | None = None) -> dict[str, str]:
        task = self.task(step)
        assert task.observe
        ran = self.shell.stdin(task.observe.body, self.env(task, seen or {}))
        assert ran.status == 0, ran
        return ran.fields

    def state(self, step: str, seen: Mapping[str, str] | None = None) -> str:
        return self.observe(step, seen)["state"]

    def act(
        self, step: str, seen: Mapping[str, str] | None = None, *, tries: int | None = None
    ) -> Ran:
        """`tries`: wait for that many half seconds instead of two minutes."""
        task = self.task(step)
        assert task.act
        body = task.act.body
        if tries is not None:
            assert "left=1200" in body
            body = body.replace("left=1200", f"left={5 * tries}")
        return self.shell.body(body, self.env(task, seen or {}))

    def killed(self, step: str, when: str, seen: Mapping[str, str] | None = None) -> bool:
        """Act, and die at `when`; False where the script ended before that."""
        self.shell.die(when)
        ran = self.act(step, seen)
        self.shell.die(None)
        assert ran.status in (0, -9), ran
        return ran.status == -9

    def run(self, script: Script, env: Mapping[str, str]) -> Ran:
        base = {"DRCTL_RUN": RUN, "DRCTL_WORK": f"{self.root}/work", "DRCTL_HOST": HOST}
        return self.shell.stdin(script.body, {**base, **env})


def tree(*tops: Path) -> dict[str, str]:
    """Every path under `tops` with what it is: a file's bytes, a link's target, or a folder.

    Folders of the tool itself (`.drctl`, `*.drctl`) are left out.
    """
    found: dict[str, str] = {}
    for top in tops:
        for path in [top, *sorted(top.rglob("*"))] if top.is_dir() else [top]:
            if not any(part.endswith(".drctl") for part in path.parts):
                found[str(path)] = _content(path)
    return found


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if path.is_dir():
        return "folder"
    return path.read_text() if path.exists() else "absent"
