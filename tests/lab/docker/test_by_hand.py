"""etcd started in the ways in which people start it by hand: found by one host's address, and the
inventory that was written serves, unchanged. The machines are one lab's, changed in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drctl.inventory import load_inventory
from tests.lab.docker import by_hand
from tests.lab.docker.cluster import Cluster
from tests.lab.docker.nodes import USER, Node
from tests.support.operator import Operator

MakeCluster = Callable[..., Cluster]
WAYS: Mapping[str, Callable[[Node, int], None]] = {
    "unit": lambda node, number: None,
    "shell": lambda node, number: by_hand.through_a_shell(node),
    "script": lambda node, number: by_hand.through_a_script(node),
    "kubespray, an imitation": by_hand.as_kubespray,
    "configuration file": lambda node, number: by_hand.from_a_configuration_file(node, alone=True),
}
"""In an order in which each is made of the one before. In the last no member's settings name
another: etcd itself has to be asked for them."""


def change(cluster: Cluster, way: str) -> None:
    """All members at once: a quorum is lost for a moment, and nothing else."""
    print(f"-- {way}")  # a member that does not come up says nothing of it
    with ThreadPoolExecutor(len(cluster.nodes)) as pool:
        list(pool.map(WAYS[way], cluster.nodes, range(1, len(cluster.nodes) + 1)))
    cluster.wait_healthy()


def brings_back(cluster: Cluster, operator: Operator, folder: Path) -> None:
    """A restore with that operator's inventory brings back what was saved, and nothing else."""
    snapshot = operator.backup(folder)
    cluster.etcdctl("put /registry/later lost")
    restored = operator.restore(snapshot, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr
    assert operator.types("verify", *operator.on).returncode == 0
    assert cluster.etcdctl("get /registry/a --print-value-only") == "saved\n"
    assert cluster.etcdctl("get /registry/later --print-value-only") == ""


def discovered(cluster: Cluster, operator: Operator, path: Path) -> Operator:
    """The same person with the inventory that was written from one host's address."""
    known_hosts = path.with_suffix(".known_hosts")
    keys = [(node.address, node.known_hosts.read_text().split()[1:3]) for node in cluster.nodes]
    known_hosts.write_text("".join(f"{at} {kind} {key}\n" for at, (kind, key) in keys))
    first = cluster.nodes[0]
    way = ("--user", USER, "--key", str(first.key), "--known-hosts", str(known_hosts), "--yes")
    found = operator.types(
        "inventory", "discover", "--host", first.address, *way, "--write", str(path)
    )
    assert found.returncode == 0, found.stderr + path.read_text()
    return Operator(path, operator.state)


@pytest.fixture
def cluster(etcd_cluster: MakeCluster) -> Cluster:
    cluster: Cluster = etcd_cluster()
    cluster.etcdctl("put /registry/a saved")
    return cluster


def test_each_way_is_found_and_its_inventory_serves(cluster: Cluster, tmp_path: Path) -> None:
    operator = Operator(cluster.inventory, tmp_path / "state")
    for number, way in enumerate(WAYS):
        change(cluster, way)
        operator = discovered(cluster, operator, tmp_path / f"{number}.yaml")
        looked = operator.types("preflight", *operator.on)
        assert looked.returncode == 0, f"{way}: {looked.stderr}\n{operator.inventory.read_text()}"
        inventory = load_inventory(operator.inventory)
        assert {*inventory.hosts} == {node.name for node in cluster.nodes}, way
        units = ("etcd3",) if way == "configuration file" else ("etcd",)
        assert inventory.services["etcd"].units == units, way
        if way.startswith("kubespray"):
            assert [m.name for m in inventory.members] == ["etcd1", "etcd2", "etcd3"]
            assert inventory.members[0].ca == f"{by_hand.KUBESPRAY_SSL}/ca.pem"
    brings_back(cluster, operator, tmp_path / "backup")
    assert [node.state("etcd3") for node in cluster.nodes] == ["active"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("way", [way for way in WAYS if way != "configuration file"])
def test_and_a_restore_with_it_brings_back_what_was_saved(
    cluster: Cluster, tmp_path: Path, way: str
) -> None:
    change(cluster, way)
    operator = discovered(
        cluster, Operator(cluster.inventory, tmp_path / "state"), tmp_path / "found.yaml"
    )
    brings_back(cluster, operator, tmp_path / "backup")
