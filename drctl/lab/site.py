"""A lab that is up, whatever drives it: what breaks, drills and proofs may ask of it.

Everything here goes the lab's own way into a host (the driver's), never by the product's SSH, so
that a drill does not prove the product's work with the product's own means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from drctl.lab.certs import Authority

Flavour = Literal["local", "systemd", "static-pod"]
HostRole = Literal["etcd", "control_plane", "worker", "spare"]
Component = Literal["etcd", "apiserver", "controllers", "kubelet"]


@dataclass(frozen=True)
class Ran:
    """A script that ended in a host; `output` is stdout and stderr as they came."""

    status: int
    output: str


@dataclass(frozen=True)
class SiteNode:
    """One host. URLs are usable from the machine where the lab runs; "" where there is none.

    `data_dir` and `wal_dir` are paths as `Site.sh` sees them. A `spare` is a blank machine:
    SSH answers, and nothing else was ever there.
    """

    name: str
    roles: frozenset[HostRole]
    address: str
    member_name: str
    client_url: str
    apiserver_url: str
    data_dir: str
    wal_dir: str | None = None


@dataclass(frozen=True)
class Access:
    """Certificates on this machine that open a door: etcd's, or the apiservers' as an admin."""

    ca: Path
    cert: Path
    key: Path


class Site(Protocol):
    """A running lab. Raises UsageError for a node that does not exist."""

    @property
    def directory(self) -> Path: ...

    @property
    def flavour(self) -> Flavour: ...

    @property
    def nodes(self) -> tuple[SiteNode, ...]: ...

    @property
    def inventory(self) -> Path: ...

    @property
    def etcd(self) -> Access: ...

    @property
    def authority(self) -> Authority:
        """Who signed etcd's certificates, to have more of them: expired ones, or without a name."""
        ...

    @property
    def etcd_tools(self) -> Path:
        """A folder on this machine with the lab's own etcdctl and etcdutl."""
        ...

    @property
    def kubernetes(self) -> Access | None:
        """None where no real Kubernetes stands in front of etcd."""
        ...

    def sh(self, node: str, script: str, *, check: bool = True, seconds: float = 60.0) -> Ran:
        """Run `script` (POSIX shell) on the host with all rights it has; StepFailed for a status
        other than 0 unless `check` is off, and when it takes longer than `seconds`."""
        ...

    def kill(self, node: str, part: Component) -> None:
        """End the part's processes with SIGKILL; whatever supervises them may start them again."""
        ...

    def stop(self, node: str, part: Component) -> None:
        """Stop the part as an operator would; it stays stopped until `start`."""
        ...

    def start(self, node: str, part: Component) -> None:
        """Start what `stop` stopped. Does not wait for it to answer."""
        ...

    def power_off(self, node: str) -> None:
        """End the whole host at once, as a power cut does to its processes."""
        ...

    def power_on(self, node: str) -> None:
        """Start the host again and wait until SSH answers there."""
        ...

    def retire(self, node: str) -> None:
        """The host is lost for good: it has no role any more, and is not in the inventory."""
        ...

    def enlist(self, node: str) -> None:
        """The spare, still blank, is to be a member of etcd: so says the inventory from now on."""
        ...

    def cut(self, node: str, others: Sequence[str]) -> None:
        """Drop all traffic between the host and `others`, in both directions; SSH from this
        machine still answers."""
        ...

    def mend(self) -> None:
        """Undo every `cut`."""
        ...
