"""`drctl runs report`: every figure follows from the journal, whatever became of the run."""

from __future__ import annotations

import html
import re
import shlex
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drctl.errors import Unreachable
from drctl.evidence.document import run_evidence
from drctl.evidence.page import run_page
from drctl.journal.chain import Reading
from drctl.journal.runstate import fold
from drctl.transport import CommandResult
from tests.commands.test_resume import FAILED
from tests.support.bench import Bench


def report(bench: Bench) -> dict[str, Any]:
    ended = bench.drctl("runs", "report", "--output", "json")
    assert ended.exit == 0, ended.err
    document: dict[str, Any] = ended.document
    return document


def page(bench: Bench) -> str:
    path = bench.folder / "report.html"
    assert bench.drctl("runs", "report", "--html", path).exit == 0
    return path.read_text()


def reading(bench: Bench) -> Reading:
    return bench.store.read(*bench.store.runs()[-1])


def journal(bench: Bench) -> Path:
    cluster, run = bench.store.runs()[-1]
    return bench.state_dir / cluster / run / "journal.sqlite"


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {check["step"]: check["outcome"] for check in document["checks"]}


def agrees_with_the_journal(bench: Bench, document: dict[str, Any]) -> None:
    """The figures, counted again from the events."""
    events = reading(bench).events
    results = [event for event in events if event.kind == "result"]
    bars = [bar for session in document["sessions"] for bar in session["bars"]]
    told = sorted((b["step"], b["host"], b["state"]) for b in bars if b["state"] != "unfinished")
    assert told == sorted((e.body["step"], e.body["host"], e.body["state"]) for e in results)
    total = (events[-1].when - events[0].when).total_seconds()
    assert document["time"]["total_seconds"] == pytest.approx(total, abs=0.001)
    parts = [part["seconds"] for part in document["time"]["split"]]
    assert sum(parts) == pytest.approx(total, abs=0.001 * len(parts))
    assert document["journal"] == {"events": len(events), "problem": "", "holder": ""}
    shown = bench.drctl("runs", "show", "--output", "json").document
    assert document["steps"] == shown["steps"]
    assert document["digests"]["plan"] == bench.events("run-started")[0]["plan"]["digest"]


def test_a_restore(down: Bench) -> None:
    assert down.restore().exit == 0
    document = report(down)
    agrees_with_the_journal(down, document)
    assert document["verdict"]["word"] == "done"
    assert set(outcomes(document).values()) == {"held"}
    (identity,) = (c for c in document["checks"] if c["step"] == "identity")
    assert identity["judges"] == ["etcd.is_the_planned_cluster"]
    assert f"cluster {document['digests']['cluster_id']}" in identity["measured"][0]
    assert document["snapshot"]["sha256"] == down.rig.sha256
    assert document["loss"]["lost"] == "yes"
    assert [host["host"] for host in document["topology"]] == ["m1", "m2", "m3", "w1"]
    assert document["people"][0]["what"] == "agreed (agree): --yes"
    assert any("no object was read" in line for line in document["not_tested"])


def test_a_failure_and_what_it_leaves_open(down: Bench) -> None:
    down.rig.trouble("job/start", FAILED, step="rebuild", host="m2", times=3)
    assert down.restore().exit == 5
    document = report(down)
    agrees_with_the_journal(down, document)
    assert (document["verdict"]["word"], document["verdict"]["tone"]) == ("failed", "bad")
    assert "no space left on device" in document["verdict"]["detail"]
    found = outcomes(document)
    assert (found["send"], found["rebuild"], found["swap"]) == ("held", "failed", "not reached")
    assert document["loss"]["lost"] == "if resumed"
    assert "swap in the new data and keep the old" in document["not_tested"][0]


