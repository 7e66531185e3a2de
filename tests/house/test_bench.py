"""`make bench` counts right; that it measures right only a run can show."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.bench import document, machines, rounds
from tests.bench.content import PREFIX, pods
from tests.bench.restores import HERE, PHASES, spans
from tests.bench.results import Results
from tests.bench.running import Wrong, run


def test_every_round_has_all_and_none_always_follows_another() -> None:
    turns = list(rounds.alternating(4, ["a", "b", "c", "d"]))
    assert Counter(turns) == Counter((n, name) for n in (1, 2, 3, 4) for name in "abcd")
    assert [name for _, name in turns[::4]] == ["a", "b", "c", "d"]


def test_the_page_has_the_ratios_of_the_medians() -> None:
    results = Results({"processor": "one"}, quick=False)
    results.snapshots.append(machines.Snapshot("5 MB", Path("x"), 6_000_000, 600_000, 7, 8, ""))
    for name, seconds in ((document.OURS, (9.0, 20.0, 30.0)), (document.ZSTD, (10.0, 10.0, 90.0))):
        for value in seconds:
            figures = dict.fromkeys(("outage", "etcd", "cpu"), 1.0) | {"peak": 50e6}
            work = {f"phase {phase}": 1.0 for phase in PHASES}
            results.add("restore 5 MB", name, seconds=value, **figures, **work)
    page = document.page(results)
    assert f"whole: {document.OURS} / {document.ZSTD}: **2.00**" in page
    assert f"| {document.OURS} | 3 | 9.00 | 20.00 | 30.00 |" in page
    assert "| 5 MB | 20.00 | 5.00 | 75 % |" in page
    assert results.lacking(3) == [] and len(results.lacking(4)) == 2
    assert json.loads(json.dumps(results.document()))["tables"]


def test_a_step_lasts_from_its_first_host_to_its_last() -> None:
    steps = [
        {"id": phase, "started": f"2026-11-28T08:00:0{second}+00:00", "seconds": 2.5}
        for phase in PHASES
        for second in (1, 3)
    ]
    assert spans({"steps": steps}) == dict.fromkeys(PHASES, 4.5)
    with pytest.raises(Wrong, match="no step send"):
        spans({"steps": [step for step in steps if step["id"] != "send"]})


def test_a_contender_that_fails_or_hangs_has_no_figure(tmp_path: Path) -> None:
    assert run(["sh", "-c", "echo yes"], tmp_path / "a.log").out == "yes\n"
    with pytest.raises(Wrong, match="status 3:\nwhy"):
        run(["sh", "-c", "echo why >&2; exit 3"], tmp_path / "b.log")
    with pytest.raises(Wrong, match="status -9"):
        run(["sleep", "60"], tmp_path / "c.log", limit=0.2)


def test_the_contenders_files_can_be_read() -> None:
    subprocess.run(["bash", "-n", HERE / "openssh.sh"], check=True)
    (play,) = yaml.safe_load((HERE / "restore.yaml").read_text())
    assert len(play["tasks"]) > 10
    for name in ("deploy.py", "many_hosts.py"):
        compile((HERE / name).read_text(), name, "exec")


def test_the_content_is_the_same_every_time_and_no_key_twice() -> None:
    made = list(pods(1, 50))
    assert made == list(pods(1, 50))
    assert len(dict(made)) == 50 and all(key.startswith(PREFIX) for key, _ in made)
    assert all(json.loads(value)["kind"] == "Pod" for _, value in made)
