"""One pattern with {host} and {address} for what differs between hosts only by these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drctl.inventory.fields import expand


@dataclass(frozen=True)
class Called:
    """What fills the placeholders for one host, as the inventory does. `number` is its place among
    the members, from 1; 0 for none of them."""

    host: str
    address: str
    number: int = 0


def pattern(values: Mapping[str, str], called: Mapping[str, Called], *first: str) -> str | None:
    """A text that, filled for each host, gives its value; None where there is none. Of several the
    `first` that fits (a layout's own), else the plainest."""
    host, value = next(iter(values.items()))
    own = called[host]
    guesses = [*first, value]
    guesses += [value.replace(own.address, "{address}")] if own.address else []
    guesses += [value.replace(own.host, "{host}")]
    guesses += [guesses[-2].replace(own.host, "{host}")] if own.address else []
    for guess in guesses:
        if all(filled(guess, called[name]) == known for name, known in values.items()):
            return guess
    return None


def filled(text: str, called: Called) -> str:
    number = {"number": str(called.number)} if called.number else {}
    return expand(text, host=called.host, address=called.address, **number)
