"""`--from` an inventory of drctl's own: what no node can tell is kept, the rest is asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drctl.discovery.told import Listed, Machine, Role, Told
from drctl.inventory import Inventory, load_inventory
from drctl.inventory.resolved import Host
from drctl.yamlfile import scan_yaml

_KEPT = ("service_manager", "commands", "options", "prepare")
_KEPT_ETCD = ("etcdutl", "image", "owner", "tools")
_ROLES: tuple[Role, ...] = ("etcd", "control_plane", "workers")


def is_own(data: dict[str, Any]) -> bool:
    """Whether the file has an inventory's keys."""
    return {"cluster", "hosts", "groups"} <= data.keys()


def own_inventory(path: Path) -> Listed:
    """The hosts and what was decided by somebody. Raises InvalidInput where it is not valid."""
    inventory = load_inventory(path)
    document, _ = scan_yaml(path)
    data = document.data

    def at(*keys: str) -> str:
        return f"{path.name}:{document.line(keys)}"

    kept: dict[str, Any] = {key: data[key] for key in _KEPT if key in data}
    etcd = data.get("etcd") or {}
    kept |= {f"etcd.{key}": etcd[key] for key in _KEPT_ETCD if etcd.get(key) is not None}
    kept["services"] = data.get("services") or {}
    kept["groups"] = {name: hosts for name, hosts in inventory.groups.items() if name not in _ROLES}
    known = inventory.known_hosts
    return Listed(
        path=path,
        kind="an inventory of drctl's",
        machines=tuple(
            _machine(inventory, host, at("hosts", host.name)) for host in inventory.hosts.values()
        ),
        cluster=Told(inventory.cluster, at("cluster")),
        known_hosts=Told(str(known), at("known_hosts")) if known else None,
        kept={key: value for key, value in kept.items() if value},
    )


def _machine(inventory: Inventory, host: Host, source: str) -> Machine:
    def told(value: Any) -> Told[Any] | None:
        return None if value is None else Told(value, source)

    become = "none" if host.user == "root" else "sudo"
    return Machine(
        name=host.name,
        source=source,
        roles=tuple(role for role in _ROLES if host.name in inventory.groups.get(role, ())),
        address=told(host.address) if host.address != host.name else None,
        cluster_address=told(host.cluster_address),
        user=told(host.user),
        port=told(host.port),
        key=told(str(host.key)) if host.key else None,
        jump=told(host.jump),
        become=told(host.become) if host.become != become else None,
        work_dir=told(host.work_dir) if host.work_dir != "/var/lib/drctl" else None,
    )
