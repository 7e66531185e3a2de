"""A cluster of etcd on nodes, installed the way kubeasz does it: TLS, systemd, Type=notify."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from docker import DockerClient
from docker.errors import APIError
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from drctl.lab import certs
from tests.lab.docker.engine import LABEL, owner
from tests.lab.docker.nodes import USER, Node, Nodes

SSL = "/etc/kubernetes/ssl"
_CERTIFICATES = f"--cacert={SSL}/ca.pem --cert={SSL}/kubernetes.pem --key={SSL}/kubernetes-key.pem"
_STAND_INS = {
    # It answers HTTP on the apiserver's port and knows nothing of etcd.
    "kube-apiserver-stand-in": "/bin/busybox httpd -f -p 6443 -h /srv/kube-apiserver-stand-in",
    "kubelet-stand-in": "/bin/sleep infinity",
}
_UNIT = """\
[Unit]
Description={description}
After=network.target

[Service]
{service}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
_BACKUP_TIMER = """\
[Timer]
OnActiveSec=1s
OnUnitActiveSec=1s
AccuracySec=100ms

[Install]
WantedBy=timers.target
"""
_INVENTORY = Template("""\
cluster: $cluster
layout: none
defaults: {user: $user, key: $key, become: sudo}
known_hosts: $known_hosts
hosts:
$hosts
groups:
  etcd: [$names]
  control_plane: [$names]
etcd:
  bin_dir: /usr/local/bin
  data_dir: /var/lib/etcd
  member_name: "etcd-{address}"
  tls: {ca: $ssl/ca.pem, cert: $ssl/kubernetes.pem, key: $ssl/kubernetes-key.pem}
services:
  etcd: {hosts: etcd, units: [etcd], ports: [2379, 2380]}
  apiserver:
    hosts: control_plane
    units: [kube-apiserver-stand-in]
    ports: [6443]
    start: first-alone
    ready: curl -fs --max-time 5 http://127.0.0.1:6443/readyz
  kubelet: {hosts: control_plane, units: [kubelet-stand-in]}
  dependents: {hosts: etcd, units: [etcd-backup.timer]}
""")


@dataclass(frozen=True)
class Cluster:
    """Members that answer, and the `inventory` that an operator would write for them."""

    nodes: tuple[Node, ...]
    inventory: Path

    def etcdctl(self, arguments: str, node: int = 0) -> str:
        """What `etcdctl ARGUMENTS` prints on that node, which asks its own member."""
        url = f"--endpoints=https://{self.nodes[node].address}:2379"
        return self.nodes[node].sh(f"etcdctl {_CERTIFICATES} {url} {arguments}").output

    def wait_healthy(self, seconds: int = 60) -> None:
        """Return when every member has answered a linearizable read."""
        for node in self.nodes:
            ask = f"etcdctl {_CERTIFICATES} --endpoints=https://{node.address}:2379 endpoint health"
            node.sh(f"timeout {seconds} sh -c 'until {ask}; do sleep 0.2; done' >/dev/null 2>&1")


@contextmanager
def running_cluster(
    nodes: Nodes,
    folder: Path,
    *,
    name: str = "prod",
    members: int = 3,
    tmpfs: Mapping[str, str] | None = None,
    volumes: Sequence[str] = ("/var/lib",),
) -> Iterator[Cluster]:
    """A healthy cluster, its inventory and known_hosts in `folder`; removed at the end.

    `/var/lib` is a volume by default, so that `/var/lib/etcd` can be renamed and outlives a
    reboot. With `tmpfs` or `volumes` naming `/var/lib/etcd`, the data directory is a mount point.
    """
    with own_network(nodes.client, members) as (network, addresses):

        def boot(number: int) -> Node:
            return nodes(
                f"{name}-{number}",
                tmpfs=tmpfs,
                volumes=volumes,
                network=network,
                address=addresses[number - 1],
            )

        with ThreadPoolExecutor(members) as pool:
            made = tuple(pool.map(boot, range(1, members + 1)))
            files = _shared_files(made)
            peers = ",".join(f"etcd-{node.address}=https://{node.address}:2380" for node in made)
            list(pool.map(lambda node: _install(node, files, peers), made))
        cluster = Cluster(made, _inventory(made, folder, name))
        cluster.wait_healthy()
        yield cluster


