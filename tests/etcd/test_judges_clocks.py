"""Whose clock is off, and what comes from the future."""

from __future__ import annotations

import pytest

from drctl.etcd.judges.clocks import clock_warnings, spoken
from drctl.verdict import Gathered

NOW = 1_795_458_000
DAY = 86_400
TAKEN = "2026-11-22T18:00:00Z"


def said(
    nows: dict[str, int], *, here: float = NOW, took: float = 0.5, taken: str = TAKEN
) -> list[str]:
    """What is said where this machine's clock shows `here`, and each answer took `took` seconds."""
    asked = dict.fromkeys(nows, (here, here + took))
    facts = {"snapshot": {"taken_at": taken}}
    return list(clock_warnings(Gathered({}, facts=facts, asked=asked), nows))


def test_clocks_that_agree() -> None:
    assert said({"m1": NOW, "m2": NOW + 3, "m3": NOW - 2}) == []
    assert said({}) == []


def test_a_slow_answer_proves_nothing() -> None:
    assert said({"m1": NOW + 60, "m2": NOW, "m3": NOW}, took=60) == []


@pytest.mark.parametrize("by", [7, -7, 90, DAY, -400 * DAY])
def test_one_host_is_off(by: int) -> None:
    (line,) = said({"m1": NOW, "m2": NOW + by, "m3": NOW})
    assert line.startswith("the clock of m2 is ")
    assert ("ahead" in line) == (by > 0)
    assert "this machine" not in line


def test_this_machine_is_off_where_all_hosts_agree() -> None:
    hosts = dict.fromkeys(("m1", "m2", "m3"), NOW)
    (line,) = said(hosts, here=NOW - 2 * DAY)
    assert line.startswith("this machine's clock is 2 d behind the clocks of m1, m2, m3")
    (line,) = said(hosts, here=NOW + 3600)
    assert "this machine's clock is 60 min ahead" in line


def test_of_two_hosts_this_machine_tells_which() -> None:
    (line,) = said({"m1": NOW, "m2": NOW + 100})
    assert line.startswith("the clock of m2")
    (line,) = said({"m1": NOW, "m2": NOW}, here=NOW + 100)
    assert line.startswith("this machine's clock")


@pytest.mark.parametrize(
    "nows", [{"m1": NOW + 100}, {"m1": NOW + 100, "m2": NOW + 900}, {"m1": NOW - 99, "m2": NOW + 9}]
)
def test_without_a_majority_nobody_is_accused(nows: dict[str, int]) -> None:
    (line,) = said(nows)
    assert line.startswith("the clocks disagree") and "this machine" in line


def test_a_snapshot_from_the_future() -> None:
    hosts = dict.fromkeys(("m1", "m2", "m3"), NOW)
    (line,) = said(hosts, taken="2031-01-01T00:00:00Z")
    assert "2031-01-01T00:00:00Z, is 4 years in the future" in line
    # This machine's clock is a day behind: by the hosts' the snapshot is of yesterday.
    (line,) = said(hosts, here=NOW - DAY, taken="2026-11-23T10:00:00Z")
    assert "future" not in line and "this machine" in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(7, "7 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (3 * DAY, "3 d")],
)
def test_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
