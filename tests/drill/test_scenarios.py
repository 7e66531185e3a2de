"""Scenarios are data: every mistake in one has a line, and the shipped ones are sound."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drctl.drill import breaks, proofs, scenario
from drctl.drill.gameday import as_asked
from drctl.drill.operator import Operator
from drctl.drill.scenario import chosen
from drctl.errors import InvalidInput, StepFailed, UsageError
from drctl.lab.site import HostRole, SiteNode

PROMISED = {
    "majority-data-lost",
    "all-data-lost",
    "member-data-corrupted",
    "namespace-deleted",
    "snapshot-damaged",
    "node-down-for-good",
    "old-member-returns",
    "separate-wal-dir",
    "nospace-alarm",
    "etcd-auth-enabled",
    "disk-full",
    "node-killed",
    "network-cut",
    "controller-killed",
    "certificates-expired",
    "manifest-returns",
    "kubelets-cut-off",
    "kubelets-cut-off-and-back",
    "all-machines-lost",
}


def test_the_shipped_ones_are_sound_and_all_that_drctl_knows_is_used() -> None:
    known = scenario.catalogue()
    assert known.keys() >= PROMISED
    acts: set[str | None] = set()
    asked: set[str] = set()
    for one in known.values():
        for part in (one.prepare, one.meanwhile, one.damage):
            acts |= {act.do for act in part}
        for item in (*one.restore, *one.afterwards):
            acts |= {item.do, *(held.do for held in item.during)}
            asked |= set(item.prove)
        asked |= set(one.prove)
    assert set(proofs.spelled_out(tuple(asked))) == proofs.PROOFS.keys()
    assert acts - {None} <= breaks.KINDS.keys()


def test_refusals_have_no_rto_and_restores_have_one() -> None:
    known = scenario.catalogue()
    assert known["majority-data-lost"].restores
    assert known["node-killed"].restores
    assert not known["snapshot-damaged"].restores
    assert known["node-down-for-good"].restores  # without that node
    staged = as_asked(known["majority-data-lost"], staged=True)
    assert staged.staged
    assert not known["majority-data-lost"].staged


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("damage: [{do: loose-data}]", "3: damage[0]: no such kind: 'loose-data', did you mean"),
        ("prove: [restord]", "3: prove: no such proof: 'restord', did you mean 'restored'?"),
        ("restore: [{type: restore, do: lose-data}]", "exactly one of do, type, prove"),
        ("restore: [{do: lose-data, exit_code: 3}]", "exit_code belongs to `type`"),
        ("restore: [{type: restore, during: [{at: noon, do: lose-data}]}]", "restore[0].during"),
        ("needs: {wal: true}", "3: needs.wal: unknown key 'wal'"),
        ("damage: [{do: lose-data, on: everyone}]", "must be 'first', 'second', 'last'"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    rest = {"restore": "restore: [{type: restore}]", "prove": "prove: [restored]"}
    rest.pop(line.partition(":")[0], None)
    path = tmp_path / "mine.yaml"
    head = ["scenario: mine", "title: t", line, "story: s"]
    path.write_text("\n".join([*head, *rest.values()]) + "\n")
    with pytest.raises(InvalidInput) as caught:
        scenario.load(str(path))
    assert said in str(caught.value)
    assert f"{path}:3" in str(caught.value)


def test_a_scenario_of_ones_own_is_a_file_and_a_wrong_name_gets_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(scenario.shipped()["all-data-lost"].read_text())
    with pytest.raises(InvalidInput, match="must have its file's name"):
        scenario.load(str(path))
    path.write_text(path.read_text().replace("scenario: all-data-lost", "scenario: mine"))
    assert scenario.load(str(path)).scenario == "mine"
    with pytest.raises(UsageError, match="did you mean 'all-data-lost'"):
        scenario.load("all-data-lots")


def test_selectors() -> None:
    def node(name: str, role: HostRole) -> SiteNode:
        return SiteNode(name, frozenset({role}), "", name, "", "", "/d")

    nodes = (*(node(name, "etcd") for name in "abc"), node("w", "worker"), node("s", "spare"))
    told = {
        way: "".join(one.name for one in chosen(way, nodes))
        for way in ("first", "second", "last", "majority", "all", "spares", "nobody")
    }
    assert told == {
        "first": "a",
        "second": "b",
        "last": "c",
        "majority": "ab",
        "all": "abc",
        "spares": "s",
        "nobody": "",
    }


def operator(tmp_path: Path, said: list[str]) -> Operator:
    return Operator(tmp_path / "inventory.yaml", tmp_path / "state", said.append)


def test_an_operator_types_the_product_itself(tmp_path: Path) -> None:
    said: list[str] = []
    answer = operator(tmp_path, said).types("runbook", "show", "no-such-runbook", expected=3)
    assert answer.command.as_expected
    assert answer.command.typed == "drctl runbook show no-such-runbook"
    assert "no runbook" in answer.command.said
    assert any("no runbook" in line for line in said)
    with pytest.raises(StepFailed, match=r"never reached the moment .step-done swap."):
        operator(tmp_path, said).types("runbook", "list", holds=("step-done swap",))


def test_a_held_process_waits_for_its_moment_and_goes_on(tmp_path: Path) -> None:
    """What a drill holds is the journal's own append: here a journal, in a process of its own."""
    code = (
        "from drctl.drill import pausepoint\n"
        "from drctl.journal.chain import Journal\n"
        "Journal.append = pausepoint.append\n"
        "j = Journal(None)\n"
        "for host in ('a', 'b'): j.append('intent', step='swap', host=host)\n"
        "j.append('step-done', step='swap')\n"
        "print(len(j.events))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"DRCTL_DRILL_HOLD": '["intent swap b", "step-done swap"]'},
        stdout=subprocess.PIPE,
        text=True,
    )
    stops = 0
    while True:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        stops += 1
        process.send_signal(18)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert (stops, process.returncode) == (2, 0)
    assert process.communicate()[0] == "3\n"
