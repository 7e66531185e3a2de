"""The nodes themselves: what the tests on them rest on."""

from __future__ import annotations

import subprocess
import sys

from docker import DockerClient

from tests.lab.docker import engine
from tests.lab.docker.nodes import Node, Nodes


def test_systemd_is_pid_1_and_everything_has_started(node: Node) -> None:
    assert node.sh("cat /proc/1/comm").output == "systemd\n"
    assert node.sh("systemctl is-system-running").output == "running\n"


def test_an_operator_gets_in_and_becomes_root_without_a_password(node: Node) -> None:
    assert node.ssh("id -un; sudo -n id -un").output == "ops\nroot\n"


def test_another_host_key_is_refused(node: Node) -> None:
    right = node.known_hosts.read_text()
    node.known_hosts.write_text(right.replace("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"))
    try:
        assert node.ssh("true").status == 255
    finally:
        node.known_hosts.write_text(right)


def test_no_packet_leaves_the_machine(node: Node) -> None:
    assert "default" not in node.sh("ip route").output


def test_a_node_needs_no_python_for_what_drctl_does(node: Node) -> None:
    assert node.sh("command -v python3", check=False).status != 0


def test_a_full_data_directory_that_is_a_mount_point(systemd_node: Nodes) -> None:
    small = systemd_node("small", tmpfs={"/var/lib/etcd": "size=2m"})
    try:
        renamed = small.sh("mv -T /var/lib/etcd /var/lib/etcd.old", check=False)
        assert renamed.status != 0 and "busy" in renamed.output
        small.sh("cd /var/lib/etcd && mkdir -p member .drctl/new/member && mv member .drctl/old")
        full = small.sh("head -c 3000000 /dev/zero > /var/lib/etcd/big", check=False)
        assert full.status != 0 and "No space left" in full.output
    finally:
        small.remove()


def test_a_volume_outlives_a_reboot_and_the_port_stays(systemd_node: Nodes) -> None:
    other = systemd_node("kept", volumes=["/var/lib/etcd"])
    try:
        other.sh("echo here > /var/lib/etcd/file")
        other.reboot()
        assert other.ssh("sudo cat /var/lib/etcd/file").output == "here\n"
        assert other.sh("mv -T /var/lib/etcd /var/lib/x", check=False).status != 0
    finally:
        other.remove()


def test_what_a_killed_session_left_is_removed(
    docker_client: DockerClient, systemd_image: str, node: Node
) -> None:
    make = f"""
import docker
from tests.lab.docker import engine
client = docker.from_env()
made = client.containers.create({systemd_image!r}, labels={{engine.LABEL: engine.owner()}})
print(made.id)
client.close()
"""
    told = subprocess.run([sys.executable, "-c", make], capture_output=True, text=True, check=True)
    engine.sweep(docker_client)
    left = [
        container.id for container in docker_client.containers.list(all=True, ignore_removed=True)
    ]
    assert told.stdout.strip() not in left
    assert node.container.id in left
