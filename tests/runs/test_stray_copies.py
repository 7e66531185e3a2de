"""What is left on nodes that went away at a bad moment, and who may still get past it."""

from __future__ import annotations

import json

import pytest

from drctl.errors import Unreachable
from drctl.plan.runbook import shipped_runbooks
from drctl.transport import CommandResult
from tests.commands.test_resume import FAILED
from tests.model.simulation import OLD_TOKEN
from tests.support.bench import Bench

pytestmark = pytest.mark.slow

LOCKED = 7
RESERVED = "lock not released:"


class Killed(BaseException):
    """The controller's end."""


def gone(host: str) -> Unreachable:
    return Unreachable("no route to host", host=host)


def owners(bench: Bench) -> set[str]:
    """Which runs hold any node."""
    return {node.owner["run"] for node in bench.rig.nodes.values() if node.owner}


def as_before(bench: Bench) -> None:
    """The nodes have old data again, so that the simulation can be restored once more."""
    for node in bench.rig.nodes.values():
        node.kept = node.new = None
        node.live = node.live and OLD_TOKEN


def test_a_node_that_was_gone_at_the_end_is_given_back_by_the_next_run(bench: Bench) -> None:
    gone = Unreachable("no route to host", host="m3")
    bench.rig.trouble("job/release", gone, host="m3", times=2)
    first = bench.restore("--replace-healthy")
    assert first.exit == 0, first.err
    told = "lock not released: m3 is still locked by this run"
    assert told in first.err
    assert bench.rig.nodes["m3"].owner["run"] == bench.state().run
    assert told in bench.drctl("runs", "show").out
    done = bench.state().run
    assert bench.restore("--replace-healthy").exit == 7  # gone still, it answers a moment later
    bench.restore("--replace-healthy")
    m3 = bench.rig.nodes["m3"]
    assert m3.owner["run"] != done  # the new run's, which began
    assert f"{done}/record.json" in m3.papers


def test_a_node_that_went_away_half_way_is_given_back_too(bench: Bench) -> None:
    bench.rig.trouble("etcd/probe", lambda: bench.rig.silent.add("w1"))  # after the first claim
    first = bench.restore("--replace-healthy")
    assert first.exit == 0, first.err
    assert f"{RESERVED} w1" in first.err
    bench.rig.silent.clear()
    done = bench.state().run
    assert bench.restore("--replace-healthy").exit != LOCKED
    assert done not in owners(bench)


