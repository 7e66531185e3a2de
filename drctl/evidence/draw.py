"""Geometry of the drawings: seconds to percent. The SVG itself is in templates/report/.

Positions are percentages of the drawing's own width, heights are pixels: the same SVG fills a
phone, a wide screen and a sheet of paper, and its text keeps its size. (A plotting library draws
into a fixed box whose text shrinks with it, and brings its own colours for light and dark.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

TICKS = 6
_NICE = (1, 2, 5)


@dataclass(frozen=True)
class Axis:
    """Zero to `end` in some unit, with round marks."""

    end: float

    def percent(self, value: float) -> float:
        """Where `value` is between 0 and 100."""
        return round(100 * min(max(value / self.end, 0.0), 1.0), 3) if self.end > 0 else 0.0

    @property
    def marks(self) -> list[float]:
        """Round values from 0 on, at most `TICKS` steps."""
        step = nice_step(self.end)
        count = int(self.end / step + 1e-9)
        return [round(step * number, 6) for number in range(count + 1)]


def nice_step(end: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten by which `end` has at most `TICKS` steps."""
    if end <= 0:
        return 1.0
    power = 10.0**-3
    while True:
        for digit in _NICE:
            if end / (digit * power) <= TICKS:
                return digit * power
        power *= 10


def lanes(
    session: Mapping[str, Any], phases: Mapping[str, str], hosts: Sequence[str]
) -> dict[str, Any]:
    """One session drawn: its axis, a band a phase, and a lane a host with its bars."""
    axis = Axis(max(session["seconds"], 0.001))
    seen = {bar["host"] for bar in session["bars"]}
    return {
        "axis": axis,
        "bands": _bands(session["bars"], phases, axis),
        "hosts": [
            {"host": host, "bars": [_bar(b, axis) for b in session["bars"] if b["host"] == host]}
            for host in hosts
            if host in seen
        ],
    }


def _bar(bar: Mapping[str, Any], axis: Axis) -> dict[str, Any]:
    left, right = axis.percent(bar["begin"]), axis.percent(bar["end"])
    return {
        **bar,
        "seconds": bar["end"] - bar["begin"],
        "x": left,
        "width": round(max(right - left, 0.0), 3),
    }


def _bands(
    bars: Sequence[Mapping[str, Any]], phases: Mapping[str, str], axis: Axis
) -> list[dict[str, Any]]:
    spans: dict[str, tuple[float, float]] = {}
    for bar in bars:
        phase = phases.get(bar["step"], "rollback")
        first, last = spans.get(phase, (bar["begin"], bar["end"]))
        spans[phase] = min(first, bar["begin"]), max(last, bar["end"])
    return [
        {
            "phase": phase,
            "x": axis.percent(first),
            "width": round(axis.percent(last) - axis.percent(first), 3),
        }
        for phase, (first, last) in spans.items()
    ]


def by_step(
    session: Mapping[str, Any], phases: Mapping[str, str], hosts: Sequence[str]
) -> list[dict[str, Any]]:
    """The session's bars, grouped by step in order of their start, hosts in their order."""
    axis = Axis(max(session["seconds"], 0.001))
    groups: dict[str, list[dict[str, Any]]] = {}
    for bar in sorted(session["bars"], key=lambda bar: hosts.index(bar["host"])):
        groups.setdefault(bar["step"], []).append(_bar(bar, axis))
    return [
        {
            "step": step,
            "phase": phases.get(step, "rollback"),
            "begin": min(bar["begin"] for bar in bars),
            "seconds": max(b["end"] for b in bars) - min(b["begin"] for b in bars),
            "bars": bars,
        }
        for step, bars in sorted(groups.items(), key=lambda pair: min(b["begin"] for b in pair[1]))
    ]


def trend(
    points: Sequence[Mapping[str, Any]], height: int = 160, margin: int = 14
) -> dict[str, Any]:
    """Drills over their number, oldest first: RTO in seconds as heights in a box `height` px high.
    Points without an RTO (refused, skipped) have no place on the line and stand in the table."""
    timed = [point for point in points if point["rto_seconds"] is not None]
    top = Axis(max((point["rto_seconds"] for point in timed), default=0.0) * 1.1 or 1.0)
    usable = height - 2 * margin

    def y(value: float) -> float:
        return round(height - margin - usable * top.percent(value) / 100, 2)

    places = [
        {**point, "x": round(100 * (number + 0.5) / len(timed), 3), "y": y(point["rto_seconds"])}
        for number, point in enumerate(timed)
    ]
    return {
        "height": height,
        "points": places,
        "lines": list(pairwise(places)),
        "marks": [{"value": mark, "y": y(mark)} for mark in top.marks],
    }