@contextmanager
def own_network(client: DockerClient, members: int) -> Iterator[tuple[Network, list[str]]]:
    """A network and that many addresses in it; removed at the end with every node that is on it."""
    network, addresses = _network(client, members)
    try:
        yield network, addresses
    finally:
        for container in client.containers.list(all=True, filters={"network": str(network.id)}):
            container.remove(force=True, v=True)
        network.remove()


def _network(client: DockerClient, members: int) -> tuple[Network, list[str]]:
    """A network of their own with addresses that stay the same after a restart.

    The engine keeps addresses fixed only in a subnet that was asked for, so one network is made
    to learn which subnet is free, and again with that subnet.
    """
    name = f"drctl-test-{uuid.uuid4().hex[:8]}"
    for attempt in range(5):
        offered = client.networks.create(name)
        offered.reload()
        subnet = offered.attrs["IPAM"]["Config"][0]["Subnet"]
        offered.remove()
        pool = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
        try:
            network = client.networks.create(name, ipam=pool, labels={LABEL: owner()})
        except APIError:  # another session took the subnet between the two
            if attempt == 4:
                raise
            continue
        hosts = list(ipaddress.ip_network(subnet).hosts())
        return network, [str(address) for address in hosts[10 : 10 + members]]
    raise AssertionError("unreachable")


def _shared_files(nodes: Sequence[Node]) -> dict[str, str | bytes]:
    """What is the same on every node."""
    issued = certs.issue([node.address for node in nodes])
    units = "/etc/systemd/system"
    backup = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date >> /var/log/etcd-backup'\n"
    return {
        f"{SSL}/ca.pem": issued.ca,
        f"{SSL}/kubernetes.pem": issued.cert,
        f"{SSL}/kubernetes-key.pem": issued.key,
        "/srv/kube-apiserver-stand-in/readyz": "ok (a stand-in)\n",
        f"{units}/etcd-backup.service": backup,
        f"{units}/etcd-backup.timer": _BACKUP_TIMER,
        **{
            f"{units}/{name}.service": _UNIT.format(
                description=name, service=f"ExecStart={command}"
            )
            for name, command in _STAND_INS.items()
        },
    }


def _install(node: Node, files: dict[str, str | bytes], peers: str) -> None:
    for path, content in files.items():
        node.put(path, content, 0o600 if path.endswith("-key.pem") else 0o644)
    node.put("/etc/systemd/system/etcd.service", _etcd_unit(node.address, peers))
    units = ["etcd", *_STAND_INS, "etcd-backup.timer"]
    # --no-block: a member alone would wait for its quorum.
    node.sh(
        "mkdir -p -m 700 /var/lib/etcd && systemctl daemon-reload"
        f" && systemctl enable --quiet --now --no-block {' '.join(units)}"
    )


def _etcd_unit(address: str, peers: str) -> str:
    tls = f"--{{0}}cert-file={SSL}/kubernetes.pem --{{0}}key-file={SSL}/kubernetes-key.pem"
    auth = f"--{{0}}trusted-ca-file={SSL}/ca.pem --{{0}}client-cert-auth"
    flags = [
        f"--name=etcd-{address}",
        "--data-dir=/var/lib/etcd",
        *(f"{tls} {auth}".format(kind) for kind in ("", "peer-")),
        f"--initial-advertise-peer-urls=https://{address}:2380",
        f"--listen-peer-urls=https://{address}:2380",
        f"--listen-client-urls=https://{address}:2379,http://127.0.0.1:2379",
        f"--advertise-client-urls=https://{address}:2379",
        "--initial-cluster-token=etcd-cluster-0",
        f"--initial-cluster={peers}",
        "--initial-cluster-state=new",
    ]
    command = f"ExecStart=/usr/local/bin/etcd {' '.join(flags)}"
    service = f"Type=notify\nWorkingDirectory=/var/lib/etcd\n{command}"
    return _UNIT.format(description="etcd", service=service)


def _inventory(nodes: Sequence[Node], folder: Path, name: str) -> Path:
    known_hosts = folder / f"{name}-known_hosts"
    known_hosts.write_text("".join(node.known_hosts.read_text() for node in nodes))
    hosts = "".join(
        f"  {node.name}: {{address: 127.0.0.1, port: {node.ssh_port},"
        f" cluster_address: {node.address}}}\n"
        for node in nodes
    )
    path = folder / f"{name}.yaml"
    path.write_text(
        _INVENTORY.substitute(
            cluster=name,
            user=USER,
            key=nodes[0].key,
            known_hosts=known_hosts,
            hosts=hosts,
            names=", ".join(node.name for node in nodes),
            ssl=SSL,
        )
    )
    return path
