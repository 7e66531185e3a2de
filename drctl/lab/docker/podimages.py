"""The images of a static-pod lab: made of the lab's own programs, named as kubeadm names them.

The engine knows them by a digest of their content, so that labs of different programs do not
disturb each other; only inside a machine they get the names that its manifests use.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from drctl.errors import StepFailed
from drctl.lab import binaries
from drctl.lab.binaries import TOOLS
from drctl.lab.docker import images
from drctl.lab.docker.engine import environment
from drctl.lab.docker.kubernetes import CONTROL_PLANE, Release
from drctl.lab.docker.layout import DockerLab
from drctl.lab.docker.machine import Machine
from drctl.lab.labs import Say
from drctl.render import render

REPOSITORY = "lab.local"
"""No registry: a name with a dot that no machine of the lab can reach, and none exists."""
PAUSE = f"{REPOSITORY}/pause:1"  # also named in containerd.toml
_SECONDS = 300.0

ImageNames = Mapping[str, Sequence[str]]
"""The engine's tag -> the names of that image on the machines."""


def etcd_tag(lab: DockerLab) -> str:
    """etcd's image is tagged with its version, as kubeadm's is."""
    return ".".join(map(str, binaries.version(Path(lab.tools) / "etcd"))) + "-0"


def pause(machine: Machine, say: Say) -> ImageNames:
    """The image that holds a pod's namespaces; a container of it does nothing, which is enough
    for the pods of a lab's deployments."""
    parent = machine.lab.images["machine"]
    made = images.built(machine.client, f"{REPOSITORY}/pause", "pause.Dockerfile", parent, {}, say)
    return {made: (PAUSE,)}


def make(machine: Machine, kubernetes: Release, say: Say) -> tuple[ImageNames, ImageNames]:
    """Build what the engine lacks; returns the images of a control plane and of a worker."""
    lab, client = machine.lab, machine.client
    parent = lab.images["machine"]

    def programs(repository: str, folder: Path, names: Sequence[str]) -> str:
        files = {f"bin/{name}": folder / name for name in names}
        return images.built(client, repository, "program.Dockerfile", parent, files, say)

    etcd = programs(f"{REPOSITORY}/etcd", Path(lab.tools), TOOLS)
    control_plane = programs(f"{REPOSITORY}/control-plane", kubernetes.directory, CONTROL_PLANE)
    worker = pause(machine, say)
    return {
        **worker,
        etcd: (f"{REPOSITORY}/etcd:{etcd_tag(lab)}",),
        control_plane: [f"{REPOSITORY}/{name}:{kubernetes.text}" for name in CONTROL_PLANE],
    }, worker


def give(names: ImageNames, machines: Sequence[Machine]) -> None:
    """Start containerd on the machines and import the images there."""
    if not machines:
        return
    pairs = [(made, name) for made, all_names in names.items() for name in all_names]
    script = render("lab/docker/static-pod/containerd.sh", names=pairs)
    lab = machines[0].lab
    with TemporaryDirectory(dir=lab.directory) as folder, ThreadPoolExecutor(len(machines)) as pool:
        archive = Path(folder) / "images.tar"
        _save(names, archive, lab)
        list(pool.map(lambda machine: machine.feed(script, archive, seconds=_SECONDS), machines))


def _save(names: ImageNames, archive: Path, lab: DockerLab) -> None:
    told = subprocess.run(
        ["docker", "save", "-o", str(archive), *names],
        env=environment(lab),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )
    if told.returncode:
        raise StepFailed(f"docker save failed: {told.stdout.strip()}")
