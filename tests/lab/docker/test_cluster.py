"""A cluster of etcd on nodes, as the tests of real restores use it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drctl.inventory import load_inventory
from tests.lab.docker.cluster import Cluster

MakeCluster = Callable[..., Cluster]


@pytest.fixture
def cluster(etcd_cluster: MakeCluster) -> Cluster:
    """Three members and what stands around them."""
    return etcd_cluster()


def test_three_members_answer_and_one_comes_back_after_a_reboot(cluster: Cluster) -> None:
    cluster.etcdctl("put /registry/a one")
    assert cluster.etcdctl("get /registry/a --print-value-only", node=2) == "one\n"
    assert len(cluster.etcdctl("member list").splitlines()) == 3
    cluster.nodes[1].reboot()
    cluster.wait_healthy()
    assert cluster.etcdctl("get /registry/a --print-value-only", node=1) == "one\n"


def test_the_inventory_says_what_stands_on_the_nodes(cluster: Cluster) -> None:
    inventory = load_inventory(cluster.inventory)
    assert [member.name for member in inventory.members] == [
        f"etcd-{node.address}" for node in cluster.nodes
    ]
    units = [unit for service in inventory.services.values() for unit in service.units]
    for node in cluster.nodes:
        assert [node.state(unit) for unit in units] == ["active"] * len(units)
        ready = inventory.services["apiserver"].ready[node.name]
        assert ready and node.ssh(ready).output == "ok (a stand-in)\n"


def test_the_data_directory_can_be_a_mount_point(etcd_cluster: MakeCluster) -> None:
    cluster = etcd_cluster(members=1, tmpfs={"/var/lib/etcd": "size=300m"}, volumes=())
    assert cluster.nodes[0].sh("mv -T /var/lib/etcd /var/lib/x", check=False).status != 0
    assert cluster.etcdctl("endpoint health").count("is healthy") == 1
