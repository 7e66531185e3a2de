"""What `prepare` would install on simulated hosts: the facts alone, of files that nobody reads."""

from __future__ import annotations

from typing import Any

from drctl.inventory import Inventory, Member

NAMES = ("etcd", "etcdctl", "etcdutl", "ca", "cert", "key")


def made_up_installation(inventory: Inventory, folder: str = "/operator") -> dict[str, Any]:
    """As `drctl.plan.prepare.installation` has it; {} where the inventory has no such section."""
    if inventory.prepare is None:
        return {}
    return {
        "hosts": {host: _host(inventory.member(host), folder) for host in inventory.prepare.hosts},
        "arch": "x86_64",
        "flags": inventory.prepare.flags,
        "warnings": [],
    }


def _host(member: Member, folder: str) -> dict[str, Any]:
    files = [
        {
            "name": name,
            "source": f"{folder}/{name}",
            "path": getattr(member, name, None) or f"{member.bin_dir}/{name}",
            "mode": {"ca": "644", "cert": "644", "key": "600"}.get(name, "755"),
            "owner": "etcd:etcd" if name == "key" else "",
            "sha256": str(number) * 64,
        }
        for number, name in enumerate(NAMES)
    ]
    return {
        "files": files,
        "unit": "/etc/systemd/system/etcd.service",
        "listen_peer_urls": list(member.peer_urls),
        "listen_client_urls": list(member.client_urls),
    }
