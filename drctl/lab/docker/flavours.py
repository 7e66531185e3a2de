"""What differs between the ways in which a cluster is installed on the lab's machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from drctl.errors import UsageError
from drctl.lab.docker import static_pods, systemd
from drctl.lab.docker.layout import DockerLab, Node
from drctl.lab.docker.machine import Machine
from drctl.lab.labs import Say
from drctl.lab.site import Component, Flavour


class Way(Protocol):
    """One way. Everything else about a lab is the same in all of them."""

    @property
    def name(self) -> Flavour: ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The programs that a folder of Kubernetes must hold for it."""
        ...

    @property
    def needs_kubernetes(self) -> bool:
        """Whether there is no such cluster without Kubernetes."""
        ...

    @property
    def member_name(self) -> str:
        """What an etcd member is called, with {host} and {address} to fill."""
        ...

    def programs(self, lab: DockerLab) -> Mapping[str, Path]:
        """What the nodes' image carries in /usr/local/bin: name -> file on this machine."""
        ...

    def start(self, lab: DockerLab, machines: Mapping[str, Machine], say: Say) -> None:
        """Install and start the cluster on booted machines; return when it answers. Leaves the
        operator's certificates in `lab.pki`."""
        ...

    def control(self, lab: DockerLab, verb: str, part: Component) -> str:
        """The shell script that does `verb` (start, stop, kill) to the part on one machine."""
        ...

    def services(self, lab: DockerLab, node: Node) -> list[str]:
        """The names of what runs there, for `lab status`."""
        ...

    def inventory(self, lab: DockerLab) -> dict[str, Any]:
        """What the inventory's template is given beside the hosts: `services` and so on."""
        ...


_WAYS: dict[str, Way] = {"systemd": systemd.Systemd(), "static-pod": static_pods.StaticPods()}
NAMES = tuple(_WAYS)


def way(name: str) -> Way:
    """The way of that name; UsageError naming those that exist otherwise."""
    if name not in _WAYS:
        raise UsageError(f"no such flavour: {name!r}", hint=f"known: {', '.join(_WAYS)}")
    return _WAYS[name]
