"""The product on the embedded lab, as an operator uses it: killed, resumed, taken back, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drctl.etcd.identity import predict
from drctl.journal.store import Store
from drctl.lab import data
from drctl.lab.layout import Lab
from drctl.lab.waiting import until
from tests.support.labs import content, stand_ins_serve
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def footprint(lab: Lab) -> dict[str, list[str]]:
    """What drctl can have left on each host: every path but etcd's own live files and logs."""
    marks = {}
    for host in lab.hosts:
        paths = (p for p in host.root.rglob("*") if host.data_dir not in p.parents)
        names = (str(p.relative_to(host.root)) for p in paths)
        marks[host.name] = sorted(n for n in names if not n.startswith(("var/log", "run", "tmp")))
    return marks


def write_later(lab: Lab) -> None:
    with data.gateway(lab.hosts[0]) as gateway:
        data.write_keys(gateway, f"later-{time.time_ns()}", 5, 16)


def healthy_status(operator: Operator) -> Any:
    """`drctl status` once every member is healthy: it asks each for four seconds, and on a slow
    machine an election may take these."""
    seen: list[Any] = []

    def healthy() -> bool:
        seen.append(operator.status())
        return all(member["healthy"] and member["hash"] for member in seen[-1]["members"])

    until(healthy, 60, "every member")
    return seen[-1]


def prove_restored(lab: Lab, operator: Operator, saved: dict[str, bytes]) -> None:
    """The saved keys and no others, in a cluster of the predicted identity, on every member."""
    run = operator.last_run()
    assert run["state"] == "done"
    members = {host.member_name: [host.peer_url] for host in lab.hosts}
    planned = predict(members, run["values"]["token"]).cluster_hex
    status = healthy_status(operator)
    assert status["cluster_id"] == planned
    assert len({member["hash"] for member in status["members"]}) == 1
    assert not status["alarms"]
    assert content(lab) == saved
    stand_ins_serve(lab, 10)
    for host in lab.hosts:
        kept = host.data_dir.with_name("etcd.drctl") / run["run"] / "old"
        assert kept.is_dir(), f"{host.name}: the old data is gone"
        assert not (kept.parent / "snapshot.db").exists(), f"{host.name}: a staged copy was left"
        assert not (host.work_dir / "owner").exists(), f"{host.name}: still claimed"


@pytest.mark.parametrize("order", [(), ("--staged",)], ids=["restore", "staged"])
def test_killed_again_and_again_it_ends_as_planned(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], order: tuple[str, ...]
) -> None:
    write_later(lab)
    deaths = [
        "intent stop-etcd",
        "effect send",
        "result rebuild",
        "effect swap",
        "intent start-etcd",
    ]
    if order:
        deaths = [
            "effect send",
            "intent rebuild",
            "effect stop-etcd",
            "effect swap",
            "step-done identity",
        ]
    first = operator.restore(snapshot, "--replace-healthy", *order, die=deaths[0])
    assert first.returncode == KILLED, first.stderr
    for death in deaths[1:]:
        assert operator.resume(die=death).returncode == KILLED
    last = operator.resume()
    assert last.returncode == 0, last.stderr
    assert "is restored and verified" in last.stderr
    prove_restored(lab, operator, saved)


def test_rollback_brings_the_old_cluster_back(lab: Lab, operator: Operator, snapshot: Path) -> None:
    write_later(lab)
    before = content(lab)
    inodes = [host.data_dir.stat().st_ino for host in lab.hosts]
    old = operator.status()["cluster_id"]
    assert operator.restore(snapshot, "--replace-healthy", die="effect swap").returncode == KILLED
    killed = operator.rollback(die="effect undo-stop-etcd")
    assert killed.returncode == KILLED, killed.stderr
    undone = operator.rollback()
    assert undone.returncode == 0, undone.stderr
    assert operator.last_run()["state"] == "rolled-back"
    after = operator.status()
    assert after["cluster_id"] == old
    assert content(lab) == before
    assert [host.data_dir.stat().st_ino for host in lab.hosts] == inodes
    stand_ins_serve(lab)


