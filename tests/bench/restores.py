"""Whole restores of one snapshot, by drctl in both orders and by other means."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.machines import Machines, Outage, Snapshot
from tests.bench.running import DRCTL, Ended, Wrong, run

HERE = Path(__file__).parent / "contenders"
BUMP = "1000000000"
PHASES = ("stop-apiserver", "stop-etcd", "send", "rebuild", "swap", "start-etcd", "start-apiserver")
"""What all of them do; drctl's steps have the same names."""
LIMIT = 600.0  # seconds that one restore may take


@dataclass(frozen=True)
class Restored:
    """One restore that was proven. `phases` where the contender tells them, in seconds."""

    ended: Ended
    outage: Outage
    phases: Mapping[str, float]


@dataclass
class Restores:
    """The contenders, for one lab. `programs` is the folder of ansible-playbook."""

    machines: Machines
    folder: Path
    programs: Path
    _turn: int = field(default=0, init=False)

    @property
    def contenders(self) -> dict[str, Callable[[Snapshot], tuple[Ended, Mapping[str, float]]]]:
        """By name, as the document has them; the order of the first round."""
        return {
            "drctl restore": lambda snapshot: self._drctl(snapshot),
            "OpenSSH script, zstd": lambda snapshot: self._openssh(snapshot, "zstd"),
            "OpenSSH script, plain": lambda snapshot: self._openssh(snapshot, "plain"),
            "drctl restore --staged": lambda snapshot: self._drctl(snapshot, "--staged"),
            "OpenSSH script, staged": lambda snapshot: self._openssh(snapshot, "staged"),
            "Ansible playbook": self._ansible,
        }

    def restore(self, name: str, snapshot: Snapshot) -> Restored:
        """One restore by the contender of that name, proven from outside; Wrong otherwise."""
        self._turn += 1
        cluster = self.machines.begin()
        ended, phases = self.contenders[name](snapshot)
        outage = self.machines.outage(ended.began)
        self.machines.prove(snapshot, cluster, self._turn)
        return Restored(ended, outage, phases)

    @property
    def inventory(self) -> Path:
        return self.machines.lab.inventory

    def _log(self, name: str) -> Path:
        return self.folder / f"{self._turn:03d}-{name}.log"

    def _drctl(self, snapshot: Snapshot, *more: str) -> tuple[Ended, Mapping[str, float]]:
        of = ("--inventory", self.inventory, "--state-dir", self.folder / "state")
        how = ("--replace-healthy", "--yes", *more)
        argv = [DRCTL, "restore", "--snapshot", snapshot.path, *of, *how]
        ended = run(argv, self._log("drctl"), limit=LIMIT)
        shown = run([DRCTL, "runs", "show", *of, "--output", "json"], self._log("runs-show"))
        return ended, spans(json.loads(shown.out))

    def _openssh(self, snapshot: Snapshot, order: str) -> tuple[Ended, Mapping[str, float]]:
        nodes = self.folder / "nodes"
        lines = [
            f"{n.name} {n.ssh_port} {n.address} {n.member_name}\n" for n in self.machines.nodes
        ]
        nodes.write_text("".join(lines))
        lab = self.machines.lab
        env = {
            "KEY": str(lab.key),
            "KNOWN_HOSTS": str(lab.known_hosts),
            "TOKEN": secrets.token_hex(8),
            "BUMP": BUMP,
        }
        argv = [HERE / "openssh.sh", order, nodes, snapshot.path]
        ended = run(argv, self._log(f"openssh-{order}"), env=env, limit=LIMIT)
        told = [line.split()[1:] for line in ended.out.splitlines() if line.startswith("phase ")]
        return ended, {name: float(seconds) for name, seconds in told}

    def _ansible(self, snapshot: Snapshot) -> tuple[Ended, Mapping[str, float]]:
        inventory = self.folder / "ansible.json"
        inventory.write_text(json.dumps(self._ansible_inventory(snapshot)))
        env = {
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_PIPELINING": "True",  # its documentation's first advice for speed
            "ANSIBLE_FORKS": "50",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible-tmp"),
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        argv = [self.programs / "ansible-playbook", "-i", inventory, HERE / "restore.yaml"]
        return run(argv, self._log("ansible"), env=env, cwd=self.folder, limit=LIMIT), {}

    def _ansible_inventory(self, snapshot: Snapshot) -> dict[str, Any]:
        lab = self.machines.lab
        cluster = [f"{one.member_name}=https://{one.address}:2380" for one in self.machines.nodes]
        hosts = {
            node.name: {
                "ansible_port": node.ssh_port,
                "address": node.address,
                "member": node.member_name,
            }
            for node in self.machines.nodes
        }
        common = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(lab.key),
            "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={lab.known_hosts}",
            "snapshot": str(snapshot.path),
            "initial_cluster": ",".join(cluster),
            "token": secrets.token_hex(8),
            "bump": BUMP,
        }
        return {"all": {"hosts": hosts, "vars": common}}


def spans(run_document: Mapping[str, Any]) -> dict[str, float]:
    """What `drctl runs show --output json` tells: step -> seconds from its first host's start to
    its last host's end; those of PHASES alone. Wrong where one of them is missing."""
    begun: dict[str, float] = {}
    over: dict[str, float] = {}
    for step in run_document["steps"]:
        if step["id"] in PHASES and step["started"]:
            at = datetime.fromisoformat(step["started"]).timestamp()
            begun[step["id"]] = min(at, begun.get(step["id"], at))
            over[step["id"]] = max(at + step["seconds"], over.get(step["id"], 0.0))
    if missing := [name for name in PHASES if name not in begun]:
        raise Wrong(f"drctl's run has no step {', '.join(missing)}")
    return {name: over[name] - begun[name] for name in PHASES}
