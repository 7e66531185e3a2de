"""Ways to break a lab. A kind is data: which hosts it strikes, and what it does to each."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drctl.errors import UsageError
from drctl.lab import build
from drctl.lab.layout import Lab, LabHost

DEFAULT = "majority-data-lost"


@dataclass(frozen=True)
class Kind:
    """One kind of damage: `victims` says how many of that many hosts, `damage` strikes one."""

    summary: str
    victims: Callable[[int], int]
    damage: Callable[[LabHost], None]


def lose_data(host: LabHost) -> None:
    """The data directory is gone and etcd died of it, as when a disk fails.

    The unit's working directory is gone with it, so that etcd cannot come back by itself with an
    empty store: the supervisor tries every second, in vain.
    """
    lost = host.data_dir.with_name("etcd.lost")
    if host.data_dir.exists():
        host.data_dir.rename(lost)
    told = subprocess.run(
        build.control(host, "pid", "etcd"), capture_output=True, text=True, timeout=30
    )
    if told.returncode == 0:
        os.kill(int(told.stdout), signal.SIGKILL)
    shutil.rmtree(lost, ignore_errors=True)


KINDS: Mapping[str, Kind] = {
    "majority-data-lost": Kind(
        "the data of a majority of members is lost: no quorum", lambda n: n // 2 + 1, lose_data
    ),
    "all-data-lost": Kind("the data of every member is lost", lambda n: n, lose_data),
    "member-data-lost": Kind(
        "the data of one member is lost: a quorum is left if there are three",
        lambda _: 1,
        lose_data,
    ),
}


def strike(
    lab: Lab, kind: str, *, say: Callable[[str], None], node: str | None = None
) -> list[str]:
    """Do the damage, to `node` first where one is named; returns the names of those struck."""
    if kind not in KINDS:
        raise UsageError(
            f"no such way to break a lab: {kind!r}", hint=f"there are {', '.join(KINDS)}"
        )
    chosen = KINDS[kind]
    order = list(lab.hosts)
    if node is not None:
        first = lab.host(node)
        order.sort(key=lambda host: host != first)
    struck = order[: chosen.victims(len(order))]
    for host in struck:
        chosen.damage(host)
        say(f"{host.name}: {kind}")
    return [host.name for host in struck]