def test_ctrl_c_ends_at_a_safe_point_and_says_how_to_go_on(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes]
) -> None:
    process: subprocess.Popen[str] = operator.start(
        "restore", "--snapshot", str(snapshot), *operator.on, "--yes", "--replace-healthy"
    )
    said = ""
    assert process.stderr
    for line in process.stderr:
        said += line
        if "stop every member" in line:
            process.send_signal(signal.SIGINT)
            break
    said += process.communicate(timeout=120)[1]
    assert process.returncode == 10, said
    assert "resume" in said
    refused = operator.restore(snapshot)
    assert refused.returncode == 4
    assert "--resume" in refused.stderr
    assert "rollback" in refused.stderr
    assert operator.resume().returncode == 0
    prove_restored(lab, operator, saved)


def test_bad_snapshots_are_refused_before_any_node_is_touched(
    lab: Lab, operator: Operator, snapshot: Path, tmp_path: Path
) -> None:
    whole = snapshot.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    bad = {
        "flipped": bytes(flipped),
        "truncated": whole[:-512],
        "raw-copy": whole[:-32],
        "empty": b"",
    }
    before = footprint(lab)
    for name, text in bad.items():
        path = tmp_path / f"{name}.db"
        path.write_bytes(text)
        refused = operator.restore(path, "--replace-healthy")
        assert refused.returncode == 3, f"{name}: {refused.stderr}"
        assert "hint:" in refused.stderr
    refused = operator.restore(tmp_path, "--replace-healthy")
    assert refused.returncode == 3
    assert footprint(lab) == before


def test_a_changed_host_key_is_refused_before_any_node_is_touched(
    lab: Lab, operator: Operator, snapshot: Path, tmp_path: Path
) -> None:
    known = lab.known_hosts.read_text().splitlines()
    keys = [line.split()[-1] for line in known]
    other = [line.replace(keys[1], keys[0]) if keys[1] in line else line for line in known]
    forged = tmp_path / "known_hosts"
    forged.write_text("\n".join(other) + "\n")
    inventory = tmp_path / "inventory.yaml"
    text = lab.inventory.read_text()
    inventory.write_text(text.replace(str(lab.known_hosts), str(forged)))
    before = footprint(lab)
    refused = operator.types(
        "restore", "--snapshot", str(snapshot), "-i", str(inventory), "--yes", "--replace-healthy"
    )
    assert refused.returncode == 8, refused.stderr
    assert "node-2" in refused.stderr
    assert footprint(lab) == before


def test_a_dry_run_changes_nothing_and_prints_what_runs(
    lab: Lab, operator: Operator, snapshot: Path
) -> None:
    before = footprint(lab)
    dry = operator.restore(snapshot, "--dry-run", "--replace-healthy", "--output", "json")
    assert dry.returncode == 0, dry.stderr
    plan = json.loads(dry.stdout)
    assert {step["id"] for step in plan["steps"]} >= {"stop-etcd", "send", "rebuild", "swap"}
    refused = operator.restore(snapshot, "--dry-run")
    assert refused.returncode == 4, "a dry run ends as the run's checks would"
    assert footprint(lab) == before


def test_two_operators_one_proceeds(
    lab: Lab, operator: Operator, snapshot: Path, saved: dict[str, bytes], tmp_path: Path
) -> None:
    assert (
        operator.restore(snapshot, "--replace-healthy", die="step-done stop-etcd").returncode
        == KILLED
    )
    run = operator.last_run()["run"]
    other = replace(operator, state=tmp_path / "another-machine")
    before = footprint(lab)
    turned_away = other.restore(snapshot, "--replace-healthy")
    assert turned_away.returncode == 7, turned_away.stderr
    assert run in turned_away.stderr
    assert "since" in turned_away.stderr
    assert footprint(lab) == before
    with Store(operator.state).lock(operator.last_run()["cluster"], "a test"):
        same_machine = operator.resume()
    assert same_machine.returncode == 7, same_machine.stderr
    assert operator.resume().returncode == 0
    prove_restored(lab, operator, saved)
