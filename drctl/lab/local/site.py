"""The embedded lab as a `Site`: its hosts share this machine, so every way in is a process here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drctl.errors import Refused, StepFailed
from drctl.lab import layout, processes
from drctl.lab.certs import Authority, Pair
from drctl.lab.layout import APISERVER_PORT, Lab, LabHost
from drctl.lab.local import boot, build, sshserver
from drctl.lab.site import Access, Component, Flavour, Ran, SiteNode
from drctl.lab.waiting import until

UNITS: dict[Component, str] = {"etcd": "etcd", "apiserver": "kube-apiserver-stand-in"}
_CONTROL_SECONDS = 60.0


@dataclass(frozen=True)
class LocalSite:
    """The lab whose directory this is. Every call rereads the state file: a host that was
    started again has other processes."""

    directory: Path

    @property
    def lab(self) -> Lab:
        return layout.require(self.directory)

    @property
    def flavour(self) -> Flavour:
        return "local"

    @property
    def nodes(self) -> tuple[SiteNode, ...]:
        return tuple(_node(host) for host in self.lab.hosts)

    @property
    def inventory(self) -> Path:
        return self.lab.inventory

    @property
    def etcd(self) -> Access:
        first = self.lab.hosts[0]
        return Access(first.ca, first.cert, first.key)

    @property
    def authority(self) -> Authority:
        cert, key = self.lab.authority
        return Authority.load(Pair(cert.read_bytes(), key.read_bytes()))

    @property
    def etcd_tools(self) -> Path:
        return self.lab.hosts[0].bin_dir

    @property
    def kubernetes(self) -> Access | None:
        return None

    def sh(self, node: str, script: str, *, check: bool = True, seconds: float = 60.0) -> Ran:
        host = self.lab.host(node)
        try:
            told = subprocess.run(
                ["/bin/sh"],
                input=script,
                cwd=host.root,
                env=build.environment(self.lab, host),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"a script took longer than {seconds:.0f} s", host=node) from error
        if check and told.returncode != 0:
            raise StepFailed(
                f"a script ended with {told.returncode}: {told.stdout[-500:]}", host=node
            )
        return Ran(told.returncode, told.stdout)

    def kill(self, node: str, part: Component) -> None:
        told = self._control(node, "pid", part)
        if told.returncode == 0:
            os.kill(int(told.stdout), signal.SIGKILL)

    def stop(self, node: str, part: Component) -> None:
        self._checked(node, "stop", part)

    def start(self, node: str, part: Component) -> None:
        self._checked(node, "start", part)

    def power_off(self, node: str) -> None:
        """Everything that the host runs ends by SIGKILL: services, SSH, jobs of drctl."""
        lab = self.lab
        gone = [record for record in lab.processes if record.what.startswith(f"{node} ")]
        processes.kill_all(gone, f"{lab.id}/{lab.host(node).name}", processes.NODE_MARKER)

    def power_on(self, node: str) -> None:
        lab = self.lab
        host = lab.host(node)
        lab.processes = [r for r in lab.processes if not r.what.startswith(f"{node} ")]
        boot.start_host(lab, host)
        until(partial(_listens, host.socket), _CONTROL_SECONDS, f"{node}: supervisor")
        until(partial(sshserver.answers, lab, host), _CONTROL_SECONDS, f"{node}: sshd")

    def retire(self, node: str) -> None:
        """Refused: there are no other machines that could take its place."""
        raise Refused("a loopback lab has no spare machines", host=node, hint="use --driver docker")

    def enlist(self, node: str) -> None:
        """Refused, as `retire` is."""
        self.retire(node)

    def cut(self, node: str, others: Sequence[str]) -> None:
        """Refused: without root nobody can take packets away from loopback."""
        raise Refused(
            f"loopback hosts cannot be cut off from {', '.join(others)}",
            host=node,
            hint="use --driver docker",
        )

    def mend(self) -> None:
        """Nothing was cut."""

    def _control(self, node: str, verb: str, part: Component) -> subprocess.CompletedProcess[str]:
        host = self.lab.host(node)
        if part not in UNITS:
            raise Refused(f"a loopback lab has no {part}", host=node)
        argv = build.control(host, verb, UNITS[part])
        return subprocess.run(argv, capture_output=True, text=True, timeout=_CONTROL_SECONDS)

    def _checked(self, node: str, verb: str, part: Component) -> None:
        told = self._control(node, verb, part)
        if told.returncode != 0:
            raise StepFailed(f"{part} did not {verb}: {told.stderr.strip()}", host=node)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _node(host: LabHost) -> SiteNode:
    return SiteNode(
        name=host.name,
        roles=frozenset({"etcd", "control_plane"}),
        address=host.address,
        member_name=host.member_name,
        client_url=host.client_url,
        apiserver_url=f"https://{host.address}:{APISERVER_PORT}",
        data_dir=str(host.data_dir),
        wal_dir=str(host.wal_dir) if host.wal_dir else None,
    )
