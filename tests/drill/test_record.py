"""Records of drills: written whole, read back as they were, refused when they are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drctl.drill import record, reporting
from drctl.drill.record import (
    Action,
    Command,
    DrillRecord,
    HostMachine,
    Proof,
    TopologyNode,
    Versions,
)
from drctl.errors import InvalidInput
from tests.support.labs import quiet


def a_record(drill: str) -> DrillRecord:
    at = "2026-11-24T06:00:00+00:00"
    return DrillRecord(
        drill=drill,
        scenario="majority-data-lost",
        title="a title",
        story="a story",
        driver="local",
        flavour="local",
        staged=False,
        operator="me@here",
        started=at,
        finished=at,
        machine=HostMachine("Linux", 2, 1024, "3.12.1"),
        versions=Versions("0.1", "3.5.16", ""),
        topology=(TopologyNode("node-1", ("control_plane", "etcd"), "127.1.1.1", "etcd-1"),),
        actions=(Action("lose-data", "its data is gone", "node-1", "break", "", at, 0.5),),
        commands=(Command("drctl restore", at, 3.0, None, None, "effect swap", "said"),),
        runs=({"run": "r1", "state": "done"},),
        rto_seconds=12.5,
        restore_seconds=3.0,
        phases={"1 prepare": 1.0},
        rpo_seconds=1.0,
        rpo_revisions=26,
        rpo_keys=26,
        rpo_objects={},
        proofs=(Proof("a new cluster", True, "id a, before b", "new-cluster", {"id": "a"}),),
        not_tested=("real Kubernetes",),
        verdict="passed",
        reason="",
    )


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    later, earlier = a_record("20261124-070000-b"), a_record("20261124-060000-a")
    for each in (later, earlier):
        path = record.save(each, tmp_path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert reporting.records(tmp_path, quiet) == [earlier, later]
    assert earlier.commands[0].as_expected
    assert earlier.proven


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": 99}'])
def test_what_is_no_record_is_refused(tmp_path: Path, damage: str) -> None:
    path = record.save(a_record("one"), tmp_path)
    path.write_text(damage)
    with pytest.raises(InvalidInput, match=str(path)):
        record.load(path)


def test_a_record_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = record.save(a_record("one"), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(InvalidInput, match="schema is 2"):
        record.load(path)
