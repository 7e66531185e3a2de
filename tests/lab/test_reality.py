"""A sample of the table in docs/reality.md: one thing wrong each on loopback, told and mended. All
rows: `make reality`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reality.catalogue import rows
from tests.reality.scene import Scene, scene

pytestmark = pytest.mark.lab

SAMPLE = [row for row in rows() if row.sample]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, etcd_dir: Path) -> Iterator[Scene]:
    with scene("local", tmp_path_factory.mktemp("reality"), etcd_dir) as made:
        yield made


@pytest.mark.parametrize("name", [row.id for row in SAMPLE])
def test_what_is_wrong_is_told_in_step_1(found: Scene, name: str) -> None:
    (row,) = (row for row in SAMPLE if row.id == name)
    outcome = found.play(row)
    assert outcome.fault == ""
    if row.changes == "machine":
        assert found.mended() == "green"


def test_everything_is_green_at_the_end(found: Scene) -> None:
    assert found.mended() == "green"