def test_a_refusal_changes_and_loses_nothing(bench: Bench) -> None:
    assert bench.restore().exit == 4
    document = report(bench)
    agrees_with_the_journal(bench, document)
    assert document["verdict"]["word"] == "refused"
    assert outcomes(document)["live"] == "failed"
    assert document["loss"]["lost"] == "no"
    assert document["kept"] == []


def test_a_controller_that_died_and_the_one_that_went_on(down: Bench) -> None:
    class Killed(BaseException):
        """What a SIGKILL leaves: no word in the journal."""

    def die() -> None:
        raise Killed

    down.rig.trouble("job/start", die, step="swap", host="m2")
    with pytest.raises(Killed):
        down.drctl("restore", "--snapshot", down.snapshot, "-i", down.inventory, "--yes")
    document = report(down)
    agrees_with_the_journal(down, document)
    assert document["verdict"]["word"] == "cut-off"
    cut = [bar for bar in document["sessions"][0]["bars"] if bar["state"] == "unfinished"]
    assert [(bar["step"], bar["host"]) for bar in cut] == [("swap", "m2")]
    assert outcomes(document)["swap"] == "no result"

    assert down.resume().exit == 0
    document = report(down)
    agrees_with_the_journal(down, document)
    assert [session["ended"] for session in document["sessions"]] == ["", "done"]
    assert "no drctl at work" in [part["phase"] for part in document["time"]["split"]]
    assert outcomes(document)["swap"] == "held"


def test_what_was_taken_back(bench: Bench) -> None:
    assert bench.restore("--replace-healthy").exit == 0
    assert bench.rollback().exit == 0
    document = report(bench)
    agrees_with_the_journal(bench, document)
    assert document["verdict"]["word"] == "rolled-back"
    assert document["loss"]["lost"] == "no"
    titles = {check["step"]: check["title"] for check in document["checks"]}
    assert titles["undo-swap"] == "roll back: swap in the new data and keep the old"
    assert titles["rb-identity"] == "check that the old cluster is back"


def test_a_host_that_was_not_reached_is_told_as_not_tested(down: Bench) -> None:
    down.rig.silent.add("w1")
    assert down.restore().exit == 0
    document = report(down)
    assert document["verdict"]["tone"] == "warn"
    assert any(line.startswith("w1 was not reached") for line in document["not_tested"])


def test_a_run_that_is_under_way(down: Bench) -> None:
    seen: list[dict[str, Any]] = []
    down.rig.trouble("job/start", lambda: seen.append(report(down)), step="send", host="m1")
    assert down.restore().exit == 0
    (document,) = seen
    assert document["verdict"]["word"] == "running"
    assert "process" in document["journal"]["holder"]
    assert outcomes(document)["send"] == "no result"


def test_a_damaged_journal_is_told_as_far_as_it_is_whole(down: Bench) -> None:
    assert down.restore().exit == 0
    with sqlite3.connect(journal(down)) as db:
        db.execute("UPDATE events SET at = replace(at, '20', '19') WHERE seq = 60")
    db.close()
    document = report(down)
    assert document["verdict"]["word"] == "damaged"
    assert document["journal"]["events"] == 59
    assert "intact up to event 59" in document["journal"]["problem"]
    assert "The journal cannot be read to its end" in page(down)


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_a_file_that_is_no_journal_any_more(down: Bench, left: int) -> None:
    assert down.restore().exit == 0
    journal(down).write_bytes(journal(down).read_bytes()[:left])
    assert report(down)["verdict"]["word"] in ("damaged", "empty")
    assert "<h1>" in page(down)


def test_a_report_writes_nothing_where_the_journal_is(down: Bench) -> None:
    assert down.restore().exit == 0
    before = journal(down).read_bytes()
    report(down)
    assert journal(down).read_bytes() == before
    assert [path.name for path in journal(down).parent.iterdir()] == ["journal.sqlite"]


SECRET = "canary-5f2d<b>"
OWN = """\
runbook: own
title: by hand
source: our wiki
phases:
- title: one <i>phase</i>
  steps:
  - {id: sweep, title: "sweep & go", hosts: etcd, run: stage/clean}
"""


