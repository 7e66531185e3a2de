"""A server that says "again, soon" is asked again when it said.

Kubernetes' apiservers answer 429 (too many requests, storage being initialized) or 503, with
Retry-After, where they mean that the same request will be served in a moment:
https://kubernetes.io/docs/concepts/cluster-administration/flow-control/. An answer of either kind
without that header is an answer like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

SOON = (429, 503)
_SHORTEST_SECONDS = 0.1  # "0" means at once, which is no reason to ask a thousand times a second
_OTHERWISE_SECONDS = 1.0  # where it names a date


class Response(Protocol):
    """As much of an answer as decides it."""

    @property
    def status(self) -> int: ...

    @property
    def retry_after(self) -> str | None:
        """The header of that name."""
        ...


R = TypeVar("R", bound=Response)


def patiently(ask: Callable[[], R], seconds: float) -> R:
    """What `ask` returns, asked again for as long as that says "again, soon"; the last such answer
    when it would have to wait beyond `seconds` from now. What `ask` raises is not caught."""
    deadline = time.monotonic() + seconds
    while True:
        response = ask()
        pause = _pause(response)
        if pause is None or time.monotonic() + pause > deadline:
            return response
        time.sleep(pause)


def _pause(response: Response) -> float | None:
    """Seconds to wait, None where the answer is final."""
    told = response.retry_after
    if response.status not in SOON or told is None:
        return None
    return max(float(told), _SHORTEST_SECONDS) if told.isdecimal() else _OTHERWISE_SECONDS
