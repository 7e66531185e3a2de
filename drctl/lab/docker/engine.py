"""The Docker engine and Compose: whether they are what the lab needs, and what they do for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
from docker import DockerClient
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from drctl.errors import Refused, StepFailed
from drctl.lab import processes
from drctl.lab.docker.layout import DockerLab
from drctl.lab.labfile import STATE_FILE

PROJECT_LABEL = "com.docker.compose.project"
LAB_LABEL = "drctl.lab"
RECORD_LABEL = "drctl.drill.record"
_ENGINE_SECONDS = 900  # how long one answer may take: a script in a machine is one
_UP_SECONDS = 600
_AT_ONCE = 8
_COMPOSE_V2 = (
    "install Compose v2 (the plugin of `docker compose`; Debian 13's and Docker's own package is"
    " docker-compose or docker-compose-plugin)"
)
_TAKEN = ("already allocated", "address already in use", "Pool overlaps", "Address already in use")


class PlaceTaken(StepFailed):
    """Someone took the subnet or a port between our check and the engine's."""

    code = "lab-place-taken"


def connect() -> DockerClient:
    """A client of the local engine; Refused when none answers."""
    try:
        client = docker.from_env(timeout=_ENGINE_SECONDS, environment=_where())
        client.ping()
    except DockerException as error:
        raise Refused(
            f"no Docker engine answers: {error}",
            hint="start Docker, or let this user use it (group docker); check with `docker "
            "version`",
        ) from error
    return client


def _where() -> dict[str, str]:
    """The environment by which the SDK finds the very engine that `docker` uses: the SDK knows
    nothing of the command line's contexts."""
    known = dict(os.environ)
    if "DOCKER_HOST" not in known and shutil.which("docker"):
        argv = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        told = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        if told.returncode == 0 and told.stdout.strip():
            known["DOCKER_HOST"] = told.stdout.strip()
    return known


def check_compose() -> None:
    """Refused unless `docker compose` is there and of version 2 or newer."""
    if shutil.which("docker") is None:
        raise Refused("no `docker` on PATH", hint="install the Docker command line")
    told = subprocess.run(
        ["docker", "compose", "version", "--short"], capture_output=True, text=True, timeout=60
    )
    version = told.stdout.strip().removeprefix("v")
    major = version.split(".")[0]
    if told.returncode == 0 and major.isdigit() and int(major) >= 2:
        return
    old = _old_compose()
    if old:
        raise Refused(f"only Compose {old} is installed, which is too old", hint=_COMPOSE_V2)
    raise Refused("`docker compose` does not work here", hint=_COMPOSE_V2)


def _old_compose() -> str:
    """The version of the old stand-alone tool, which knows no `cgroup:`; "" where there is none."""
    if shutil.which("docker-compose") is None:
        return ""
    told = subprocess.run(
        ["docker-compose", "version", "--short"], capture_output=True, text=True, timeout=60
    )
    return told.stdout.strip() or "1.x"


def environment(lab: DockerLab) -> dict[str, str]:
    """For every process started for the lab: it is found again by the lab's id in there."""
    return os.environ | {processes.MARKER: lab.id}


def start(lab: DockerLab) -> None:
    """Create and start what the lab's compose file says. PlaceTaken asks for another place."""
    argv = ["docker", "compose", "--ansi", "never", "--progress", "quiet"]
    argv += ["-p", lab.project, "-f", str(lab.compose_file), "up", "-d", "--no-build"]
    told = subprocess.run(
        argv,
        env=environment(lab),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_UP_SECONDS,
    )
    if told.returncode == 0:
        return
    said = told.stdout.strip()
    kind = PlaceTaken if any(word in said for word in _TAKEN) else StepFailed
    raise kind(f"docker compose up failed: {said}")


def subnets(client: DockerClient) -> list[str]:
    """The IPv4 subnets of the engine's networks."""
    found = []
    for network in client.networks.list():
        for config in (network.attrs.get("IPAM") or {}).get("Config") or ():
            if ":" not in config.get("Subnet", ":"):
                found.append(str(config["Subnet"]))
    return found


def labels(lab: DockerLab) -> dict[str, str]:
    """On everything of the lab in the engine: which lab it is, and where its record lies."""
    return {LAB_LABEL: lab.id, RECORD_LABEL: f"{socket.gethostname()}:{lab.directory}"}


def orphans(client: DockerClient) -> list[str]:
    """The projects of labs whose record is gone from this machine: no `lab down` finds them. A
    folder into which this user may not look is another user's, and not known to be gone."""
    found = set()
    for volume in client.volumes.list(filters={"label": RECORD_LABEL}):
        marks = volume.attrs["Labels"]
        host, _, directory = marks[RECORD_LABEL].partition(":")
        if host == socket.gethostname() and _is_gone(Path(directory) / STATE_FILE):
            found.add(marks[PROJECT_LABEL])
    return sorted(found)


def _is_gone(record: Path) -> bool:
    try:
        record.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except PermissionError:
        return False
    return False


def runs(client: DockerClient, lab: DockerLab) -> bool:
    """Whether any machine of the lab is switched on."""
    return bool(client.containers.list(ignore_removed=True, filters={"label": _label(lab.project)}))


def remove(client: DockerClient, lab: DockerLab) -> None:
    """End and remove everything of the lab in the engine: containers, network, volumes.

    By labels, not by the compose file: a lab that died half-way up may have none. What a killed
    `up` was still asking for is ended first, and then looked for several times, for the engine
    goes on with what it was asked.
    """
    left = processes.end_all([], lab.id)
    if left:
        raise StepFailed(f"processes of the lab survived SIGKILL: {sorted(left)}")
    quiet = 10 if lab.state == "starting" else 2  # looks that find nothing, one after the other
    seen = 0
    for _ in range(20 + quiet):
        seen = 0 if _remove_once(client, lab.project) else seen + 1
        if seen == quiet:
            return
        time.sleep(0.3)
    raise StepFailed(
        f"Docker still has parts of {lab.project}",
        hint=f"`docker ps -a --filter label={PROJECT_LABEL}={lab.project}` shows them; try again",
    )


def _remove_once(client: DockerClient, project: str) -> int:
    """How many things of the project there were."""
    containers = client.containers.list(
        all=True, ignore_removed=True, filters={"label": _label(project)}
    )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(_remove_container, containers))
    networks = client.networks.list(filters={"label": _label(project)})
    for network in networks:
        with contextlib.suppress(APIError):
            network.remove()
    volumes = client.volumes.list(filters={"label": _label(project)})
    for volume in volumes:
        with contextlib.suppress(APIError):
            volume.remove()
    return len(containers) + len(networks) + len(volumes)


def _remove_container(container: Container) -> None:
    with contextlib.suppress(APIError):  # looked at again by the next round
        container.remove(force=True, v=True)


def _label(project: str) -> str:
    return f"{PROJECT_LABEL}={project}"
