"""What a later step needs is tried before anything is stopped: a refusal there ends with 4, nothing
is left, and nobody is kept out."""

from __future__ import annotations

import pytest

from drctl.errors import ConnectionLost
from drctl.journal.diagnosis import situation
from drctl.transport import CommandResult
from tests.support.bench import Bench


@pytest.mark.parametrize("order", [[], ["--staged"]])
def test_a_refusal_ends_with_4_and_nothing_stopped(down: Bench, order: list[str]) -> None:
    before = down.rig.conditions()
    down.rig.nodes["m2"].fails = "chown: Operation not permitted"
    ended = down.restore("--output", "json", *order)
    assert ended.exit == 4
    assert "m2" in ended.error["message"] and "not permitted" in ended.error["message"]
    assert down.rig.conditions() == before  # no owner, nothing fenced, nothing left
    assert "service/fenced" not in down.rig.scripts()
    state = down.state()
    assert not state.changed and situation(state).word == "untouched"
    down.rig.nodes["m2"].fails = ""
    assert down.restore(*order).exit == 0  # the next run is not barred


def test_the_same_run_resumed_tries_again(down: Bench) -> None:
    down.rig.nodes["m2"].fails = "read-only"
    assert down.restore().exit == 4
    assert down.resume().exit == 4
    down.rig.nodes["m2"].fails = ""
    assert down.resume().exit == 0


def test_a_file_that_cannot_be_sent_ends_likewise(down: Bench) -> None:
    before = down.rig.conditions()

    def broken(host: str, source: object, target: str) -> None:
        raise ConnectionLost("the connection ended", host=host)

    sends = down.rig.on_upload
    down.rig.on_upload = broken
    assert down.restore().exit == 8
    assert down.rig.conditions() == before
    down.rig.on_upload = sends
    assert down.restore().exit == 0


def test_a_node_that_keeps_what_was_tried_keeps_the_run(down: Bench) -> None:
    down.rig.nodes["m2"].fails = "read-only"
    down.rig.trouble("job/start", CommandResult(1, "", "no"), step="untry", host="m2", times=99)
    assert down.restore().exit == 5
    assert situation(down.state()).word == "untouched"
    assert down.restore().exit == 4  # another one is refused until this is resumed or rolled back
    down.rig.troubles.clear()
    assert down.rollback().exit == 0
    assert not down.rig.nodes["m2"].owner and not down.rig.nodes["m2"].tried


def test_each_try_that_was_not_made_is_named(down: Bench) -> None:
    down.rig.trouble("try/report", CommandResult(0, "tried=yes\nfiles.data=ok\n"), host="m1")
    ended = down.restore("--output", "json")
    assert ended.exit == 4 and "did not try sent" in ended.error["message"]


def test_on_request_everything_is_tried_and_nothing_left(bench: Bench) -> None:
    before = bench.rig.conditions()
    ended = bench.drctl("preflight", "--try", "--inventory", bench.inventory, "--output", "json")
    assert ended.exit == 0
    assert ended.document["findings"]["tried"] == ["tried on 3 hosts, fsync 3 to 3 ms"]
    assert bench.rig.conditions() == before
    assert situation(bench.state()).word == "tried"
    assert bench.restore("--replace-healthy").exit == 0  # it bars nobody


def test_nothing_is_tried_where_another_run_is_at_work(bench: Bench) -> None:
    bench.rig.nodes["m3"].owner = {"run": "20261123-000000-0a0a0a", "epoch": "1", "who": "x@y"}
    ended = bench.drctl("preflight", "--try", "--inventory", bench.inventory)
    assert ended.exit == 7
    assert not any(node.tried or node.sample for node in bench.rig.nodes.values())


def test_a_plain_preflight_and_a_dry_run_try_nothing(bench: Bench) -> None:
    assert bench.drctl("preflight", "--inventory", bench.inventory).exit == 0
    assert bench.restore("--dry-run", "--replace-healthy").exit == 0
    assert not {"job/claim", "try/observe", "upload"} & bench.rig.scripts()
