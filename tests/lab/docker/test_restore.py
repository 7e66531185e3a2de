"""Real restores on systemd nodes over SSH and sudo: real units, real fences, real reboots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.docker.cluster import Cluster
from tests.lab.docker.nodes import Node
from tests.support.operator import KILLED, Operator

MakeCluster = Callable[..., Cluster]
UNITS = ("etcd", "kube-apiserver-stand-in", "kubelet-stand-in", "etcd-backup.timer")


@pytest.fixture
def start(etcd_cluster: MakeCluster, tmp_path: Path) -> Callable[..., tuple[Cluster, Operator]]:
    """Makes a cluster with one key in it, and its operator."""

    def make(**options: object) -> tuple[Cluster, Operator]:
        cluster = etcd_cluster(**options)
        cluster.etcdctl("put /registry/a saved")
        return cluster, Operator(cluster.inventory, tmp_path / "state")

    return make


def prove(cluster: Cluster, operator: Operator, *, later: str = "/registry/later") -> None:
    """The saved key and not the later one, one new cluster, every unit up and unfenced."""
    run = operator.last_run()
    assert run["state"] == "done"
    status = operator.status()
    assert status["cluster_id"] == run["values"]["cluster_id"]
    assert all(member["healthy"] for member in status["members"])
    for number, node in enumerate(cluster.nodes):
        assert cluster.etcdctl("get /registry/a --print-value-only", node=number) == "saved\n"
        assert cluster.etcdctl(f"get {later} --print-value-only", node=number) == ""
        assert [node.state(unit) for unit in UNITS] == ["active"] * len(UNITS)
        assert not fences(node)


def fences(node: Node) -> str:
    return node.sh("ls -d /etc/systemd/system/*.d/zz-drctl-fence.conf 2>/dev/null || :").output


def everything(node: Node) -> str:
    """Every path that drctl could have made there."""
    return node.sh("find /var/lib/drctl /var/lib/etcd.drctl 2>/dev/null | sort || :").output


def test_a_reboot_in_the_middle_meets_the_fence(
    start: Callable[..., tuple[Cluster, Operator]], tmp_path: Path
) -> None:
    cluster, operator = start()
    snapshot = operator.backup(tmp_path / "backup")
    cluster.etcdctl("put /registry/later lost")
    killed = operator.restore(snapshot, "--replace-healthy", "--staged", die="effect stop-etcd")
    assert killed.returncode == KILLED, killed.stderr
    assert operator.resume(die="effect swap").returncode == KILLED
    node = cluster.nodes[1]
    assert "etcd.service.d" in fences(node)
    node.reboot()
    assert node.state("etcd") != "active", "the fence did not hold across a reboot"
    assert node.state("etcd-backup.timer") != "active"
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    prove(cluster, operator)
    undone = operator.rollback()
    assert undone.returncode == 0, undone.stderr
    assert cluster.etcdctl("get /registry/later --print-value-only") == "lost\n"
    assert not fences(node)


def test_a_mount_point_that_fills_up_and_is_emptied_again(
    start: Callable[..., tuple[Cluster, Operator]], tmp_path: Path
) -> None:
    cluster, operator = start(tmpfs={"/var/lib/etcd": "size=400m"}, volumes=())
    snapshot = operator.backup(tmp_path / "backup")
    cluster.etcdctl("put /registry/later lost")
    killed = operator.restore(snapshot, "--replace-healthy", die="step-done stop-etcd")
    assert killed.returncode == KILLED, killed.stderr
    full = cluster.nodes[2]
    full.sh("dd if=/dev/zero of=/var/lib/etcd/ballast bs=1M 2>/dev/null || :")
    failed = operator.resume()
    assert failed.returncode == 5, failed.stderr
    for word in (full.name, "No space left", "drctl restore --resume", "drctl rollback"):
        assert word in failed.stderr
    full.sh("rm /var/lib/etcd/ballast")
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    prove(cluster, operator)
    kept = f"/var/lib/etcd/.drctl/{operator.last_run()['run']}/old/member"
    assert cluster.nodes[0].sh(f"test -d {kept}").status == 0
    undone = operator.rollback()
    assert undone.returncode == 0, undone.stderr
    assert cluster.etcdctl("get /registry/later --print-value-only") == "lost\n"


def test_a_node_that_is_down_or_dies(
    start: Callable[..., tuple[Cluster, Operator]], tmp_path: Path
) -> None:
    cluster, operator = start()
    snapshot = operator.backup(tmp_path / "backup")
    dead = cluster.nodes[2]
    before = everything(cluster.nodes[0])
    dead.container.stop(timeout=5)
    refused = operator.restore(snapshot, "--replace-healthy")
    assert refused.returncode == 8, refused.stderr
    assert dead.name in refused.stderr
    assert everything(cluster.nodes[0]) == before
    dead.container.start()
    dead.wait_booted()
    cluster.wait_healthy()
    assert (
        operator.restore(snapshot, "--replace-healthy", die="step-done send").returncode == KILLED
    )
    dead.container.kill()
    failed = operator.resume()
    assert failed.returncode == 5, failed.stderr
    assert dead.name in failed.stderr
    dead.container.start()
    dead.wait_booted()
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    prove(cluster, operator)
