"""On the embedded lab: what the nodes remember beats what a machine remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drctl.lab.layout import Lab
from tests.lab.test_restore import prove_restored, write_later
from tests.support.forging import another_name, forge
from tests.support.labs import content
from tests.support.operator import Operator

pytestmark = pytest.mark.lab
LOSE = ("--yes", "--lose-writes")


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def restored(operator: Operator, snapshot: Path) -> str:
    done = operator.restore(snapshot, "--replace-healthy")
    assert done.returncode == 0, done.stderr
    return str(operator.last_run()["run"])


def test_a_run_is_taken_back_only_when_nobody_elses_stands_after_it(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], tmp_path: Path
) -> None:
    """Three machines, each with a state directory of its own: mine, a colleague's, and one that
    adopts my run."""
    write_later(lab)
    before, old = content(lab), operator.status()["cluster_id"]
    mine = restored(operator, snapshot)
    colleague = replace(operator, state=tmp_path / "colleague")
    theirs = restored(colleague, snapshot)
    third = replace(operator, state=tmp_path / "third")
    adopted = third.types("runs", "adopt", mine, *third.on, "--gone")
    assert adopted.returncode == 0, adopted.stderr
    assert f"run {theirs} of " in adopted.stderr

    for machine in (operator, third):
        refused = machine.types("rollback", mine, *machine.on, *LOSE)
        assert refused.returncode == 4, refused.stderr
        for host in lab.hosts:
            assert f"{host.name}: run {theirs} of " in refused.stderr
        assert f"drctl rollback {theirs}" in refused.stderr
    prove_restored(lab, colleague, saved)

    undone = colleague.types("rollback", *colleague.on, *LOSE)
    assert undone.returncode == 0, undone.stderr
    undone = operator.types("rollback", mine, *operator.on, *LOSE)
    assert undone.returncode == 0, undone.stderr
    assert operator.status()["cluster_id"] == old
    assert content(lab) == before


def test_a_journal_that_was_rewritten_is_refused_and_rebuilt(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes]
) -> None:
    write_later(lab)
    before = content(lab)
    run = restored(operator, snapshot)
    forge(operator.state, run, another_name)
    for command in ("rollback", "clean"):
        refused = operator.types(command, run, *operator.on, "--yes")
        assert refused.returncode == 4, refused.stderr
        assert "is not the one the nodes saw" in refused.stderr
    prove_restored(lab, operator, saved)
    shown = operator.types("runs", "show", run)
    assert "not compared with the nodes so far" in shown.stdout

    adopted = operator.types("runs", "adopt", run, *operator.on, "--gone")
    assert adopted.returncode == 0, adopted.stderr
    undone = operator.types("rollback", run, *operator.on, *LOSE)
    assert undone.returncode == 0, undone.stderr
    assert content(lab) == before
