"""Rounds in which contenders take turns, until they are over or the time is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass
class Clock:
    """What is left of the time: a turn begins only if the longest of its kind would still fit."""

    seconds: float
    began: float = field(default_factory=time.monotonic)
    longest: dict[str, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    def has_time_for(self, name: str) -> bool:
        """Whether another turn of `name` fits."""
        return self.spent + self.longest.get(name, 0.0) < self.seconds

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Do it, and remember how long it took."""
        began = time.monotonic()
        try:
            return work()
        finally:
            took = time.monotonic() - began
            self.longest[name] = max(took, self.longest.get(name, 0.0))


def alternating(rounds: int, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(round, name): every round has all of them, each round begins with the next one, so that none
    always follows the same other one."""
    for number in range(rounds):
        start = number % len(names)
        for name in [*names[start:], *names[:start]]:
            yield number + 1, name
