"""A site of which nothing is asked, for tests of what stands above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drctl.lab.certs import Authority
from drctl.lab.site import Access, Component, Flavour, Ran, SiteNode


@dataclass(frozen=True)
class SiteStandIn:
    """A lab with the nodes that it is given, and nothing behind them."""

    nodes: tuple[SiteNode, ...] = ()
    directory: Path = Path("/nowhere")
    flavour: Flavour = "local"
    inventory: Path = Path("/nowhere/inventory.yaml")
    etcd_tools: Path = Path("/nowhere")
    kubernetes: Access | None = None

    @property
    def etcd(self) -> Access:
        raise AssertionError("nobody asks for it")

    @property
    def authority(self) -> Authority:
        raise AssertionError("nobody asks for it")

    def sh(self, node: str, script: str, *, check: bool = True, seconds: float = 60.0) -> Ran:
        raise AssertionError(f"{node}: {script} ({check}, {seconds})")

    def kill(self, node: str, part: Component) -> None:
        raise AssertionError(f"{node}: {part}")

    stop = start = kill

    def power_off(self, node: str) -> None:
        raise AssertionError(node)

    power_on = power_off

    def retire(self, node: str) -> None:
        raise AssertionError(f"{node} retired")

    def enlist(self, node: str) -> None:
        raise AssertionError(f"{node} enlisted")

    def cut(self, node: str, others: Sequence[str]) -> None:
        raise AssertionError(f"{node}: {others}")

    def mend(self) -> None:
        raise AssertionError("mend")
