"""Three systemd machines in Docker, which every contender restores: filled, watched and checked
from outside, by the engine and etcd's own API, never by a contender's means."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drctl.lab.docker import engine
from drctl.lab.docker.layout import APISERVER_PORT, DockerLab, Node, require
from drctl.lab.docker.machine import Machine
from drctl.lab.gateway import Gateway, GatewayError, after, encode
from drctl.lab.waiting import until
from tests.bench import content
from tests.bench.running import Wrong

STAND_IN = "kube-apiserver-stand-in"  # the lab's, in the apiserver's place
EXTRAS = Path(__file__).parent / "contenders" / "machines.Dockerfile"
_KEYS = "/registry/"
_READY_SECONDS = 120.0
_LOOK = "systemctl show -p ActiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic --value"
# What contenders keep of the old data, for their own undo: a round begins without.
_TIDY = """\
cd /var/lib && ls -A | grep -E '^\\.?etcd[.-]|^\\.?drctl-stage|^bench$' | xargs -r rm -rf --
sync -f /var/lib
"""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot and what its restore must bring: sizes in bytes."""

    label: str  # "5 MB"
    path: Path
    size: int
    compressed: int  # by zstd -1
    keys: int
    revision: int
    digest: str  # of every key and value


@dataclass(frozen=True)
class Outage:
    """By systemd's own clock, in seconds. `apiservers`: from the first apiserver's stop until the
    last one is back; `etcd`: likewise of etcd's members (ready: they serve)."""

    apiservers: float
    etcd: float