def test_values_are_not_shown_and_nothing_is_markup(bench: Bench) -> None:
    said = f"cannot remove {SECRET}/x; password=hunter2-hunter2"
    for node in bench.rig.nodes.values():
        node.file = True
    bench.rig.trouble("job/start", CommandResult(0, "done 1\n", said), host="m1", times=9)
    book = bench.runbook(OWN)
    given = ("--var", f"stage={SECRET}", "--var", "wal_stage=")
    assert bench.drctl("run", book, "-i", bench.inventory, *given, "--yes").exit == 5
    document, text = report(bench), page(bench)
    assert "‹stage›/x" in document["verdict"]["detail"]
    for shown in (str(document), text, html.unescape(text)):
        assert SECRET not in shown
        assert "hunter2" not in shown
    assert "one &lt;i&gt;phase&lt;/i&gt;" in text
    assert "sweep &amp; go" in text
    assert "stage" in document["values"]


@pytest.mark.parametrize("secret", ["7041", "it's a long one"])
def test_values_are_not_shown_in_what_to_type(bench: Bench, secret: str) -> None:
    book = bench.runbook(OWN)
    given = ("--var", f"stage={secret}", "--var", "wal_stage=")
    bench.rig.silent = {"m1"}
    assert bench.drctl("run", book, "-i", bench.inventory, *given, "--yes").exit == 8
    document = report(bench)
    assert "stage=" in document["next"]
    for shown in (str(document), html.unescape(page(bench))):
        assert secret not in shown and shlex.quote(secret) not in shown


def test_an_adopted_run_says_what_its_journal_cannot_know(down: Bench) -> None:
    assert down.restore().exit == 0
    events = list(reading(down).events)
    adopted = {"by": "she@there", "nodes": {"m1": {}, "m2": {}}, "silent": {"m3": "no route"}}
    events[0] = replace(events[0], body={**events[0].body, "adopted": adopted})
    document = run_evidence(fold(events), events, made_at=events[-1].at)
    assert document["people"][0]["who"] == "she@there"
    assert "m1, m2; no answer from m3" in document["people"][0]["what"]
    assert "rebuilt from the nodes" in document["not_tested"][0]
    assert "she@there" in run_page(document)


def test_the_page_stands_alone(down: Bench) -> None:
    assert down.restore().exit == 0
    text = page(down)
    targets = re.findall(r"""\b(?:src|srcset|href|action)\s*=\s*["']?([^"'\s>]*)""", text)
    assert "url(" not in text and "@import" not in text
    assert targets and all(target.startswith(("#", "data:,")) for target in targets)
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert '<html lang="en">' in text


def test_a_page_that_cannot_be_written(down: Bench) -> None:
    assert down.restore().exit == 0
    ended = down.drctl("runs", "report", "--html", down.folder / "nowhere" / "x.html")
    assert ended.exit == 2
    assert "nowhere/x.html" in ended.err


def test_an_unreachable_host_before_anything_was_changed(down: Bench) -> None:
    down.rig.trouble("etcd/facts", Unreachable("no route", host="m2"), host="m2", times=9)
    assert down.restore().exit == 8
    document = report(down)
    agrees_with_the_journal(down, document)
    assert document["verdict"]["word"] == "refused"
    assert outcomes(document)["facts"] == "no result"


def test_a_write_that_was_cut_short_is_no_damage(down: Bench) -> None:
    """What a kill in the middle of a write leaves: half its pages, and the way back."""
    assert down.restore().exit == 0
    whole = reading(down).events
    path = journal(down)
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=1'), db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('UPDATE events SET hash = hex(randomblob(32))')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)])
    assert path.with_name(path.name + "-journal").stat().st_size
    torn = path.read_bytes()
    assert reading(down) == Reading(whole)
    assert path.read_bytes() == torn
