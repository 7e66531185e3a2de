"""Reports of drills, from records alone: what follows from them, and what they must not hide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drctl.cli import cli
from drctl.cli.common import Options
from drctl.drill import record
from drctl.drill.record import DrillRecord, Proof
from drctl.evidence.drill import OUTSIDE, drill_evidence
from drctl.evidence.drillpage import drill_page, drill_text
from tests.drill.test_record import a_record

AT = "2026-11-24T08:00:00+00:00"


def drills(*rtos: float | None) -> list[DrillRecord]:
    """One drill a day with that RTO; None: it was skipped."""
    return [
        replace(
            a_record(f"202611{day:02}-060000-x"),
            started=f"2026-11-{day:02}T06:00:00+00:00",
            rto_seconds=rto,
            verdict="passed" if rto else "skipped",
            reason="" if rto else "no Docker here",
        )
        for day, rto in enumerate(rtos, start=1)
    ]


def evidence(made: DrillRecord, *others: DrillRecord) -> dict[str, Any]:
    return drill_evidence(made.document(), [each.document() for each in others], made_at=AT)


def test_the_parts_of_the_time_add_up_to_the_rto() -> None:
    split = {"time": {"split": [{"phase": "1 prepare", "seconds": 4.0}]}}
    made = replace(a_record("one"), runs=(split, split))
    time = evidence(made)["time"]
    assert time["split"] == [
        {"phase": "1 prepare", "seconds": 8.0},
        {"phase": OUTSIDE, "seconds": 4.5},
    ]
    assert (time["total_seconds"], time["adds_up"]) == (12.5, True)
    assert evidence(replace(made, rto_seconds=5.0))["time"]["adds_up"] is False


def test_the_history_is_of_drills_alike_and_not_of_later_ones() -> None:
    first, second, third, fourth = drills(30.0, None, 20.0, 10.0)
    other = replace(first, drill="other", scenario="another")
    staged = replace(first, drill="staged", staged=True)
    found = evidence(third, fourth, second, first, other, staged)["history"]
    assert [(one["drill"], one["this"]) for one in found] == [
        (first.drill, False),
        (second.drill, False),
        (third.drill, True),
    ]


def test_a_skipped_drill_is_not_shown_as_passed() -> None:
    (made,) = drills(None)
    document = evidence(made)
    assert document["verdict"]["title"] == "Skipped, not passed: a title"
    assert document["not_tested"][0] == "anything at all: no Docker here"
    assert "no Docker here" in drill_page(document)
    assert "no Docker here" in drill_text(document)


def test_a_failed_proof_is_seen() -> None:
    unproven = Proof("the old data", False, "3 of 25 keys <remain>", "gone", {"keys": ["a", "b"]})
    made = replace(
        a_record("one"), proofs=(unproven,), verdict="failed", reason="not proven: the old data"
    )
    document = evidence(made)
    assert document["verdict"]["tone"] == "bad"
    page = drill_page(document)
    assert "3 of 25 keys &lt;remain&gt;" in page
    assert "not proven" in page
    assert "0 of 1" in page
    assert "NOT PROVEN: the old data" in drill_text(document)


def test_a_drill_that_had_to_refuse_has_no_recovery_time() -> None:
    refused = replace(
        a_record("one"), rto_seconds=None, rpo_seconds=None, rpo_revisions=None, rpo_keys=None
    )
    page = drill_page(evidence(refused))
    assert "no recovery time" in page
    assert "Recovery time (RTO)" not in page


def test_what_was_lost_is_counted_by_kind() -> None:
    made = replace(a_record("one"), rpo_objects={"secrets": 2, "configmaps": 11})
    page = drill_page(evidence(made))
    lost = page[page.index('id="loss"') :]
    for name, count in (("revisions", 26), ("keys", 26), ("configmaps", 11), ("secrets", 2)):
        assert f'{name}</th><td class="n"><data value="{count}">' in lost
    assert "11 configmaps" in drill_text(evidence(made))


def test_no_kubernetes_is_said() -> None:
    made = a_record("one")
    assert evidence(made)["not_tested"][0].startswith("Kubernetes itself")
    real = replace(made, versions=replace(made.versions, kubernetes="1.20.2"))
    assert evidence(real)["not_tested"][0].startswith("all hosts shared one machine")


def test_what_was_not_tested_for_one_reason_is_one_line() -> None:
    made = replace(a_record("one"), not_tested=("a: no etcd", "by itself", "b: no etcd", "c: d"))
    assert evidence(made)["not_tested"][2:] == ["no etcd: a; b", "by itself", "c: d"]


def drctl(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--state-dir", str(state)], obj=Options())


def test_reports_and_history_by_command(tmp_path: Path) -> None:
    for made in drills(30.0, 20.0):
        record.save(made, tmp_path)
    (record.folder(tmp_path) / "broken.json").write_text("{}")
    html = tmp_path / "page.html"
    told = drctl(tmp_path, "drill", "report", "--html", str(html), "--output", "json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert document["drill"] == "20261102-060000-x"
    assert "broken.json is not a drill record" in told.stderr
    assert "<h1>Passed: a title</h1>" in html.read_text()
    told = drctl(tmp_path, "drill", "report", "20261101-060000-x")
    assert told.stdout.startswith("drill 20261101-060000-x: Passed")
    lines = json.loads(drctl(tmp_path, "drill", "history", "--output", "json").stdout)
    assert [line["rto_seconds"] for line in lines] == [30.0, 20.0]
    text = drctl(tmp_path, "drill", "history").stdout
    assert "majority-data-lost" in text and "30.0" in text


@pytest.mark.parametrize("asked", [(), ("nope",)])
def test_a_drill_that_is_not_there(tmp_path: Path, asked: tuple[str, ...]) -> None:
    told = drctl(tmp_path, "drill", "report", *asked)
    assert "no drill" in str(told.exception)
