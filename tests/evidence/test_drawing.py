"""What a report draws: places in percent, round marks, names that tell hosts apart."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.evidence.draw import Axis, by_step, lanes, trend
from drctl.evidence.page import moment, short_names


@pytest.mark.parametrize(
    ("end", "marks"),
    [
        (0.0, [0.0]),
        (0.05, [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]),
        (11.5, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (3600.0, [0.0, 1000.0, 2000.0, 3000.0]),
    ],
)
def test_marks_are_round_and_few(end: float, marks: list[float]) -> None:
    assert Axis(end).marks == marks


def bar(step: str, host: str, begin: float, end: float) -> dict[str, Any]:
    return {"step": step, "host": host, "begin": begin, "end": end, "state": "done"}


SESSION = {
    "seconds": 10.0,
    "bars": [bar("b", "h2", 5.0, 10.0), bar("a", "h2", 0.0, 1.0), bar("a", "h1", 0.5, 2.0)],
}
PHASES = {"a": "1 prepare", "b": "2 stop"}


def test_lanes_keep_the_order_of_the_hosts_and_leave_out_the_idle() -> None:
    drawn = lanes(SESSION, PHASES, ["h1", "h2", "h3"])
    assert [lane["host"] for lane in drawn["hosts"]] == ["h1", "h2"]
    assert [(b["x"], b["width"]) for b in drawn["hosts"][1]["bars"]] == [(50.0, 50.0), (0.0, 10.0)]
    bands = {band["phase"]: (band["x"], band["width"]) for band in drawn["bands"]}
    assert bands == {"1 prepare": (0.0, 20.0), "2 stop": (50.0, 50.0)}


def test_steps_stand_in_the_order_of_their_start() -> None:
    groups = by_step(SESSION, PHASES, ["h1", "h2"])
    assert [(g["step"], [b["host"] for b in g["bars"]], g["seconds"]) for g in groups] == [
        ("a", ["h1", "h2"], 2.0),
        ("b", ["h2"], 5.0),
    ]


def test_a_trend_has_only_drills_with_an_rto() -> None:
    drawn = trend([{"rto_seconds": rto} for rto in (10.0, None, 20.0)])
    assert [point["x"] for point in drawn["points"]] == [25.0, 75.0]
    low, high = drawn["points"]
    assert 0 < high["y"] < low["y"] < drawn["height"]
    assert len(drawn["lines"]) == 1
    assert trend([])["points"] == []


@pytest.mark.parametrize(
    ("hosts", "short"),
    [
        (["cp1.example.org", "cp2.example.org"], ["cp1", "cp2"]),
        (["cp.a.example", "cp.b.example"], ["cp.a.example", "cp.b.example"]),
        (["10.0.0.1", "11.0.0.1"], ["10.0.0.1", "11.0.0.1"]),
    ],
)
def test_short_names_tell_hosts_apart(hosts: list[str], short: list[str]) -> None:
    assert list(short_names(hosts).values()) == short


def test_times_are_told_in_utc() -> None:
    assert moment("2026-11-24T07:45:02+02:00") == "24 Nov 2026, 05:45:02"
    assert moment("2026-11-24T05:45:02Z") == "24 Nov 2026, 05:45:02"
