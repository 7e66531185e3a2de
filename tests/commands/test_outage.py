"""The outage as a figure of its own: measured, told at the end and before the next one."""

from __future__ import annotations

from tests.support.bench import Bench


def forget(bench: Bench) -> None:
    """Marks of a swap are a run's own; a simulated node has one of each."""
    for node in bench.rig.nodes.values():
        node.kept, node.moved_in, node.moved_out = None, False, False


def test_the_outage_is_told_in_the_end_and_before_the_next_question(down: Bench) -> None:
    first = down.restore()
    assert first.exit == 0, first.err
    assert "outage     not measured yet" in first.err
    assert "\noutage: " in first.err
    shown = down.drctl("runs", "show", "--output", "json").document
    report = down.drctl("runs", "report", "--output", "json").document["time"]
    assert 0 < shown["outage_seconds"] == report["outage_seconds"] <= report["stopped_seconds"]
    forget(down)
    second = down.restore("--replace-healthy")
    assert second.exit == 0, second.err
    assert f", as in run {shown['run']}" in second.err.partition("2 stop kubernetes")[0]
    forget(down)
    staged = down.restore("--replace-healthy", "--staged")  # another order, another outage
    assert "outage     not measured yet" in staged.err


def test_what_did_not_end_measures_nothing(down: Bench) -> None:
    down.rig.nodes["m1"].fails = "tried in vain"
    assert down.restore().exit == 4
    assert down.drctl("runs", "show", "--output", "json").document["outage_seconds"] is None