def test_a_node_that_was_down_for_a_rollback_is_given_back(bench: Bench) -> None:
    bench.rig.trouble("job/start", FAILED, step="swap", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.silent.add("w1")
    undone = bench.rollback()
    assert undone.exit == 0, undone.err
    assert f"{RESERVED} w1" in undone.err
    bench.rig.silent.clear()
    bench.rig.troubles.clear()
    assert bench.restore("--replace-healthy").exit == 0
    assert owners(bench) == set()


def test_what_an_earlier_run_left_does_not_bar_the_rollback_of_a_later_one(bench: Bench) -> None:
    bench.rig.trouble("job/release", gone("w1"), host="w1")
    assert bench.restore("--replace-healthy").exit == 0
    as_before(bench)
    bench.rig.silent.add("w1")
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.restore("--replace-healthy").exit == 5
    bench.rig.silent.clear()
    undone = bench.rollback()
    assert undone.exit == 0, undone.err
    assert owners(bench) == set()


def test_a_run_that_is_under_way_keeps_what_it_could_not_give_back_once(bench: Bench) -> None:
    """Its first session held m2 and could not say so; it holds m2 again, and somebody cleans up
    after an older run."""
    assert bench.restore("--replace-healthy").exit == 0
    older = bench.state().run
    as_before(bench)
    bench.rig.trouble("job/claim", gone("m3"), host="m3")
    bench.rig.trouble("job/release", gone("m2"), host="m2")
    assert bench.restore("--replace-healthy").exit == 8
    assert bench.state().left_over.keys() == {"m2"}
    bench.rig.trouble("job/start", FAILED, step="start-etcd", host="m2", times=3)
    assert bench.resume().exit == 5
    under_way = bench.state().run
    bench.drctl("clean", older, "--inventory", bench.inventory, "--yes")
    assert bench.rig.nodes["m2"].owner["run"] == under_way
    assert RESERVED not in bench.drctl("runs", "show", under_way).out


def test_a_refused_rollback_reserves_nothing(bench: Bench) -> None:
    bench.rig.trouble("job/release", gone("m3"), host="m3")
    assert bench.restore("--replace-healthy").exit == 0
    bench.rig.written = 12
    assert bench.rollback().exit == 4
    state = bench.state()
    assert (state.state, state.claimed, set(state.unreleased)) == ("done", False, {"m3"})
    assert [name for name, node in bench.rig.nodes.items() if node.owner] == ["m3"]


def test_a_refused_rollback_leaves_the_nodes_their_record(bench: Bench) -> None:
    assert bench.restore("--replace-healthy").exit == 0
    path = f"{bench.state().run}/record.json"
    before = json.loads(bench.rig.nodes["m1"].papers[path])
    bench.rig.trouble("job/claim", gone("m3"), host="m3", times=9)
    assert bench.rollback().exit != 0
    after = json.loads(bench.rig.nodes["m1"].papers[path])
    assert (after["state"], after["kept"]) == (before["state"], before["kept"])


def test_a_node_that_never_answered_is_not_called_reserved(bench: Bench) -> None:
    bench.rig.trouble("job/claim", gone("m3"), host="m3", times=9)
    bench.rig.trouble("job/release", gone("m3"), host="m3", times=9)
    refused = bench.restore("--replace-healthy")
    assert refused.exit == 8
    assert RESERVED not in refused.err
    assert owners(bench) == set()


def test_a_node_that_cannot_write_is_not_given_back(bench: Bench) -> None:
    full = CommandResult(1, "", "No space left on device")
    bench.rig.trouble("job/release", full, host="m3")
    first = bench.restore("--replace-healthy")
    assert first.exit == 0
    assert f"{RESERVED} m3" in first.err


def test_who_was_passed_by_before_its_first_claim_may_begin_anew(bench: Bench) -> None:
    def kill() -> None:
        raise Killed

    bench.rig.trouble("job/claim", kill, host="m1")
    with pytest.raises(Killed):
        bench.restore("--replace-healthy")
    assert bench.state().claimed
    other = bench.folder / "another machine"
    assert bench.restore("--replace-healthy", "--state-dir", other).exit == 0
    passed = bench.resume()
    assert passed.exit == 6, passed.err
    assert "a new restore checks again" in passed.err
    assert not bench.state().changed
    assert bench.restore("--replace-healthy").exit not in (4, LOCKED)  # it begins
    assert bench.state().changed


def test_what_is_written_while_the_operator_thinks_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.restore("--replace-healthy").exit == 0

    def thinking(*_: object, **__: object) -> str:
        bench.rig.written = 12
        return bench.state().cluster

    monkeypatch.setattr("drctl.cli.common.can_ask", lambda: True)
    monkeypatch.setattr("click.prompt", thinking)
    undone = bench.drctl("rollback", "--inventory", bench.inventory)
    assert undone.exit == 0, undone.err
    assert "restored data kept" in undone.err
    assert all(node.restored for name, node in bench.rig.nodes.items() if name.startswith("m"))


def test_verified_is_said_of_proofs_in_a_phase_of_their_own_too(bench: Bench) -> None:
    text = shipped_runbooks()["restore"].read_text()
    before, proofs = text.split("  - {id: identity", 1)
    own = f"{before}- title: 6b verify\n  steps:\n  - {{id: identity{proofs}"
    book = bench.runbook(own.replace("runbook: restore\n", "runbook: mine\n"))
    bench.rig.trouble("etcd/state", CommandResult(1, "", "boom"), host="m1", times=99)
    failed = bench.restore("--replace-healthy", "--runbook", book)
    assert failed.exit != 0
    assert bench.state().hosts["start-etcd", "m1"].state == "done"
    assert "is NOT verified" in failed.err
