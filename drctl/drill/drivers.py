"""The lab that a scenario needs, from the driver that was asked for, or why it cannot be had."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from drctl.drill.scenario import Needs
from drctl.errors import UsageError
from drctl.lab import labs
from drctl.lab.labs import Say
from drctl.lab.site import Site

KEYS = 200
_DOCKER_SECONDS = 20


@dataclass(frozen=True)
class LabOptions:
    """What the caller wants of every lab, whatever the scenario."""

    flavour: str = ""  # "": the driver's own
    kubernetes: str = "none"  # none, build, or a folder
    etcd: Path | None = None  # a folder with etcd's tools
    keys: int = KEYS


class Practice(Protocol):
    """How one driver meets a scenario's needs."""

    @property
    def name(self) -> str: ...

    def flavour(self, options: LabOptions) -> str:
        """The flavour that its labs will have."""
        ...

    def why_not(self, needs: Needs, options: LabOptions) -> str:
        """The reason why this machine and driver cannot have such a lab; "" if they can."""
        ...

    def arguments(self, needs: Needs, options: LabOptions) -> dict[str, Any]:
        """What the driver's `up` is given."""
        ...


class Local:
    """Hosts on loopback: no root, no Docker."""

    name = "local"

    def flavour(self, options: LabOptions) -> str:
        return options.flavour or "local"

    def why_not(self, needs: Needs, options: LabOptions) -> str:
        lacks = {
            "blank machines": needs.spares,
            "separate disks": needs.disk_mb,
            "real Kubernetes": needs.kubernetes or options.kubernetes != "none",
            f"flavour {options.flavour}": options.flavour not in ("", "local"),
        }
        missing = [what for what, wanted in lacks.items() if wanted]
        return f"a loopback lab has no {', no '.join(missing)}" if missing else ""

    def arguments(self, needs: Needs, options: LabOptions) -> dict[str, Any]:
        return _common(needs, options)


class Docker:
    """Machines with systemd in a Docker engine."""

    name = "docker"

    def flavour(self, options: LabOptions) -> str:
        return options.flavour or "systemd"

    def why_not(self, needs: Needs, options: LabOptions) -> str:
        if needs.kubernetes and options.kubernetes == "none":
            return "it needs real Kubernetes: --kubernetes DIR or build"
        return _no_docker()

    def arguments(self, needs: Needs, options: LabOptions) -> dict[str, Any]:
        return {
            **_common(needs, options),
            "data_size": f"{needs.disk_mb}m" if needs.disk_mb else None,
            "spares": needs.spares,
            "flavour": self.flavour(options),
            "kubernetes": options.kubernetes,
        }


def _common(needs: Needs, options: LabOptions) -> dict[str, Any]:
    return {
        "members": needs.members,
        "separate_wal": needs.wal_dir,
        "etcd": options.etcd,
        "keys": options.keys,
    }


def _no_docker() -> str:
    """Why no Docker engine can be used here; "" where one answers."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    try:
        told = subprocess.run(
            ["docker", "info"], capture_output=True, text=True, timeout=_DOCKER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return f"no Docker engine: {told.stderr.strip()[-200:]}" if told.returncode else ""


PRACTICES: Mapping[str, Practice] = {"local": Local(), "docker": Docker()}


def practice(name: str) -> Practice:
    """The driver of that name; UsageError where there is none."""
    if name not in PRACTICES:
        raise UsageError(f"no such lab driver: {name!r}", hint=f"known: {', '.join(PRACTICES)}")
    return PRACTICES[name]


def why_not(of: Practice, needs: Needs, options: LabOptions) -> str:
    """The reason why the scenario cannot be drilled so; "" if it can."""
    if of.name not in needs.drivers:
        return f"it needs the driver {' or '.join(needs.drivers)}"
    if (flavour := of.flavour(options)) not in needs.flavours:
        return f"it is for {', '.join(needs.flavours)}, not for {flavour}"
    return of.why_not(needs, options)


def up(of: Practice, directory: Path, needs: Needs, options: LabOptions, say: Say) -> Site:
    """Start the lab in `directory`."""
    labs.load(of.name).up(directory, say=say, **of.arguments(needs, options))
    return labs.driver(of.name).site(directory)


def down(of: Practice, directory: Path, say: Say) -> None:
    """End the lab in `directory` and remove it."""
    labs.driver(of.name).down(directory, say)
