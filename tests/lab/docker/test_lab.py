"""The Docker lab as a whole: what it offers, what it keeps inside, what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from drctl.errors import Refused
from drctl.inventory import load_inventory
from drctl.lab import labs
from drctl.lab.docker import driver, engine
from drctl.lab.docker.answers import etcd_answers
from drctl.lab.docker.layout import DockerLab, require
from drctl.lab.docker.site import DockerSite
from drctl.lab.waiting import until


def quiet(text: str) -> None:
    """Progress is of no interest here."""


@pytest.fixture(scope="module")
def place(
    docker_client: DockerClient, etcd_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerSite]:
    """A lab with two members, which need each other, a worker and a blank machine."""
    directory = tmp_path_factory.mktemp("docker-lab") / "lab"
    driver.up(directory, members=2, spares=1, separate_wal=True, etcd=etcd_dir, say=quiet)
    yield driver.site(directory)
    driver.down(directory, quiet)


def left_of(client: DockerClient, lab: DockerLab) -> list[str]:
    """What the engine still has of it."""
    label = f"{engine.PROJECT_LABEL}={lab.project}"
    containers = client.containers.list(all=True, ignore_removed=True, filters={"label": label})
    return [
        *(str(one.name) for one in containers),
        *(str(one.name) for one in client.networks.list(filters={"label": label})),
        *(str(one.name) for one in client.volumes.list(filters={"label": label})),
    ]


def test_status_is_the_documented_document_and_usable_from_here(place: DockerSite) -> None:
    told = labs.of(place.directory).status(place.directory)
    assert set(told) == {"nodes", "etcd", "known_hosts"}
    names = [node["name"] for node in told["nodes"]]
    assert names == ["node-1", "node-2", "worker-1", "spare-1"]
    etcd = told["etcd"]
    argv = [etcd["etcdctl"], "--endpoints", ",".join(etcd["endpoints"]), "endpoint", "health"]
    tls = ["--cacert", etcd["cacert"], "--cert", etcd["cert"], "--key", etcd["key"]]
    ended = subprocess.run([*argv, *tls], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr


def test_ssh_goes_in_by_the_keys_of_the_lab(place: DockerSite) -> None:
    for node in place.nodes:
        argv = labs.of(place.directory).ssh_argv(place.directory, node.name)
        ended = subprocess.run(
            [*argv, "hostname; sudo -n id -un"], capture_output=True, text=True, timeout=60
        )
        assert ended.stdout.split() == [node.name, "root"], ended.stderr


def test_the_inventory_is_an_operators(place: DockerSite) -> None:
    inventory = load_inventory(place.inventory)
    assert [member.name for member in inventory.members] == [
        node.member_name for node in place.nodes if "etcd" in node.roles
    ]
    assert {member.wal_dir for member in inventory.members} == {"/var/lib/etcd-wal/wal"}
    assert ".wal" in place.sh("node-1", "ls /var/lib/etcd-wal/wal").output


def test_everything_stays_on_this_machine(place: DockerSite) -> None:
    for node in place.lab.nodes:
        container = place.client.containers.get(f"{place.lab.project}-{node.name}-1")
        bound = container.attrs["HostConfig"]["PortBindings"].values()
        assert {one["HostIp"] for ports in bound for one in ports} == {"127.0.0.1"}
        assert "default" not in place.sh(node.name, "ip route").output
        assert not container.attrs["HostConfig"]["Privileged"]
        mounted = {mount["Type"] for mount in container.attrs["Mounts"]}
        assert mounted <= {"volume", "tmpfs"}, "a folder of this machine is seen in there"


def test_a_spare_is_blank(place: DockerSite) -> None:
    seen = place.sh("spare-1", "ls /usr/local/bin /etc/systemd/system /var/lib")
    assert "etcd" not in seen.output and "kube" not in seen.output
    assert place.sh("spare-1", "ls -A /etc/kubernetes", check=False).status != 0


def test_a_cut_member_is_alone_until_it_is_mended(place: DockerSite) -> None:
    node = place.lab.node("node-2")
    place.cut("node-2", ["node-1"])
    until(lambda: not etcd_answers(place.lab, node), 60, "the cut")
    place.mend()
    until(lambda: etcd_answers(place.lab, node), 60, "the mended network")


def test_a_machine_goes_off_and_on_with_its_data(place: DockerSite) -> None:
    node = place.lab.node("node-1")
    place.sh("node-1", "touch /var/lib/etcd/here /run/gone")
    place.power_off("node-1")
    assert not etcd_answers(place.lab, node)
    place.power_on("node-1")
    until(lambda: etcd_answers(place.lab, node), 60, "etcd")
    assert place.sh("node-1", "ls /var/lib/etcd/here; ls /run/gone", check=False).status != 0
    place.sh("node-1", "rm /var/lib/etcd/here")


def test_a_lab_killed_half_way_up_is_cleaned_and_nothing_is_left(
    place: DockerSite, docker_client: DockerClient, etcd_dir: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "lab"
    options = ["--driver", "docker", "--members", "1", "--workers", "0", "--etcd", str(etcd_dir)]
    starting = subprocess.Popen(
        [sys.executable, "-m", "drctl", "lab", "up", "--dir", str(directory), *options],
        stderr=subprocess.DEVNULL,
    )
    try:
        until((directory / "compose.yaml").is_file, 120, "the compose file")
        killed = require(directory)
        with pytest.raises(Refused, match="already up"):
            labs.make_room(directory, quiet)
        until(lambda: bool(left_of(docker_client, killed)), 60, "a part of the lab")
    finally:
        starting.kill()
        starting.wait()
    driver.up(directory, members=1, workers=0, data_size="300m", keys=5, etcd=etcd_dir, say=quiet)
    made = driver.site(directory)
    try:
        assert left_of(docker_client, killed) == []
        assert "tmpfs" in made.sh("node-1", "stat -f -c %T /var/lib/etcd").output
    finally:
        driver.down(directory, quiet)
    time.sleep(1)  # the engine goes on with what a client asked that was killed
    assert left_of(docker_client, made.lab) == left_of(docker_client, killed) == []
    assert not directory.exists()
    assert place.sh("node-1", "true").status == 0


def test_a_lab_of_another_driver_is_told_apart(place: DockerSite, tmp_path: Path) -> None:
    record = json.loads((place.directory / "lab.json").read_text())
    assert record["driver"] == "docker"
    (tmp_path / "lab.json").write_text(json.dumps(record | {"driver": "local"}))
    with pytest.raises(Refused, match="driver local"):
        driver.status(tmp_path)
