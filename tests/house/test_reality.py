"""The catalogue of what step 1 must notice: enough of each kind, each says whom it names."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.reality.catalogue import COMMANDS, LABS, rows
from tests.reality.table import table

ROWS = rows()
NOTED = {str(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16, 17, 21, 24)}
NOTED_OF_PODS = {"S1", "S3", "S4", "S6", "S9", "S10"}


def test_there_are_enough_and_each_once() -> None:
    assert [name for name, n in Counter(row.id for row in ROWS).items() if n > 1] == []
    noticed = [row for row in ROWS if row.exit and not row.waits]
    assert len(noticed) >= 40
    assert 2 * sum(row.changes == "machine" for row in ROWS) >= len(ROWS)
    assert {row.lab for row in ROWS} == set(LABS)


def test_the_rows_of_the_notes_are_among_them() -> None:
    assert (NOTED | NOTED_OF_PODS) - {row.reality for row in ROWS} == set()


def test_a_row_can_be_told_and_mended() -> None:
    for row in ROWS:
        assert row.command in COMMANDS, row.id
        assert bool(row.make) == bool(row.mend), row.id
        assert row.make or row.power or row.here or row.inventory, row.id
        assert row.says and all(row.says), row.id
        assert bool(row.line) == any("<line>" in phrase for phrase in row.says), row.id
        if row.exit in (4, 8):
            named = re.compile(
                r"<host>|<member>|node-[0-9]|the living cluster|refuses drctl|^its etcd"
            )
            assert any(named.search(phrase) for phrase in row.says), row.id


def test_the_committed_table_has_every_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reality.md").read_text(encoding="utf-8")
    assert [row.id for row in ROWS if f"| {row.id}" not in text] == []
    assert "NOT AS EXPECTED" not in text


def test_a_row_without_an_outcome_says_so() -> None:
    assert "not tried" in table([(ROWS[0], None)])
