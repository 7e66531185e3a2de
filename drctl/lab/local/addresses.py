"""Loopback addresses: Linux lets any process bind any 127.x.y.z, so each host has its own."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

from drctl.errors import StepFailed

_TRIES = 50


def pick(names: Sequence[str], ports: Sequence[int]) -> dict[str, str]:
    """An address 127.A.B.N for every name, on which every port can be bound now.

    A and B are drawn at random for each lab, so that labs stand side by side.
    """
    for _ in range(_TRIES):
        prefix = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
        chosen = {name: f"{prefix}.{number}" for number, name in enumerate(names, start=1)}
        if all(bindable(address, port) for address in chosen.values() for port in ports):
            return chosen
    raise StepFailed(
        "no free loopback addresses for the lab",
        hint="the embedded lab needs Linux, where any 127.x.y.z can be bound",
    )


def bindable(address: str, port: int) -> bool:
    """True when nobody listens there and the system lets us."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port))
        except OSError:
            return False
    return True
