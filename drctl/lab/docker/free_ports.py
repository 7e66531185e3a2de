"""A subnet that nobody uses yet, and ports of 127.0.0.1 that nobody listens on."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from drctl.errors import StepFailed

Network = ipaddress.IPv4Network
_TRIES = 200
_ROUTES = Path("/proc/net/route")
# Below the range from which the system takes ports for outgoing connections: while a machine of
# the lab is off, nobody else gets its ports by chance.
_LOWEST_PORT, _HIGHEST_PORT = 18000, 32000


def free_subnet(taken: Iterable[str]) -> Network:
    """A /24 that overlaps neither `taken` nor a route of this machine."""
    busy = [*map(ipaddress.IPv4Network, taken), *_routes()]
    for _ in range(_TRIES):
        second, third = random.randint(64, 250), random.randint(0, 255)
        found = Network(f"10.{second}.{third}.0/24")
        if not any(found.overlaps(other) for other in busy):
            return found
    raise StepFailed("no free subnet in 10.64.0.0-10.250.255.255 for the lab's network")


def free_ports(count: int) -> list[int]:
    """Different ports that can be bound on 127.0.0.1 now."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.sample(range(_LOWEST_PORT, _HIGHEST_PORT), _TRIES + count):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    if len(found) < count:
        raise StepFailed(f"no {count} free ports on 127.0.0.1 for the lab")
    return found


def _routes() -> Iterator[Network]:
    """Where this machine's own networks are; empty where that cannot be read."""
    try:
        lines = _ROUTES.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        target, mask = (_address(fields[column]) for column in (1, 7))
        if mask != "0.0.0.0":  # the default route is no network
            yield Network(f"{target}/{mask}", strict=False)


def _address(little_endian: str) -> str:
    return str(ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(little_endian), "little")))
