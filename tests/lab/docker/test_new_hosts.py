"""All machines are lost: restored onto new ones with other addresses and nothing but SSH."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import pytest

from drctl.lab import certs
from drctl.lab.waiting import until
from tests.lab.docker import images
from tests.lab.docker.cluster import Cluster, own_network
from tests.lab.docker.nodes import USER, Node, Nodes
from tests.support.operator import KILLED, Operator

_INVENTORY = Template("""\
cluster: prod
layout: none
defaults: {user: $user, key: $key}
known_hosts: ./known_hosts
hosts:
$hosts
groups: {etcd: [$names], control_plane: []}
etcd:
  bin_dir: /opt/etcd/bin
  owner: etcd:etcd
  member_name: "etcd-{address}"
  tls: {ca: /etc/etcd/pki/ca.pem, cert: /etc/etcd/pki/etcd.pem, key: /etc/etcd/pki/etcd-key.pem}
prepare:
  binaries: $binaries
  certificates: {ca: ./ca.pem, cert: ./etcd.pem, key: ./etcd-key.pem}
  flags: {heartbeat-interval: 250, election-timeout: 2500}
services: {apiserver: null, controllers: null, kubelet: null, dependents: null}
""")
UNIT = "/etc/systemd/system/etcd.service"


@dataclass(frozen=True)
class NewHosts:
    """Machines with SSH and a user `etcd`, and what an operator has prepared for them."""

    nodes: tuple[Node, ...]
    operator: Operator

    def each(self, script: str) -> list[str]:
        return [node.sh(script).output for node in self.nodes]

    def etcdctl(self, arguments: str) -> list[str]:
        """What each node's own member answers."""
        pki = "/etc/etcd/pki"
        tls = f"--cacert={pki}/ca.pem --cert={pki}/etcd.pem --key={pki}/etcd-key.pem"
        return [
            node.sh(
                f"/opt/etcd/bin/etcdctl {tls} --endpoints=https://{node.address}:2379 {arguments}"
            ).output
            for node in self.nodes
        ]


@pytest.fixture
def new_hosts(systemd_node: Nodes, etcd_dir: Path, tmp_path: Path) -> Iterator[NewHosts]:
    bare = replace(systemd_node, image=images.blank(systemd_node.client), made=[])
    with own_network(bare.client, 3) as (network, addresses):

        def boot(number: int) -> Node:
            node = bare(
                f"new-{number}", volumes=["/var/lib"], network=network, address=addresses[number]
            )
            node.sh("useradd --system --shell /usr/sbin/nologin etcd")
            return node

        with ThreadPoolExecutor(3) as pool:
            nodes = tuple(pool.map(boot, range(3)))
        folder = tmp_path / "operator"
        folder.mkdir()
        yield NewHosts(nodes, Operator(_prepared(folder, nodes, etcd_dir), tmp_path / "state"))


def _prepared(folder: Path, nodes: Sequence[Node], etcd_dir: Path) -> Path:
    issued = certs.issue([node.address for node in nodes])
    (folder / "ca.pem").write_bytes(issued.ca)
    (folder / "etcd.pem").write_bytes(issued.cert)
    certs.write_private(folder / "etcd-key.pem", issued.key)
    (folder / "known_hosts").write_text("".join(node.known_hosts.read_text() for node in nodes))
    hosts = "\n".join(
        f"  {node.name}: {{address: 127.0.0.1, port: {node.ssh_port},"
        f" cluster_address: {node.address}}}"
        for node in nodes
    )
    inventory = folder / "prod.yaml"
    inventory.write_text(
        _INVENTORY.substitute(
            user=USER,
            key=nodes[0].key,
            hosts=hosts,
            names=", ".join(node.name for node in nodes),
            binaries=etcd_dir,
        )
    )
    return inventory


def saved(cluster: Cluster, tmp_path: Path) -> Path:
    """A backup of a cluster whose machines are no more when this returns."""
    cluster.etcdctl("put /registry/a saved")
    snapshot = Operator(cluster.inventory, tmp_path / "state-before").backup(tmp_path / "backup")
    for node in cluster.nodes:
        node.remove()
    return snapshot


EVERYTHING = (
    "find /opt /etc/etcd /etc/systemd /run/systemd/system /var/lib/etcd /usr/local"
    " 2>/dev/null | sort"
)


def test_restored_on_machines_that_had_nothing(
    etcd_cluster: Callable[..., Cluster], new_hosts: NewHosts, tmp_path: Path
) -> None:
    snapshot = saved(etcd_cluster(members=1), tmp_path)
    operator, (first, second, _) = new_hosts.operator, new_hosts.nodes
    blank = new_hosts.each(EVERYTHING)

    second.put("/opt/etcd/bin/etcdctl", "somebody else's")
    refused = operator.restore(snapshot)
    assert refused.returncode == 4, refused.stderr
    assert f"{second.name}: has other files at /opt/etcd/bin/etcdctl" in refused.stderr
    assert new_hosts.each("ls -A /var/lib/drctl 2>/dev/null || :") == ["", "", ""]
    second.sh("rm -r /opt/etcd")

    killed = operator.restore(snapshot, die="effect install")
    assert killed.returncode == KILLED, killed.stderr
    assert "new, blank hosts" in killed.stderr and first.address in killed.stderr
    assert operator.resume(die="intent start-blank").returncode == KILLED
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr

    run = operator.last_run()
    status = operator.status()
    assert status["cluster_id"] == run["values"]["cluster_id"]
    assert [member["healthy"] for member in status["members"]] == [True] * 3
    assert new_hosts.etcdctl("get /registry/a --print-value-only") == ["saved\n"] * 3
    assert new_hosts.each("stat -c '%U %a' /etc/etcd/pki/etcd-key.pem") == ["etcd 600\n"] * 3
    assert new_hosts.each("ps -o user= -C etcd") == ["etcd\n"] * 3
    kept = f"/var/lib/etcd.drctl/{run['run']}/old"
    new_hosts.each(f"test -d {kept}/etcd/member/wal")  # the blank cluster's, as any old data
    assert new_hosts.each("grep -rl 'PRIVATE KEY' /var/lib/drctl || :") == ["", "", ""]
    assert b"PRIVATE KEY" not in b"".join(p.read_bytes() for p in operator.state.rglob("*.sqlite"))

    first.reboot()
    until(lambda: first.state("etcd") == "active", 90, "etcd")
    undone = operator.rollback()
    assert undone.returncode == 0, undone.stderr
    assert new_hosts.each(EVERYTHING) == blank
    new_hosts.each(f"test -d {kept}/blank/member/wal")
