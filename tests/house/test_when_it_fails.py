"""docs/when-it-fails.md says what the program says."""

from __future__ import annotations

import re

import pytest

from drctl.journal.meanings import SITUATIONS
from tests.house import ROOT
from tests.house.test_docs import can_be_typed
from tests.house.when_it_fails import ADVICE, classes, node_messages, page, python_messages

PAGE = ROOT / "docs" / "when-it-fails.md"
TO_DO = "write it again: python -m tests.house.when_it_fails > docs/when-it-fails.md"


def test_the_page_is_the_programs_own_words() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), TO_DO


def test_it_has_every_situation_and_every_code() -> None:
    text = page()
    for word, meaning in SITUATIONS.items():
        assert f"### {word}" in text
        assert meaning.now in text
        assert meaning.safe in text
    for kind in classes():
        assert f"| {kind.exit_code} | `{kind.code}` |" in text
        assert kind.__doc__, kind


def test_each_heading_comes_once() -> None:
    """Two kinds of errors share the code `refused`."""
    headings = [line for line in page().splitlines() if line.startswith("#")]
    assert len(headings) == len({*headings})


def test_messages_are_found_where_they_are_said() -> None:
    found = {said.message: said for said in python_messages()}
    assert found["the journal … is damaged: …"].kind == "refused"
    assert found["its restore reported no cluster id"].kind == "not-proven"  # through a helper
    assert found["another machine answers here: machine-id was …, is …"].kind == "drifted"
    assert "etcd's log" in found["knows no leader"].hint  # the helper's own
    assert "NOSPACE: " in found["the alarm … is raised"].hint  # one of a table
    assert len(found) > 100
    nodes = [said for said, _ in node_messages()]
    assert len(nodes) > 15
    assert all(re.search(r"[a-z]{2}", said) for said in nodes)


def test_every_piece_of_advice_is_about_something_that_is_said() -> None:
    said = " ".join(words for words, _ in node_messages())
    assert [piece for piece in ADVICE if piece not in said] == []


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(drctl [^`]*FILE[^`]*)`", page()))))
def test_what_it_says_to_type_can_be_typed(line: str) -> None:
    can_be_typed(line)
