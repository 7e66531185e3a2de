"""What is written about a lab: the compose file, and the inventory for its operator."""

from __future__ import annotations

from typing import Any

from drctl.lab.docker import engine, flavours, pki
from drctl.lab.docker.layout import SSL, USER, DockerLab, Node
from drctl.render import render


def compose(lab: DockerLab) -> str:
    """The compose project: one service, one volume and one address for every machine."""

    def mounts(node: Node) -> list[str]:
        limited = lab.shape.data_size if node.has("etcd") else None
        data = [f"{lab.data_dir}:size={limited},mode=700"] if limited else []
        return ["/run", "/run/lock", "/tmp", *data]

    apiservers = [f"{pki.APISERVERS_NAME}:{node.address}" for node in lab.having("control_plane")]
    nodes = [
        {
            "name": node.name,
            "image": lab.images["machine" if node.has("spare") else "node"],
            "address": node.address,
            "published": [f"127.0.0.1:{out}:{inside}" for inside, out in node.ports.items()],
            "tmpfs": mounts(node),
            "hosts": apiservers if node.has("worker") else [],
        }
        for node in lab.nodes
    ]
    return render(
        "lab/docker/compose.yaml",
        project=lab.project,
        subnet=lab.subnet,
        labels=engine.labels(lab),
        nodes=nodes,
    )


def inventory(lab: DockerLab) -> str:
    """The inventory of the cluster as it stands, or is to stand on new machines."""
    if any(node.has("etcd") and node.blank for node in lab.nodes):
        return _inventory_of_new_machines(lab)
    values: dict[str, Any] = {
        **_common(lab),
        "nodes": [node for node in lab.nodes if node.roles and not node.has("spare")],
        "control_plane": [node.name for node in lab.having("control_plane")],
        "workers": [node.name for node in lab.having("worker")],
    }
    own = flavours.way(lab.shape.flavour).inventory(lab)
    wal = {"wal_dir": lab.wal_dir} if lab.wal_dir else {}
    return render("lab/docker/inventory.yaml", **values | own | {"etcd": own["etcd"] | wal})


def _inventory_of_new_machines(lab: DockerLab) -> str:
    """Only etcd's new members; nothing of it is there yet, and a restore is to prepare them."""
    return render(
        "lab/docker/inventory-new.yaml",
        **_common(lab),
        nodes=lab.having("etcd"),
        ssl=SSL,
        tools=lab.tools,
        access=lab.etcd,
        data_dir=lab.data_dir,
        wal_dir=lab.wal_dir,
    )


def _common(lab: DockerLab) -> dict[str, Any]:
    return {"cluster": lab.cluster, "directory": lab.directory, "user": USER}
