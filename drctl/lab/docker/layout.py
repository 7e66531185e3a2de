"""What a Docker lab consists of, as its record keeps it, and where its files lie."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from drctl.errors import Refused, UsageError
from drctl.lab import labfile
from drctl.lab.layout import resolve
from drctl.lab.processes import ProcessRecord
from drctl.lab.site import Access, HostRole

DRIVER = "docker"
USER = "ops"
SSH_PORT, CLIENT_PORT, PEER_PORT, APISERVER_PORT = 22, 2379, 2380, 6443
SSL = "/etc/kubernetes/ssl"
PLAIN_DATA_DIR = "/var/lib/etcd"
# etcd makes it by renaming a directory beside it: in a pod, the parent is what can be mounted.
SEPARATE_WAL_DIR = "/var/lib/etcd-wal/wal"

LabState = Literal["starting", "up"]
EtcdTools = Literal["image", "host", "upload"]


@dataclass(frozen=True)
class Node:
    """One machine of a lab. `ports` maps a port in the machine to one of 127.0.0.1."""

    name: str
    roles: tuple[HostRole, ...]
    address: str
    ports: dict[int, int]
    member_name: str  # the etcd member's
    blank: bool = False  # it began as a machine with nothing on it

    def has(self, role: HostRole) -> bool:
        """Whether it plays that role."""
        return role in self.roles

    @property
    def ssh_port(self) -> int:
        return self.ports[SSH_PORT]

    @property
    def client_url(self) -> str:
        """etcd's client URL, usable from the machine where the lab runs."""
        return f"https://127.0.0.1:{self.ports[CLIENT_PORT]}" if self.has("etcd") else ""


@dataclass(frozen=True)
class Shape:
    """What was asked for. `data_size` ("400m") makes etcd's data directory a mount point of that
    size in memory, which can fill up and does not outlive a power cut."""

    members: int = 3
    workers: int = 1
    spares: int = 0
    flavour: str = "systemd"
    kubernetes: str | None = None  # the folder of its programs
    data_size: str | None = None
    separate_wal: bool = False
    # With static pods: etcdutl is run from etcd's image, is installed on the machines, or is sent
    # by whoever restores.
    etcd_tools: EtcdTools = "image"


@dataclass
class DockerLab:
    """A lab as its record knows it. `state` is "starting" until everything answers."""

    directory: Path
    id: str
    shape: Shape
    subnet: str
    nodes: tuple[Node, ...]
    tools: str  # folder of etcd, etcdctl and etcdutl on this machine
    maker: ProcessRecord | None = None  # who is starting it
    state: LabState = "starting"
    images: dict[str, str] = field(default_factory=dict)  # "machine", "node"

    @property
    def project(self) -> str:
        """The compose project's name."""
        return f"drctl-lab-{self.id}"

    @property
    def cluster(self) -> str:
        """The cluster's name in the inventory."""
        return f"lab-{self.id}"

    @property
    def data_dir(self) -> str:
        return PLAIN_DATA_DIR

    @property
    def wal_dir(self) -> str | None:
        return SEPARATE_WAL_DIR if self.shape.separate_wal else None

    @property
    def compose_file(self) -> Path:
        return self.directory / "compose.yaml"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yaml"

    @property
    def pki(self) -> Path:
        """The certificates and keys that an operator of this cluster would have."""
        return self.directory / "pki"

    @property
    def etcd(self) -> Access:
        """etcd's client certificates on this machine."""
        return self._access("etcd")

    @property
    def admin(self) -> Access | None:
        """The cluster administrator's certificates, None where there is no Kubernetes."""
        if self.shape.kubernetes is None or not self.having("control_plane"):
            return None
        return self._access("admin")

    def having(self, role: HostRole) -> tuple[Node, ...]:
        """The nodes that play `role`, in order."""
        return tuple(node for node in self.nodes if node.has(role))

    def node(self, name: str) -> Node:
        """The node of that name; UsageError naming those that exist otherwise."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise UsageError(f"the lab has no host {name!r}", hint=f"its hosts are {known}")

    def recast(self, name: str, *roles: HostRole) -> None:
        """Give the machine other roles, from now on."""
        chosen = self.node(name)
        self.nodes = tuple(
            replace(node, roles=roles) if node == chosen else node for node in self.nodes
        )
        self.save()

    def save(self) -> None:
        """Write the record."""
        labfile.write(self.directory, self.body)

    @property
    def body(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return asdict(self) | {"directory": str(self.directory), "driver": DRIVER}

    def _access(self, name: str) -> Access:
        own, common = self.pki / f"{name}-ca.pem", self.pki / "ca.pem"  # kubeadm's etcd has its own
        ca = own if own.exists() else common
        return Access(ca, self.pki / f"{name}.pem", self.pki / f"{name}-key.pem")


def require(directory: Path) -> DockerLab:
    """The lab in `directory`; Refused where there is none, or one of another driver."""
    directory = resolve(directory)
    raw = labfile.read(directory)
    if raw is None:
        raise Refused(f"no lab in {directory}", hint="create one: drctl lab up --dir DIR")
    made_by = raw.pop("driver", "local")
    if made_by != DRIVER:
        raise Refused(f"the lab in {directory} was created by the driver {made_by}, not {DRIVER}")
    try:
        raw["shape"] = Shape(**raw["shape"])
        raw["nodes"] = tuple(_node(each) for each in raw["nodes"])
        raw["maker"] = ProcessRecord(**raw["maker"]) if raw["maker"] else None
        return DockerLab(**raw | {"directory": directory})
    except (KeyError, TypeError, ValueError) as error:
        raise labfile.damaged(directory, error) from error


def _node(raw: dict[str, object]) -> Node:
    ports = raw["ports"]
    roles = raw["roles"]
    assert isinstance(ports, dict) and isinstance(roles, list)
    return Node(
        name=str(raw["name"]),
        roles=tuple(roles),
        address=str(raw["address"]),
        ports={int(inside): int(outside) for inside, outside in ports.items()},
        member_name=str(raw["member_name"]),
        blank=bool(raw["blank"]),
    )
