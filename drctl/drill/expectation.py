"""What is expected of a restored lab, and how long it may take to become true."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drctl.drill.context import Scene
from drctl.drill.record import Proof
from drctl.errors import StepFailed

PATIENCE_SECONDS = 30.0
SHOWN = 3


class NotHere(Exception):
    """This lab has nothing of what is expected: the record says that it was not tested."""


@dataclass(frozen=True)
class Seen:
    """Whether it is as expected, what was seen, and the same as data."""

    ok: bool
    detail: str
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Expectation:
    """One thing that must be true. `ask` may raise NotHere; no answer (OSError) is not a yes."""

    what: str
    ask: Callable[[Scene], Seen]


def judged(
    name: str, expectation: Expectation, scene: Scene, patience: float | None = None
) -> Proof:
    """Ask until it holds, for `patience` seconds: members settle for some time after a restore.
    Raises NotHere where asking does."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if patience is None else patience)
    while True:
        try:
            seen = expectation.ask(scene)
        except (StepFailed, OSError) as error:
            seen = Seen(False, str(error))
        if seen.ok or time.monotonic() > deadline:
            return Proof(expectation.what, seen.ok, seen.detail, name, dict(seen.measured))
        time.sleep(0.5)
