"""A Docker lab that is up, as breaks, drills and proofs see it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from docker import DockerClient

from drctl.lab.certs import Authority
from drctl.lab.docker import flavours, manifests, pki
from drctl.lab.docker.layout import APISERVER_PORT, DockerLab, Node
from drctl.lab.docker.machine import Machine
from drctl.lab.site import Access, Component, Flavour, HostRole, Ran, SiteNode

_CUT = """\
iptables -w -N DRCTL-LAB-CUT 2>/dev/null && {{
  iptables -w -I INPUT -j DRCTL-LAB-CUT && iptables -w -I OUTPUT -j DRCTL-LAB-CUT || exit 1
}}
for other in {others}; do
  iptables -w -A DRCTL-LAB-CUT -s "$other" -j DROP || exit 1
  iptables -w -A DRCTL-LAB-CUT -d "$other" -j DROP || exit 1
done
"""
_MEND = "iptables -w -F DRCTL-LAB-CUT 2>/dev/null || :"


@dataclass(frozen=True)
class DockerSite:
    """Implements `drctl.lab.site.Site` by the engine: exec, kill, start."""

    lab: DockerLab
    client: DockerClient

    @property
    def directory(self) -> Path:
        return self.lab.directory

    @property
    def flavour(self) -> Flavour:
        return self._way.name

    @property
    def nodes(self) -> tuple[SiteNode, ...]:
        return tuple(self._site_node(node) for node in self.lab.nodes)

    @property
    def inventory(self) -> Path:
        return self.lab.inventory

    @property
    def etcd(self) -> Access:
        return self.lab.etcd

    @property
    def authority(self) -> Authority:
        return pki.authority(self.lab)

    @property
    def etcd_tools(self) -> Path:
        return Path(self.lab.tools)

    @property
    def kubernetes(self) -> Access | None:
        return self.lab.admin

    def sh(self, node: str, script: str, *, check: bool = True, seconds: float = 60.0) -> Ran:
        """As root, by the engine."""
        return self._machine(node).sh(script, check=check, seconds=seconds)

    def kill(self, node: str, part: Component) -> None:
        """SIGKILL to the part's processes."""
        self._control(node, "kill", part)

    def stop(self, node: str, part: Component) -> None:
        """As an operator of this flavour stops it."""
        self._control(node, "stop", part)

    def start(self, node: str, part: Component) -> None:
        """As an operator of this flavour starts it."""
        self._control(node, "start", part)

    def power_off(self, node: str) -> None:
        """SIGKILL to everything in the machine."""
        self._machine(node).power_off()

    def power_on(self, node: str) -> None:
        """Boot it again. A `cut` that was made there is gone."""
        self._machine(node).power_on()

    def retire(self, node: str) -> None:
        """It has no role any more, and the inventory does not name it."""
        self._recast(node)

    def enlist(self, node: str) -> None:
        """The inventory names it as a member whose host is to be prepared."""
        self._recast(node, "etcd")

    def cut(self, node: str, others: Sequence[str]) -> None:
        """Drop rules in the machine, by the others' addresses."""
        addresses = " ".join(self.lab.node(other).address for other in others)
        self.sh(node, _CUT.format(others=addresses))

    def mend(self) -> None:
        """Empty the rules wherever a machine runs."""
        running = [node.name for node in self.lab.nodes if self._machine(node.name).runs()]
        with ThreadPoolExecutor(max(1, len(running))) as pool:
            list(pool.map(lambda name: self.sh(name, _MEND), running))

    @property
    def _way(self) -> flavours.Way:
        return flavours.way(self.lab.shape.flavour)

    def _recast(self, node: str, *roles: HostRole) -> None:
        self.lab.recast(node, *roles)
        if self.lab.having("etcd"):
            self.lab.inventory.write_text(manifests.inventory(self.lab))

    def _machine(self, name: str) -> Machine:
        return Machine(self.lab, self.lab.node(name), self.client)

    def _control(self, node: str, verb: str, part: Component) -> None:
        self.sh(node, self._way.control(self.lab, verb, part), seconds=120)

    def _site_node(self, node: Node) -> SiteNode:
        real = node.has("control_plane") and self.lab.shape.kubernetes
        return SiteNode(
            name=node.name,
            roles=frozenset(node.roles),
            address=node.address,
            member_name=node.member_name,
            client_url=node.client_url,
            apiserver_url=f"https://127.0.0.1:{node.ports[APISERVER_PORT]}" if real else "",
            data_dir=self.lab.data_dir,
            wal_dir=self.lab.wal_dir,
        )
