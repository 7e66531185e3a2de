"""What a lab's etcd holds, seen from outside the product: over the members' own client ports, with
the lab's certificates."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drctl.lab import data
from drctl.lab.gateway import Gateway, GatewayError
from drctl.lab.site import Site, SiteNode

_TOOL_SECONDS = 30.0
USER_FILE = "etcd-user"
"""In the lab's folder, once etcd there asks for a user: JSON with name, password, cert, key."""


@dataclass(frozen=True)
class Sight:
    """What the cluster holds: its id, a revision, and every key and value as of that revision."""

    cluster_id: str
    revision: int
    content: Mapping[str, bytes]


def members(site: Site) -> tuple[SiteNode, ...]:
    """The hosts that are members of etcd, in the site's order."""
    return tuple(node for node in site.nodes if "etcd" in node.roles)


def prefix(site: Site) -> str:
    """Under which keys a drill writes its own: where real Kubernetes lists, it would choke."""
    return "/drill/" if site.kubernetes else data.ITEMS


def gateway(site: Site, node: SiteNode, *, timeout: float = 10.0, user: bool = True) -> Gateway:
    """A connection to the host's own member; without `user`, as nobody."""
    access = site.etcd
    who = site.directory / USER_FILE if user else None
    return Gateway(
        node.client_url, access.ca, access.cert, access.key, timeout=timeout, user_file=who
    )


def look(site: Site, node: SiteNode, revision: int = 0) -> Sight:
    """Read everything from the host's member, as of `revision` (0: now)."""
    with gateway(site, node) as door:
        header = door.status()["header"]
        seen = revision or door.revision()
        return Sight(str(header["cluster_id"]), seen, door.read_all("/", seen))


def revision(site: Site, node: SiteNode) -> int:
    """The revision by a linearizable read through the host's own member: proves a quorum."""
    with gateway(site, node) as door:
        return door.revision()


def cluster_id(site: Site, node: SiteNode) -> str:
    """The id of the cluster that the host's member says it is in."""
    with gateway(site, node) as door:
        return str(door.status()["header"]["cluster_id"])


def answers(site: Site, node: SiteNode) -> bool:
    """Whether the host's member answers a linearizable read."""
    try:
        with gateway(site, node, timeout=4.0) as door:
            return door.revision() > 0
    except GatewayError:
        return False


def leader(site: Site, node: SiteNode) -> int | None:
    """The id of the leader that the host's member follows, 0 for none; None: it does not answer."""
    try:
        with gateway(site, node, timeout=4.0) as door:
            return int(door.status().get("leader", 0))
    except GatewayError:
        return None


def etcdctl(site: Site, node: SiteNode, *arguments: str) -> str:
    """What etcd's own tool prints, asked by the host's member alone; OSError when it fails."""
    access = site.etcd
    tls: list[str | Path] = [
        *("--cacert", access.ca, "--cert", access.cert, "--key", access.key),
    ]
    told = subprocess.run(
        [site.etcd_tools / "etcdctl", *tls, "--endpoints", node.client_url, *arguments],
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=_TOOL_SECONDS,
    )
    if told.returncode != 0:
        raise OSError(f"etcdctl {' '.join(arguments)} on {node.name}: {told.stderr.strip()}")
    return told.stdout


def hash_at(site: Site, node: SiteNode, revision: int) -> tuple[int, int]:
    """(hash of all keys at `revision`, compact revision), from etcd's own tool: the gateway's
    /v3/maintenance/hash is another hash, over the whole file."""
    said = etcdctl(site, node, "endpoint", "hashkv", "--rev", str(revision), "--write-out", "json")
    (answer,) = json.loads(said)
    return answer["HashKV"]["hash"], answer["HashKV"].get("compact_revision", 0)


def differences(wanted: Mapping[str, bytes], seen: Mapping[str, bytes]) -> list[str]:
    """The keys of `wanted` that are absent from `seen` or have another value there."""
    return sorted(key for key, value in wanted.items() if seen.get(key) != value)
