"""The Docker lab's parts that need no engine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drctl.errors import Refused, UsageError
from drctl.lab import labfile, labs
from drctl.lab.docker import engine, free_ports
from drctl.lab.docker.driver import up

Fake = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a shell script on an otherwise empty PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_compose_1_alone_is_named_and_refused(program: Fake) -> None:
    program("docker", "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1")
    program("docker-compose", "echo 1.29.2")
    with pytest.raises(Refused, match=r"only Compose 1\.29\.2") as caught:
        engine.check_compose()
    assert "Compose v2" in str(caught.value.hint)


def test_no_docker_at_all_is_another_message(program: Fake) -> None:
    with pytest.raises(Refused, match="no `docker` on PATH"):
        engine.check_compose()


@pytest.mark.parametrize("version", ["2.26.1-4", "v2.40.0", "5.0.1"])
def test_newer_composes_are_taken(program: Fake, version: str) -> None:
    program("docker", f"echo {version}")
    engine.check_compose()


def test_a_subnet_overlaps_nothing_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_ports, "_TRIES", 2000)
    taken = [f"10.{second}.0.0/16" for second in range(65, 251)]
    found = free_ports.free_subnet([*taken, "172.17.0.0/16"])
    assert str(found).startswith("10.64.")
    assert not any(found.overlaps(ipaddress.IPv4Network(other)) for other in taken)


def test_ports_are_free_different_and_not_for_outgoing_connections() -> None:
    ports = free_ports.free_ports(12)
    assert len(set(ports)) == 12 and max(ports) < 32768
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_directory_is_claimed_once_and_whole(tmp_path: Path) -> None:
    labfile.claim(tmp_path / "lab", {"driver": "docker"})
    with pytest.raises(FileExistsError):
        labfile.claim(tmp_path / "lab", {"driver": "local"})
    assert labfile.read(tmp_path / "lab") == {"driver": "docker"}
    labfile.remove(tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_what_a_killed_claim_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "77-lab.part").write_text("{")
    labs.make_room(tmp_path, print)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Refused, match="not empty"):
        labs.make_room(tmp_path, print)


def test_a_shape_that_no_lab_has_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        up(tmp_path / "lab", members=0, say=print)
    with pytest.raises(UsageError, match="flavour"):
        up(tmp_path / "lab", flavour="podman", say=print)
    assert not (tmp_path / "lab").exists()


def test_a_lab_in_another_users_folder_is_no_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def volume(project: str, directory: Path) -> SimpleNamespace:
        record = f"{socket.gethostname()}:{directory}"
        marks = {engine.RECORD_LABEL: record, engine.PROJECT_LABEL: project}
        return SimpleNamespace(attrs={"Labels": marks})

    (tmp_path / "up").mkdir()
    (tmp_path / "up" / labfile.STATE_FILE).touch()
    made = [volume(name, tmp_path / name) for name in ("up", "gone", "hidden")]
    client: Any = SimpleNamespace(volumes=SimpleNamespace(list=lambda filters: made))
    stat = Path.stat

    def looks(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.parent.name == "hidden":
            raise PermissionError(13, "Permission denied")
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", looks)
    assert engine.orphans(client) == ["gone"]
