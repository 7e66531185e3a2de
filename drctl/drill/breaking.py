"""Breaking a lab by hand: one kind, or all the damage of a scenario."""

from __future__ import annotations

from drctl.drill import breaks, scenario, witness
from drctl.drill.context import Scene
from drctl.drill.operator import Operator
from drctl.drill.scenario import Act
from drctl.errors import UsageError
from drctl.lab.labs import Say
from drctl.lab.site import Site, SiteNode


def strike(site: Site, name: str, *, say: Say, node: str | None = None) -> list[str]:
    """Do the kind `name`, or the damage of the scenario `name`, to a running lab.

    With `node` it strikes that host instead of those it would. Returns the names of those struck;
    UsageError for what does not exist, or needs more of a drill than a lab.
    """
    scene = Scene(site, Operator(site.inventory, site.directory / "state", say), say)
    struck = []
    for act in _acts(name):
        kind = breaks.KINDS[act.do]
        if not kind.by_hand:
            raise UsageError(f"{act.do} works only within a drill", hint="drctl drill run")
        for victim in _victims(site, act, node):
            for deed in kind.deeds:
                deed(scene, victim)
            say(f"{victim.name}: {act.do}")
            struck.append(victim.name)
    return struck


def _acts(name: str) -> tuple[Act, ...]:
    if name in breaks.KINDS:
        return (Act(do=name),)
    if name in scenario.shipped() and (damage := scenario.load(name).damage):
        return damage
    known = sorted({*breaks.KINDS, *scenario.shipped()})
    raise UsageError(f"no such way to break a lab: {name!r}", hint=f"known: {', '.join(known)}")


def _victims(site: Site, act: Act, node: str | None) -> tuple[SiteNode, ...]:
    if node is None:
        return scenario.chosen(act.on or breaks.KINDS[act.do].on, site.nodes)
    members = {one.name: one for one in witness.members(site)}
    if node not in members:
        raise UsageError(f"the lab has no member {node!r}", hint=f"known: {', '.join(members)}")
    return (members[node],)