class Machines:
    """The lab in `directory`, which is up."""

    def __init__(self, directory: Path) -> None:
        self.lab: DockerLab = require(directory)
        client = engine.connect()
        self.nodes: Sequence[Node] = self.lab.having("etcd")
        self.machines = [Machine(self.lab, node, client) for node in self.nodes]
        self._marker = ""

    def equip(self, base: str) -> None:
        """Install what contenders need on the machines (Ansible: Python; zstd) from packages of
        the machines' own distribution, as an operator would have."""
        tag = "drctl-bench-extras"
        command = ["docker", "build", "--quiet", "--tag", tag, "--build-arg", f"BASE={base}", "-"]
        with EXTRAS.open("rb") as recipe:
            subprocess.run(command, stdin=recipe, check=True, capture_output=True, timeout=600)
        packed = subprocess.run(
            ["docker", "run", "--rm", tag, "tar", "-C", "/extras", "-c", "."],
            check=True,
            capture_output=True,
            timeout=120,
        ).stdout
        archive = self.lab.directory / "extras.tar"
        archive.write_bytes(packed)
        script = "tar -x --keep-directory-symlink -C / && ldconfig && python3 -c pass && zstd -qV"
        with ThreadPoolExecutor(len(self.machines)) as pool:
            list(pool.map(lambda one: one.feed(script, archive, seconds=300), self.machines))
        archive.unlink()

    def gateway(self, node: Node) -> Gateway:
        """A connection to the node's member."""
        access = self.lab.etcd
        return Gateway(node.client_url, access.ca, access.cert, access.key, timeout=60)

    def grow(self, megabytes: int, folder: Path) -> Snapshot:
        """Write pods until the database has `megabytes` (1e6 bytes), and save a snapshot."""
        with self.gateway(self.nodes[0]) as gateway:
            while (have := int(gateway.status()["dbSizeInUse"])) < megabytes * 1_000_000:
                held = _count(gateway, content.PREFIX)
                left = megabytes * 1_000_000 - have
                gateway.put_all(content.pods(held + 1, max(20, min(20_000, left // 9_000))))
            revision, keys = gateway.revision(), _count(gateway, _KEYS)
        path = folder / f"{megabytes}mb.db"
        access, url = self.lab.etcd, self.nodes[0].client_url
        subprocess.run(
            [
                *(f"{self.lab.tools}/etcdctl", "snapshot", "save", str(path), f"--endpoints={url}"),
                *(f"--cacert={access.ca}", f"--cert={access.cert}", f"--key={access.key}"),
            ],
            check=True,
            capture_output=True,
            timeout=300,
        )
        packed = subprocess.run(
            ["zstd", "-1", "-q", "-c", path], check=True, stdout=subprocess.PIPE, timeout=300
        )
        digest = self.digest(self.machines[0])
        label = f"{megabytes} MB"
        size = path.stat().st_size
        return Snapshot(label, path, size, len(packed.stdout), keys, revision, digest)

    def digest(self, machine: Machine) -> str:
        """Of every key and value under the prefix, as the machine's own member has them."""
        parts = " ".join(f"{content.PREFIX}{app}-" for app in content.APPS)
        script = (
            f"for part in {parts}; do etcdctl --endpoints=http://127.0.0.1:2379 "
            "--command-timeout=60s get --consistency=s --prefix $part || exit; done | sha256sum"
        )
        return machine.sh(script, seconds=300).output.split()[0]

    def begin(self) -> str:
        """Everything as before a round: all serve, nothing kept, nothing left to be written to the
        disk, and a key that no snapshot holds. Returns the cluster's ID."""
        self._together(_TIDY)
        for node in self.nodes:
            until(partial(self._serves, node), _READY_SECONDS, f"{node.name}: etcd")
        with self.gateway(self.nodes[0]) as gateway:
            self._marker = f"{content.PREFIX}written-later-{os.urandom(8).hex()}"
            gateway.put_all([(self._marker, b"not in the snapshot")])
            return str(gateway.status()["header"]["cluster_id"])

    def prove(self, snapshot: Snapshot, cluster: str, turn: int) -> None:
        """Raises Wrong unless every member has been restored: a new cluster of the right members,
        with the snapshot's keys, equal hashes, and without what was written after it. One member
        (another in each `turn`) is read whole."""
        clusters, hashes, members = set(), set(), set()
        for node in self.nodes:
            with self.gateway(node) as gateway:
                if (keys := _count(gateway, _KEYS)) != snapshot.keys:
                    raise Wrong(f"{node.name} has {keys} keys, the snapshot {snapshot.keys}")
                if _count(gateway, self._marker):
                    raise Wrong(f"{node.name} still has what was written after the snapshot")
                told = gateway.call("/v3/maintenance/hash", {})
                hashes.add((told["hash"], told.get("compact_revision")))
                clusters.add(str(told["header"]["cluster_id"]))
                listed = gateway.call("/v3/cluster/member/list", {})["members"]
                members.add(tuple(sorted(one["name"] for one in listed)))
        if len(hashes) != 1 or len(clusters) != 1 or cluster in clusters:
            raise Wrong(
                f"not one new cluster of equal members: {clusters}, {hashes}, was {cluster}"
            )
        if members != {tuple(sorted(node.member_name for node in self.nodes))}:
            raise Wrong(f"other members than there were: {members}")
        if self.digest(self.machines[turn % len(self.machines)]) != snapshot.digest:
            raise Wrong("keys and values are not the snapshot's")

    def outage(self, since: float) -> Outage:
        """Of the round that began at `since` (time.monotonic()): the machines share its clock.
        Raises Wrong where something was not stopped, or is not back."""
        apiservers = [self._span(machine, STAND_IN, since) for machine in self.machines]
        etcd = [self._span(machine, "etcd", since) for machine in self.machines]
        return Outage(
            *(max(b for _, b in one) - min(a for a, _ in one) for one in (apiservers, etcd))
        )

    def _span(self, machine: Machine, unit: str, since: float) -> tuple[float, float]:
        told = machine.sh(f"{_LOOK} {unit}").output.split()
        values = [int(one) / 1e6 for one in told if re.fullmatch(r"\d+", one)]
        entered, left = max(values), min(values)
        if len(values) != 2 or left <= since or entered <= since:
            raise Wrong(f"{machine.name}: {unit} was not stopped and started: {told}, {since}")
        return left, entered

    def _serves(self, node: Node) -> bool:
        machine = next(one for one in self.machines if one.node is node)
        try:
            with self.gateway(node) as gateway:
                gateway.revision()
        except GatewayError:
            return False
        url = f"http://{node.address}:{APISERVER_PORT}/readyz"
        return machine.sh(f"curl -fs --max-time 5 {url}", check=False).status == 0

    def _together(self, script: str) -> None:
        with ThreadPoolExecutor(len(self.machines)) as pool:
            list(pool.map(lambda one: one.sh(script, seconds=120), self.machines))


def _count(gateway: Gateway, prefix: str) -> int:
    body: dict[str, Any] = {"key": encode(prefix), "range_end": encode(after(prefix.encode()))}
    return int(gateway.call("/v3/kv/range", body | {"count_only": True}).get("count", 0))
