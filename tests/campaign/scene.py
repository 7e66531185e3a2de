"""Where a fault of the campaign happens: one host of a lab, whatever drives it, and the operator's
state directory."""

from __future__ import annotations

import base64
import shlex
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from docker.errors import APIError

from drctl.errors import DrctlError
from drctl.inventory import load_inventory
from drctl.inventory.resolved import Member
from drctl.lab import labs, layout, processes
from drctl.lab.local.site import LocalSite
from drctl.lab.site import Component, Ran, Site, SiteNode
from tests.support.operator import Operator

# Within a data directory that is a mount point, else beside it.
_STAGE = 'stage=$data.drctl; ! mountpoint -q "$data" || stage=$data/.drctl\n'


class NotDone(Exception):
    """There was nothing to do it to."""


@dataclass(frozen=True)
class Scene:
    """One host of the lab of `driver` in `directory`, and the operator's state directory."""

    driver: str
    directory: Path
    host: str
    state: Path

    @cached_property
    def site(self) -> Site:
        return labs.driver(self.driver).site(self.directory)

    @cached_property
    def node(self) -> SiteNode:
        return next(node for node in self.site.nodes if node.name == self.host)

    @cached_property
    def member(self) -> Member:
        return load_inventory(self.site.inventory).member(self.host)

    @property
    def operator(self) -> Operator:
        return Operator(self.site.inventory, self.state)

    @property
    def snapshot(self) -> Path:
        """The operator's own copy of the snapshot."""
        return self.state.with_name("snap.db")

    def sh(self, script: str) -> str:
        """Run a script on the host with the paths that matter as variables; its output, however it
        ended."""
        return self._run(script).output

    def did(self, script: str) -> None:
        """The same; NotDone where it did not end well: a fault that was none must not count."""
        if (ran := self._run(script)).status:
            raise NotDone(ran.output)

    def _run(self, script: str) -> Ran:
        inventory = load_inventory(self.site.inventory)
        known = {
            "data": self.node.data_dir,
            "work": inventory.hosts[self.host].work_dir,
            "bin": self.member.bin_dir,
            "cert": str(self.member.cert),
            "key": str(self.member.key),
        }
        told = "".join(f"{name}={shlex.quote(value)}\n" for name, value in known.items())
        return self.site.sh(self.host, f"{told}{_STAGE}{script}", check=False)

    def etcd(self, signal: str) -> None:
        """Send etcd's processes on the host a signal."""
        self.did(f'pids=$(pgrep -f "^$bin/etcd .*$data") && kill -{signal} $pids')

    def do(self, verb: str, part: Component) -> None:
        """`start`, `stop` or `kill` a part; what is fenced, or is not there, stays so."""
        with suppress(DrctlError, OSError):
            getattr(self.site, verb)(self.host, part)

    def write(self, path: str, content: bytes) -> None:
        """Put other bytes into a small file that is there."""
        self.did(f"base64 -d > {path} <<'END'\n{base64.encodebytes(content).decode()}END\n")

    @property
    def is_off(self) -> bool:
        """Whether the host is switched off."""
        if isinstance(self.site, LocalSite):
            return not self.sshd()[0]
        try:
            return self.site.sh(self.host, "true", check=False).status != 0
        except (DrctlError, APIError):
            return True

    def sshd(self) -> tuple[list[int], list[int]]:
        """(the SSH server's pid, those of its sessions); pids of this machine, local labs only."""
        assert isinstance(self.site, LocalSite)
        lab = layout.require(self.directory)
        listeners = [r for r in lab.processes if r.what == f"{self.host} sshd" and r.alive()]
        everyone = processes.belonging(listeners, "nobody's", marker="DRCTL_NO_SUCH_MARKER")
        first = [record.pid for record in listeners]
        sessions = [pid for pid in everyone if pid not in first and _is_sshd(pid)]
        return first, sessions


def _is_sshd(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    return False
