"""Waiting for something to become true, within bounds."""

from __future__ import annotations

import time
from collections.abc import Callable

from drctl.errors import StepFailed

_PAUSE_SECONDS = 0.1


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask `true` until it says yes; StepFailed after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise StepFailed(f"{what} did not become ready within {seconds:.0f} s")
        time.sleep(_PAUSE_SECONDS)
