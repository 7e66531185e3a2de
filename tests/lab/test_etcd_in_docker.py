"""A member whose etcd is a container of this machine's Docker: backup, restore, rollback, with
etcd's tools out of the container's own image.

One member, as all hosts of the embedded lab share one engine, in which a name is used once.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from drctl.lab import layout
from drctl.lab.layout import Lab
from drctl.lab.local import build, driver
from tests.lab.docker import engine
from tests.lab.test_restore import write_later
from tests.support.labs import content, quiet
from tests.support.operator import Operator

pytestmark = [pytest.mark.lab, pytest.mark.docker]

NAME = f"drctl-test-etcd-{os.getpid()}"
_TOOLS = ("etcd", "etcdctl", "etcdutl")


@pytest.fixture
def lab(tmp_path: Path, etcd_dir: Path) -> Iterator[Lab]:
    """The lab's own etcd is fenced, and the same command line runs in a container."""
    client = engine.connect()
    if os.geteuid():
        pytest.skip("needs root: drctl's login on this lab is this user, and the engine wants root")
    driver.up(tmp_path / "lab", members=1, etcd=etcd_dir, keys=50, value_size=64, say=quiet)
    lab = layout.require(tmp_path / "lab")
    (host,) = lab.hosts
    tag = _image(client, etcd_dir)
    (host.fences / "etcd").touch()
    subprocess.run(build.control(host, "stop", "etcd"), check=True, timeout=60)
    written = host.supervisord_conf.read_text().partition("[program:etcd]")[2].partition("\n\n")[0]
    flags = re.findall(r"^  (--[a-z-]+(?:=\S+)?)$", written, re.MULTILINE)
    container = client.containers.run(
        tag,
        ["etcd", *(f for f in flags if not f.startswith(("--fence", "--chdir", "--stamp")))],
        name=NAME,
        detach=True,
        network_mode="host",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 5},
        volumes={str(host.root): {"bind": str(host.root), "mode": "rw"}},
        labels={engine.LABEL: engine.owner()},
    )
    try:
        yield lab
    finally:
        container.remove(force=True)
        client.images.remove(tag, force=True)
        driver.down(tmp_path / "lab", quiet)


def test_backup_restore_and_rollback_of_a_member_in_docker(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(_inventory(lab), tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    later = content(lab)
    looked = operator.types("preflight", *operator.on)
    assert looked.returncode == 0, looked.stderr

    restored = operator.restore(snapshot, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr
    assert content(lab) == saved
    assert _policy() == {"Name": "on-failure", "MaximumRetryCount": 5}

    back = operator.rollback()
    assert back.returncode == 0, back.stderr
    assert content(lab) == later
    assert _policy() == {"Name": "on-failure", "MaximumRetryCount": 5}
    left = engine.connect().containers.list(all=True, filters={"label": "drctl.run"})
    assert left == []


def _policy() -> object:
    return engine.connect().containers.get(NAME).attrs["HostConfig"]["RestartPolicy"]


def _inventory(lab: Lab) -> Path:
    text = lab.inventory.read_text()
    etcd = re.search(r"^  etcd: \{hosts: etcd, units: \[etcd\]", text, re.MULTILINE)
    assert etcd and text.count("\netcd:\n") == 1
    text = text.replace(etcd[0], f"  etcd: {{manager: docker, hosts: etcd, units: [{NAME}]")
    path = lab.inventory.with_name("docker.yaml")
    path.write_text(text.replace("\netcd:\n", "\netcd:\n  tools: image\n"))
    return path


def _image(client: DockerClient, etcd_dir: Path) -> str:
    """etcd's three tools and the libraries that they need, and nothing else."""
    programs = [etcd_dir / tool for tool in _TOOLS]
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    libraries = {word for word in told.split() if word.startswith("/") and ":" not in word}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for program in programs:
            archive.add(program.resolve(), f"usr/local/bin/{program.name}")
        for library in sorted(libraries):
            archive.add(os.path.realpath(library), library)
    tag = f"{NAME}:latest"
    change = "ENV PATH=/usr/local/bin"
    client.api.import_image_from_data(packed.getvalue(), repository=NAME, changes=[change])
    return tag
