"""Where everything in a lab's directory lies, and the record that says what the lab started."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drctl.errors import Refused, UsageError
from drctl.lab import labfile
from drctl.lab.processes import ProcessRecord

DRIVER = "local"
SSH_PORT = 2222
CLIENT_PORT = 2379
PEER_PORT = 2380
APISERVER_PORT = 6443
PORTS = (SSH_PORT, CLIENT_PORT, PEER_PORT, APISERVER_PORT)
UNITS = ("etcd", "kube-apiserver-stand-in")
# Paths go into configuration files of four formats; quoting in each would be harder to trust.
_SAFE_PATH = re.compile(r"[A-Za-z0-9._/+@-]+")
# The kernel allows 108 bytes; supervisord first binds "<path>.<pid>".
_LONGEST_SOCKET = 90


@dataclass(frozen=True)
class LabHost:
    """One pretended host: an address of its own and a directory tree of its own."""

    name: str
    address: str
    root: Path
    socket: Path
    separate_wal: bool = False

    @property
    def member_name(self) -> str:
        """The etcd member's name, as kubeasz gives it."""
        return f"etcd-{self.address}"

    @property
    def ssl_dir(self) -> Path:
        return self.root / "etc/kubernetes/ssl"

    @property
    def ca(self) -> Path:
        return self.ssl_dir / "ca.pem"

    @property
    def cert(self) -> Path:
        return self.ssl_dir / "kubernetes.pem"

    @property
    def key(self) -> Path:
        return self.ssl_dir / "kubernetes-key.pem"

    @property
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def fences(self) -> Path:
        """A file named like a unit in here keeps that unit from starting, after a reboot too."""
        return self.root / "etc/fence"

    @property
    def supervisord_conf(self) -> Path:
        return self.root / "etc/supervisord.conf"

    @property
    def data_dir(self) -> Path:
        return self.root / "var/lib/etcd"

    @property
    def wal_dir(self) -> Path | None:
        """Where etcd writes its WAL, if not in the data directory."""
        return self.root / "var/lib/etcd-wal" if self.separate_wal else None

    @property
    def work_dir(self) -> Path:
        return self.root / "var/lib/drctl"

    @property
    def log_dir(self) -> Path:
        return self.root / "var/log"

    @property
    def run_dir(self) -> Path:
        return self.root / "run"

    @property
    def home(self) -> Path:
        return self.root / "root"

    @property
    def bin_dir(self) -> Path:
        return self.root / "usr/local/bin"

    @property
    def client_url(self) -> str:
        return f"https://{self.address}:{CLIENT_PORT}"

    @property
    def peer_url(self) -> str:
        return f"https://{self.address}:{PEER_PORT}"

    def make_directories(self) -> None:
        """Create the tree, private to this user."""
        for path in (self.ssl_dir, self.fences, self.data_dir, self.work_dir, self.log_dir):
            path.mkdir(parents=True, mode=0o700)
        for path in (self.run_dir, self.home, self.bin_dir):
            path.mkdir(parents=True, mode=0o700)
        if self.wal_dir:
            self.wal_dir.mkdir(mode=0o700)


@dataclass
class Lab:
    """A lab as its state file knows it. `state` is "starting" until everything answers."""

    directory: Path
    id: str
    addresses: dict[str, str]
    state: str = "starting"
    sockets: str | None = None  # a short directory, where the lab's own path is too long
    separate_wal: bool = False
    ssh_server: str = ""  # the kind that answered, for a host that is started again
    processes: list[ProcessRecord] = field(default_factory=list)

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        return tuple(self._host(name, address) for name, address in self.addresses.items())

    def host(self, name: str) -> LabHost:
        """The host of that name; UsageError naming those that exist otherwise."""
        if name not in self.addresses:
            known = ", ".join(self.addresses)
            raise UsageError(f"the lab has no host {name!r}", hint=f"its hosts are {known}")
        return self._host(name, self.addresses[name])

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def authority(self) -> tuple[Path, Path]:
        """The certificate authority: certificate and private key."""
        return self.directory / "ca.pem", self.directory / "ca-key.pem"

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yaml"

    def save(self) -> None:
        """Write the record."""
        labfile.write(self.directory, self.body)

    @property
    def body(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return asdict(self) | {"directory": str(self.directory), "driver": DRIVER}

    def remove_files(self) -> None:
        """Remove the lab's directory and its sockets."""
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
        labfile.remove(self.directory)

    def socket_of(self, name: str) -> Path:
        """Where the supervisor of the host `name` (or of "{host}", in a pattern) listens."""
        if self.sockets:
            return Path(self.sockets) / f"{name}.sock"
        return self.directory / "hosts" / name / "run/supervisor.sock"

    def _host(self, name: str, address: str) -> LabHost:
        root = self.directory / "hosts" / name
        return LabHost(name, address, root, self.socket_of(name), self.separate_wal)


def create(
    directory: Path, lab_id: str, addresses: dict[str, str], *, separate_wal: bool = False
) -> Lab:
    """Claim `directory` (absent or empty) for a new lab and write its state file."""
    lab = Lab(directory, lab_id, addresses, separate_wal=separate_wal)
    if any(len(str(host.socket)) > _LONGEST_SOCKET for host in lab.hosts):
        lab.sockets = tempfile.mkdtemp(prefix="drctl-lab-")
    labfile.claim(directory, lab.body)
    return lab


def load(directory: Path) -> Lab | None:
    """The lab whose directory this is; None where there is none.

    Refused when the record is damaged, or that of another driver's lab.
    """
    raw = labfile.read(directory)
    if raw is None:
        return None
    made_by = raw.pop("driver", DRIVER)
    if made_by != DRIVER:
        raise Refused(f"the lab in {directory} was created by the driver {made_by}, not {DRIVER}")
    try:
        raw["processes"] = [ProcessRecord(**process) for process in raw["processes"]]
        return Lab(**raw | {"directory": directory})
    except (KeyError, TypeError) as error:
        raise labfile.damaged(directory, error) from error


def require(directory: Path) -> Lab:
    """Like `load`, and Refused where there is no lab."""
    lab = load(resolve(directory))
    if lab is None:
        raise Refused(f"no lab in {directory}", hint="create one: drctl lab up --dir DIR")
    return lab


def resolve(directory: Path) -> Path:
    """The absolute path; UsageError for characters that a configuration file could trip over."""
    path = directory.expanduser().absolute()
    path = path.parent.resolve() / path.name
    if not _SAFE_PATH.fullmatch(str(path)):
        raise UsageError(
            f"a lab cannot live in {str(path)!r}: letters, digits and . _ / + @ - only",
            hint="choose another directory with --dir",
        )
    return path
