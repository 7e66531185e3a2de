"""Whose clock is off: the hosts' and this machine's, held against each other. Pure: this machine's
time at each question stands in `Gathered.asked`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from drctl.verdict import Gathered

MAX_SKEW_SECONDS = 5
THIS = "this machine"

Span = tuple[float, float]
"""The least and the most by which a clock can be ahead of this machine's, in seconds: between a
question and its answer nobody knows when the host looked."""


def clock_warnings(gathered: Gathered, nows: Mapping[str, int]) -> Iterator[str]:
    """Names each clock that differs from those that the most agree on, and a snapshot that comes
    from the future. `nows` holds what each host takes for the time, in seconds since the epoch."""
    spans = _spans(gathered, nows)
    right = _agreeing(spans)
    if spans and not right:
        told = ", ".join(
            f"{name} {_ahead(_middle(span))} this machine's"
            for name, span in sorted(spans.items())
            if name != THIS
        )
        yield f"the clocks disagree and no majority tells which is right ({told}): set them"
    ahead = median([_middle(spans[name]) for name in right]) if right else 0.0
    for name in sorted(set(spans) - set(right)) if right else ():
        off = _ahead(_middle(spans[name]) - ahead)
        if name == THIS:
            others = f"the clocks of {', '.join(sorted(right))}, which agree"
            yield (
                f"this machine's clock is {off} {others}: set it, and until then believe no "
                "time and no age that is told here"
            )
        else:
            yield f"the clock of {name} is {off} the others': set it"
    if gathered.asked:
        here = max(answered for _, answered in gathered.asked.values())
        yield from _from_the_future(gathered, here + ahead)


def _spans(gathered: Gathered, nows: Mapping[str, int]) -> dict[str, Span]:
    if not gathered.asked:  # nothing is known of this machine's clock
        first = min(nows.values(), default=0)
        return {host: (now - first, now - first) for host, now in nows.items()}
    found = {
        host: (now - gathered.asked[host][1], now + 1 - gathered.asked[host][0])
        for host, now in nows.items()  # a host tells whole seconds
        if host in gathered.asked
    }
    return {**found, THIS: (0.0, 0.0)} if found else {}


def _agreeing(spans: Mapping[str, Span]) -> list[str]:
    """Those whom more than half of all agree with, and who agree with each other as far as one
    of them sees; none where there is no such majority."""
    groups = [
        [other for other in spans if _apart(spans[one], spans[other]) <= MAX_SKEW_SECONDS]
        for one in spans
    ]
    most = max(groups, key=len, default=[])
    return most if 2 * len(most) > len(spans) else []


def _apart(one: Span, other: Span) -> float:
    """By how much two clocks differ at least."""
    return max(one[0], other[0]) - min(one[1], other[1])


def _middle(span: Span) -> float:
    return sum(span) / 2


def _from_the_future(gathered: Gathered, now: float) -> Iterator[str]:
    snapshot: Mapping[str, Any] = gathered.facts.get("snapshot") or {}
    if not (taken := snapshot.get("taken_at")):
        return
    moment = datetime.fromisoformat(taken)
    ahead = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    if ahead > MAX_SKEW_SECONDS:
        yield (
            f"the snapshot's time, {taken}, is {spoken(ahead)} in the future: its sidecar is wrong "
            "or the clock of who took it was; how old it is, nobody knows"
        )


def _ahead(seconds: float) -> str:
    return f"{spoken(abs(seconds))} {'ahead of' if seconds >= 0 else 'behind'}"


def spoken(seconds: float) -> str:
    """About so long: 6 s, 3 min, 5 h, 2 d, 4 years."""
    for size, unit in ((365 * 86_400, "years"), (86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
