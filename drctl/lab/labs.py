"""Labs by their driver: who made the lab in a directory is asked to do everything else with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypedDict, cast

from drctl.errors import Refused, UsageError
from drctl.lab import labfile
from drctl.lab.layout import resolve
from drctl.lab.site import Site

Say = Callable[[str], None]
# Imported only when asked for: Docker's SDK is no part of what the embedded lab needs.
_MODULES = {"local": "drctl.lab.local.driver", "docker": "drctl.lab.docker.driver"}
NAMES = tuple(_MODULES)


class NodeStatus(TypedDict):
    """One node as `lab status` shows it; `services` are the units on it."""

    name: str
    ssh_host: str
    ssh_port: int
    services: list[str]
    data_dir: str
    wal_dir: str | None


class EtcdStatus(TypedDict):
    """How to reach the lab's etcd from the machine that it runs on."""

    endpoints: list[str]
    cacert: str
    cert: str
    key: str
    etcdctl: str


class LabStatus(TypedDict):
    """The document of `drctl lab status --output json`."""

    nodes: list[NodeStatus]
    etcd: EtcdStatus
    known_hosts: str


class Driver(Protocol):
    """What every driver's module offers, beside an `up` of its own."""

    def down(self, directory: Path, say: Say) -> None:
        """End everything of the lab and remove its directory."""
        ...

    def status(self, directory: Path) -> LabStatus:
        """The lab's nodes, endpoints and paths."""
        ...

    def ssh_argv(self, directory: Path, node: str) -> list[str]:
        """The command line of the system's ssh client for `node`."""
        ...

    def site(self, directory: Path) -> Site:
        """The running lab, as breaks, drills and proofs see it."""
        ...

    def is_up(self, directory: Path) -> bool:
        """Whether the lab there runs (or is being started by a process that still lives)."""
        ...


def driver(name: str) -> Driver:
    """The driver of that name; UsageError naming those that exist otherwise."""
    if name not in _MODULES:
        raise UsageError(f"no such lab driver: {name!r}", hint=f"known: {', '.join(NAMES)}")
    return cast(Driver, load(name))


def load(name: str) -> ModuleType:
    """The driver's module; Refused where a package that it needs is not installed."""
    try:
        return importlib.import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        raise Refused(
            f"the package {error.name} is not installed",
            hint="in a clone of drctl: pipx install '.[lab]', or make setup",
        ) from error


def of(directory: Path) -> Driver:
    """The driver that made the lab in `directory`; Refused where there is no lab."""
    found = labfile.read(resolve(directory))
    if found is None:
        raise Refused(f"no lab in {directory}", hint="create one: drctl lab up --dir DIR")
    return driver(str(found.get("driver", "local")))


def make_room(directory: Path, say: Say) -> None:
    """Refuse a directory that is not a lab's or whose lab runs; clean what a dead lab left."""
    if labfile.read(directory) is None:
        if not labfile.vacant(directory):
            raise Refused(
                f"{directory} is not empty, and there is no lab in it",
                hint="choose another directory with --dir",
            )
        return
    owner = of(directory)
    if owner.is_up(directory):
        raise Refused(
            f"a lab is already up in {directory}",
            hint=f"stop it: drctl lab down --dir {directory}",
        )
    say(f"cleaning up after a lab in {directory}")
    owner.down(directory, say)
