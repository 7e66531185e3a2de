"""Nodes: containers with systemd as PID 1 and sshd on a port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from drctl.lab.docker.free_ports import free_ports
from tests.lab.docker.engine import LABEL, owner

BOOT_SECONDS = 90
COMMAND_SECONDS = 90
USER = "ops"

_END = "end of output"
_KEEPING_OUTPUT = (
    f'timeout {COMMAND_SECONDS} sh -c "$1" >"$0" 2>&1 </dev/null; status=$?;'
    f' cat "$0"; printf "{_END}"; exit $status'
)


@dataclass(frozen=True)
class Ran:
    """A command that ended in a node; `output` is stdout and stderr as they came."""

    status: int
    output: str


@dataclass(frozen=True)
class Node:
    """One node. `sh` goes through the engine, `ssh` the way that an operator goes."""

    name: str
    container: Container
    ssh_port: int  # on 127.0.0.1; the same after a restart
    address: str  # in the container's network
    key: Path
    known_hosts: Path

    def sh(self, script: str, *, check: bool = True) -> Ran:
        """Run `script` as root; a status other than 0 is an AssertionError unless told not to."""
        kept = f"/run/drctl-test.{uuid.uuid4().hex}"
        status, output = self._exec(_KEEPING_OUTPUT, kept, script)
        for _ in range(20):  # a busy engine loses the output of a short command
            if output.endswith(_END):
                break
            _, output = self._exec(f'cat "$0" && printf "{_END}"', kept)
        ran = Ran(status, output.removesuffix(_END))
        assert status == 0 or not check, f"{self.name}: {script}: {ran}"
        return ran

    def _exec(self, *shell: str) -> tuple[int, str]:
        argv = ["timeout", str(COMMAND_SECONDS + 10), "sh", "-c", *shell]
        status, output = self.container.exec_run(argv)
        assert status is not None and isinstance(output, bytes)  # neither streamed nor detached
        return status, output.decode(errors="replace")

    def ssh(self, command: str) -> Ran:
        """Run `command` as user ops with OpenSSH, checking the host key."""
        options = ("BatchMode=yes", f"UserKnownHostsFile={self.known_hosts}", "ConnectTimeout=10")
        argv = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(self.ssh_port)]
        argv += [part for option in options for part in ("-o", option)]
        ended = subprocess.run(
            [*argv, f"{USER}@127.0.0.1", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        return Ran(ended.returncode, ended.stdout)

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write `content` (some kB: it travels in an argument) to the absolute `path`; its
        directory is made if absent. The engine's own archive call does not see what is mounted."""
        data = content.encode() if isinstance(content, str) else content
        target, folder = shlex.quote(path), shlex.quote(str(PurePosixPath(path).parent))
        text = b64encode(data).decode()
        self.sh(
            f"mkdir -p {folder} && umask 077 && echo {text} | base64 -d > {target}"
            f" && chmod {mode:o} {target}"
        )

    def state(self, unit: str) -> str:
        """`active`, `inactive`, `failed`, ... as systemd calls it."""
        return self.sh(f"systemctl is-active {shlex.quote(unit)}", check=False).output.strip()

    def reboot(self) -> None:
        """Stop and start the whole node; every process ends, what was on tmpfs is lost."""
        self.container.restart(timeout=30)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Return when systemd has started everything that it will start."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            state = self.sh("systemctl is-system-running", check=False).output.strip()
            if state in ("running", "degraded"):  # degraded: a fenced unit may count as failed
                return
            assert time.monotonic() < deadline, f"{self.name}: not up: {state}: {self.logs()}"
            time.sleep(0.2)

    def logs(self) -> str:
        """What PID 1 printed."""
        return self.container.logs(tail=50).decode(errors="replace")

    def remove(self) -> None:
        """End the node and remove it with its volumes. Safe to call twice."""
        with contextlib.suppress(NotFound):
            self.container.remove(force=True, v=True)


@dataclass
class Nodes:
    """Makes nodes, and remembers them so that all are removed at the end.

    Called with what differs: `tmpfs={"/var/lib/etcd": "size=300m"}` and
    `volumes=["/var/lib/etcd"]` make that path a mount point (a volume outlives a reboot, a tmpfs
    can be filled), `network` and `address` place the node in a network with a fixed address.
    """

    client: DockerClient
    image: str
    key: Path
    public_key: str
    folder: Path
    made: list[Node] = field(default_factory=list)

    def __call__(
        self,
        name: str = "node",
        *,
        tmpfs: Mapping[str, str] | None = None,
        volumes: Sequence[str] = (),
        network: Network | None = None,
        address: str | None = None,
    ) -> Node:
        """A booted node that answers on ssh."""
        container, port = self._started(name, tmpfs or {}, volumes, network, address)
        known_hosts = self.folder / f"known_hosts-{container.short_id}"
        given = _address(container)
        node = Node(name, container, port, given, self.key, known_hosts)
        self.made.append(node)
        node.wait_booted()
        node.put(f"/home/{USER}/.ssh/authorized_keys", self.public_key + "\n")
        host_key = node.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").output
        known_hosts.write_text(f"[127.0.0.1]:{port} {host_key}")
        return node

    def close(self) -> None:
        """Remove every node that was made."""
        while self.made:
            self.made.pop().remove()

    def _started(
        self,
        name: str,
        tmpfs: Mapping[str, str],
        volumes: Sequence[str],
        network: Network | None,
        address: str | None,
    ) -> tuple[Container, int]:
        place = network.name if network else None
        endpoint = self.client.api.create_endpoint_config(ipv4_address=address)
        # Chosen here, not by the engine: the engine would choose another one after each restart.
        (port,) = free_ports(1)
        container = self.client.containers.create(
            self.image,
            name=f"drctl-test-{name}-{uuid.uuid4().hex[:8]}",
            hostname=name,
            labels={LABEL: owner()},
            cgroupns="private",
            cap_add=["SYS_ADMIN", "NET_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            tmpfs={"/run": "", "/run/lock": "", "/tmp": "", **tmpfs},
            volumes=list(volumes),
            ports={"22/tcp": ("127.0.0.1", port)},
            network=place,
            networking_config={place: endpoint} if place else None,
        )
        try:
            container.start()
        except APIError:
            container.remove(force=True, v=True)
            raise
        return container, port


def _address(container: Container) -> str:
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"]
    (first,) = networks.values()
    return str(first["IPAddress"])
