"""One drill in a running lab: who acts in it, and what has been seen so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.drill import witness
from drctl.drill.kubeworld import KubeSight, new_name
from drctl.drill.operator import Operator
from drctl.drill.witness import Sight
from drctl.inventory import Inventory, load_inventory
from drctl.lab.labs import Say
from drctl.lab.site import Site, SiteNode
from drctl.render import render

_NOTHING = Sight("", 0, {})


@dataclass
class Scene:
    """What breaks and proofs know. `before` is what the backup holds, `later` what was there when
    the disaster struck; `down` the hosts that are switched off."""

    site: Site
    operator: Operator
    say: Say
    snapshot: Path = Path()
    before: Sight = _NOTHING
    later: Sight = _NOTHING
    written: frozenset[str] = frozenset()  # keys that the drill itself wrote after the backup
    name: str = field(default_factory=new_name)  # in the names of all that the drill writes
    kube_before: KubeSight = field(default_factory=KubeSight)
    kube_later: KubeSight = field(default_factory=KubeSight)
    footprints: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def members(self) -> tuple[SiteNode, ...]:
        """The members whose hosts are switched on."""
        return tuple(node for node in witness.members(self.site) if node.name not in self.down)

    @property
    def inventory(self) -> Inventory:
        return load_inventory(self.operator.inventory)

    @property
    def kube_lost(self) -> dict[str, int]:
        """Kubernetes objects written after the backup, by kind."""
        lost = self.kube_later.missing_from(self.kube_before)
        return dict(sorted(Counter(kind for kind, _, _ in lost).items()))

    def sh(self, node: SiteNode, template: str, **values: Any) -> str:
        """Run `templates/lab/TEMPLATE.sh.j2` on the host; returns its output."""
        inventory = self.inventory
        known: dict[str, object] = {
            "host": inventory.hosts[node.name],
            "kubernetes": inventory.kubernetes[node.name],
        }
        if node.name in {member.host for member in inventory.members}:
            known["member"] = inventory.member(node.name)
        text = render(f"lab/{template}.sh", node=node, **known, **values)
        return self.site.sh(node.name, text).output

    def footprint(self) -> dict[str, str]:
        """What drctl can have left on each member's host: every path of its own."""
        return {node.name: self.sh(node, "footprint") for node in self.members}

    @property
    def bump(self) -> int:
        """By how much the last run raised the revision."""
        return int((self.runs[-1]["values"].get("bump") if self.runs else 0) or 0)
