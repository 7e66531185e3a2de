"""What a node remembers of all runs: read back whatever it says, and what follows from it."""

from __future__ import annotations

import pytest

from drctl.nodes.history import LINES, History, ending, line_hash, line_of, read_history

HEAD = (7, "a" * 64)


def written(*told: tuple[str, str], first: int = 1) -> list[str]:
    """The lines that a node has after it was told (run, kind), ..."""
    lines: list[str] = []
    for number, (run, kind) in enumerate(told, first):
        middle = line_of(run, kind, "eve@laptop", "0123456789abcdef", HEAD)
        before = lines[-1] if lines else ""
        lines.append(f"{number} 2026-11-23T00:00:{number % 60:02}Z {middle} {line_hash(before)}")
    return lines


def restored(run: str) -> list[tuple[str, str]]:
    return [(run, "changed"), (run, "changed"), (run, "done")]


def taken_back(run: str) -> list[tuple[str, str]]:
    return [(run, "taking-back"), (run, "rolled-back")]


def follower(run: str, *told: tuple[str, str], changed: bool = True) -> str:
    found = read_history(written(*told)).follower(run, changed=changed)
    return found.run if found else ""


def test_lines_are_read_back() -> None:
    found = read_history(written(*restored("A"), ("B", "changed")))
    assert (found.problem, found.last, found.whole) == ("", 4, True)
    assert [e.run for e in found.entries] == ["A", "A", "A", "B"]
    assert found.entries[0].head == HEAD
    assert found.entries[0].who == "eve@laptop"
    assert read_history([]) == History()


def test_only_harmless_characters_go_into_a_line() -> None:
    line = line_of("A", ending("done"), "e v\ne;$(id)@x\x1b]0;", "", (0, ""))
    assert line == f"A done e_v_e___id_@x__0_ none 0 {'0' * 64}"
    assert [ending(s) for s in ("rolled-back", "not begun", "failed", "")] == [
        "rolled-back",
        "not-begun",
        "kept",
        "kept",
    ]


GOOD = written(*restored("A"), *restored("B"))


@pytest.mark.parametrize(
    "garbled",
    [
        [*GOOD[:2], *GOOD[3:]],  # one taken out
        [*GOOD[:3], GOOD[3].replace("B", "C"), *GOOD[4:]],  # one changed
        [*GOOD[1:3], GOOD[0]],
        [GOOD[0].replace(line_hash(""), "0" * 64), *GOOD[1:]],
        ["\x1b]0;x\x07", *GOOD],
        ["x" * 1_000_000, *GOOD],
        [GOOD[0].replace("changed", "invented"), *GOOD[1:]],
        [GOOD[0].replace(" A ", " ../A "), *GOOD[1:]],
        [GOOD[0].replace("1 ", "9" * 40 + " ", 1), *GOOD[1:]],
        [GOOD[0].replace("1 ", "١ ", 1), *GOOD[1:]],
        GOOD * (LINES // 3),
    ],
)
def test_a_garbled_history_is_named_and_not_believed(garbled: list[str]) -> None:
    found = read_history(garbled)
    assert "its history" in found.problem
    assert found.entries == ()


def test_a_line_that_a_power_cut_tore_is_none() -> None:
    assert read_history([*GOOD[:5], GOOD[5][:40]]) == read_history(GOOD[:5])


def test_what_was_folded_away_is_not_missed() -> None:
    found = read_history(written(*restored("B"), first=40)[1:])
    assert (found.problem, found.whole, found.last) == ("", False, 42)


@pytest.mark.parametrize(
    ("told", "later"),
    [
        (restored("A"), ""),
        ([*restored("A"), *restored("B")], "B"),
        ([*restored("A"), ("B", "changed")], "B"),  # it is an intent
        ([*restored("B"), *restored("A")], ""),
        ([*restored("A"), *restored("B"), *taken_back("B")], ""),
        ([*restored("A"), *restored("B"), ("B", "taking-back")], "B"),
        ([*restored("A"), *restored("B"), ("B", "taking-back"), ("B", "done")], "B"),
        ([*restored("A"), ("B", "changed"), ("B", "not-begun")], ""),
        # what a clean of the older run writes does not make it the newer one
        ([*restored("A"), *restored("B"), ("A", "cleaning"), ("A", "cleaned")], "B"),
        ([*restored("A"), *restored("B"), ("A", "taking-back"), ("A", "kept")], "B"),
        ([*restored("A"), *restored("B"), ("A", "done")], "B"),
        # begun anew after the other
        ([("A", "changed"), ("A", "not-begun"), *restored("B"), ("A", "changed")], ""),
        ([("A", "changed"), ("A", "not-begun"), *restored("B")], ""),  # nothing to take back
        ([*restored("B"), *taken_back("B"), *restored("C")], "C"),  # and A's lines are gone
    ],
)
def test_what_came_after(told: list[tuple[str, str]], later: str) -> None:
    assert follower("A", *told) == later


def test_a_node_that_the_run_never_changed_says_nothing() -> None:
    assert follower("A", *restored("B"), changed=False) == ""
