"""The list of protections is true; `make guards` then takes each one away and looks who notices."""

from __future__ import annotations

import ast

import pytest

from tests.guards.__main__ import FAST
from tests.guards.catalogue import Guard, guards
from tests.house import ROOT

ALL = guards()


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len(ALL) >= 30
    assert len({guard.name for guard in ALL}) == len(ALL)


def test_the_fast_tests_are_there() -> None:
    """Where one is not, pytest runs none of them, and nothing is ever noticed by another test."""
    assert all((ROOT / "tests" / name / "__init__.py").is_file() for name in FAST)


@pytest.mark.parametrize("guard", ALL, ids=lambda guard: guard.name)
def test_it_can_still_be_taken_away(guard: Guard) -> None:
    """Where this fails, the source has moved on: change the guard's entry in guards.yaml, and see
    that its removal is noticed: python -m tests.guards NAME."""
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    without = guard.without(text)
    assert without != text
    if guard.file.endswith(".py"):
        ast.parse(without)
    for path in guard.tests:
        file, _, name = path.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name.partition('[')[0]}(" in text, path


def test_an_edit_that_does_not_fit_is_an_error() -> None:
    guard = Guard("mine", "nothing", "f", (("here", "there"),), ())
    for text in ("nowhere", "here and here"):
        with pytest.raises(ValueError, match="guard mine: "):
            guard.without(text.replace("nowhere", "gone"))


def test_the_table_has_every_guard() -> None:
    rows = (ROOT / "docs" / "guards.md").read_text(encoding="utf-8").splitlines()
    named = {row.split("|")[1].strip() for row in rows if row.startswith("| ")} - {"guard"}
    assert named == {guard.name for guard in ALL}, "write it anew: make guards"
    assert not any("NOT NOTICED" in row for row in rows)
