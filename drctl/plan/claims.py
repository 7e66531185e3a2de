"""What judges may know of the inventory, as plain data: its members, and what it claims of the
nodes, with the line of the file that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drctl.inventory import Inventory, Member, Service
from drctl.inventory.reach import reach

# a member's field -> (key of its override, key for all members)
_MEMBER_KEYS = {
    "data_dir": ("data_dir", "data_dir"),
    "wal_dir": ("wal_dir", "wal_dir"),
    "name": ("name", "member_name"),
    "peer_urls": ("peer_urls", "peer_url"),
    "client_urls": ("client_urls", "client_url"),
}


def claims(inventory: Inventory) -> dict[str, Any]:
    """`file`; `lines` of `HOST.field`, `services.NAME`, `groups.NAME`, `etcd.KEY` and `manifests`;
    by host what else is claimed of it."""
    return {
        "file": str(inventory.path),
        "lines": dict(_lines(inventory)),
        "hosts": {
            name: {
                "addresses": [host.cluster_address, host.address],
                "manifests": inventory.kubernetes[name].manifests,
            }
            for name, host in inventory.hosts.items()
        },
        "members": {member.host: _member(member) for member in inventory.members},
        "services": {
            name: {**_service(service), "own_hosts": f"services.{name}.hosts" in inventory.lines}
            for name, service in inventory.services.items()
        },
        "prepare": list(inventory.prepare.hosts) if inventory.prepare else [],
    }


def _member(member: Member) -> dict[str, Any]:
    return {"bin_dir": member.bin_dir, "tools": member.tools.source, "image": member.tools.image}


def _service(service: Service) -> dict[str, Any]:
    return {
        "hosts": list(service.hosts),
        "units": list(service.units),
        "manager": service.manager,
    }


def _lines(inventory: Inventory) -> Iterator[tuple[str, int]]:
    def line(*keys: str) -> int:
        """Of the first key that stands in the file; those further back decide where it does not."""
        return next((inventory.lines[key] for key in keys if key in inventory.lines), 1)

    for member in inventory.members:
        own = f"etcd.members.{member.host}"
        for field, (key, common) in _MEMBER_KEYS.items():
            where = line(f"{own}.{key}", f"etcd.{common}", own, "etcd", f"hosts.{member.host}")
            yield f"{member.host}.{field}", where
    for key in ("bin_dir", "owner", "image"):
        yield f"etcd.{key}", line(f"etcd.{key}", "etcd", "layout")
    yield "manifests", line("kubernetes.manifests", "kubernetes", "layout")
    for group in inventory.groups:
        yield f"groups.{group}", line(f"groups.{group}")
    for name in inventory.services:
        section = f"services.{name}"
        yield section, line(f"{section}.units", section, "service_manager", "layout")
        yield (
            f"{section}.hosts",
            line(f"{section}.hosts", section, "groups.control_plane", "groups"),
        )


def client_ports(inventory: Inventory) -> list[str]:
    """The ports of the members' client URLs, as /proc/net/tcp writes them."""
    ports = {url.rpartition(":")[2] for member in inventory.members for url in member.client_urls}
    return sorted(f"{int(port):04X}" for port in ports)


def inventory_facts(inventory: Inventory) -> dict[str, Any]:
    """What judges may know of the inventory, as plain data."""
    gone: dict[str, Any] = {host: {} for host in inventory.abandoned}
    gone |= {m.host: member_facts(m) for m in inventory.abandoned_members}
    return {
        **({"abandoned": gone} if gone else {}),
        "cluster": inventory.cluster,
        "claims": claims(inventory),
        "members": {m.host: member_facts(m) for m in inventory.members},
        "reach": reach(inventory.members),
        "services": {
            s.name: {"hosts": s.hosts, "units": s.units} for s in inventory.services.values()
        },
    }


def member_facts(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "peer_urls": list(member.peer_urls),
        "client_urls": list(member.client_urls),
        "data_dir": member.data_dir,
        "wal_dir": member.wal_dir,
        "owner": member.owner,
    }
