"""A sample of `python -m tests.journal.each_byte`, which damages a real journal at every byte."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.journal.each_byte import (
    BESIDE,
    MAIN,
    Record,
    at_rest,
    damage_all,
    in_the_middle,
    snapshot_facts,
    table,
    verdict,
    written_run,
)


@pytest.mark.slow
def test_no_damage_to_a_journal_is_silently_wrong(folder: Path) -> None:
    written_run(folder / MAIN, snapshot_facts(folder))
    states = [at_rest(folder / MAIN), in_the_middle(folder / MAIN)]
    record = Record(None, every=307)
    damage_all(states, record, folder)
    assert record.violations == []
    total = sum(record.counts.values(), Counter[str]())
    assert total["refused"] > 500, table(record)
    assert total["whole"] > 100, table(record)


def test_a_journal_whose_companion_is_lost_is_not_believed(folder: Path) -> None:
    """Half a record is on the disk, and what would take it back is gone."""
    written_run(folder / MAIN, snapshot_facts(folder))
    state = in_the_middle(folder / MAIN)
    assert verdict(folder, state.files, state.truth) == "whole"
    alone = {MAIN: state.files[MAIN]}
    assert verdict(folder, alone, state.truth) in ("refused", "whole")
    assert BESIDE in state.files
