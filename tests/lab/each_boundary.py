"""Kill the real drctl at each boundary of each step, on real etcd over real SSH, and go on.

    python -m tests.lab.each_boundary [--etcd DIR] [--order restore|restore-staged] [--skip N]

Boundaries are the journal's records (before and after each intent, after each result) and the end
of each job on a node before anything of it is journalled. Each kill is a SIGKILL by the process to
itself; then `restore --resume` must end in the state of an undisturbed run: the planned cluster ID,
the same keys and values, one hash on all members at the revision before any probe write, the old
data kept, no staged copy. Every third kill is taken back by `rollback` instead, and the old
cluster, keys and inodes must be there. Prints a line each and a closing count; ends with 1 after a
violation. Everything happens in one lab in a temporary folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from drctl.etcd.answers import parse_hashkv
from drctl.lab import binaries, data, layout
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from tests.support.labs import stand_ins_serve
from tests.support.operator import KILLED, Operator

ROLLBACK_EVERY = 3


@dataclass(frozen=True)
class End:
    """What two runs with the same end state share."""

    keys: str  # digest of all keys and values
    services: tuple[bool, ...]


def end_of(lab: Lab, operator: Operator, base_revision: int) -> End:
    """The end state of the last run; AssertionError where it is not what the run planned."""
    run = operator.last_run()
    assert run["state"] == "done", run["error"]
    status = operator.status()
    assert status["cluster_id"] == run["values"]["cluster_id"]
    assert all(member["healthy"] for member in status["members"])
    for host in lab.hosts:
        kept = host.data_dir.with_name("etcd.drctl") / run["run"] / "old"
        assert kept.is_dir(), f"{host.name}: the old data is not kept"
        assert not (kept.parent / "snapshot.db").exists(), f"{host.name}: a staged copy"
        assert not (host.work_dir / "owner").exists(), f"{host.name}: still claimed"
    # The hash holds the bump, and every restore of a lab must go above the one before it: so it
    # is compared between the members, and keys and values between the runs.
    revision = base_revision + int(run["values"]["bump"] or 0)
    hashes = {hash_at(lab, number, revision) for number in range(len(lab.hosts))}
    assert len(hashes) == 1, f"different hashes at {revision}: {hashes}"
    return End(digest(lab), tuple(data.stand_in_ready(host) for host in lab.hosts))


def digest(lab: Lab) -> str:
    with data.gateway(lab.hosts[0]) as gateway:
        return data.digest(gateway.read_all(data.PREFIX))


def hash_at(lab: Lab, number: int, revision: int) -> int:
    host = lab.hosts[number]
    told = subprocess.run(
        [
            str(host.bin_dir / "etcdctl"),
            f"--endpoints={host.client_url}",
            f"--cacert={host.ca}",
            f"--cert={host.cert}",
            f"--key={host.key}",
            *("endpoint", "hashkv", f"--rev={revision}", "-w", "json"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return parse_hashkv(told.stdout)[0].hash


def check_resume(lab: Lab, operator: Operator, wanted: End, base: int) -> None:
    done = operator.resume()
    assert done.returncode == 0, f"resume ended with {done.returncode}: {done.stderr[-800:]}"
    found = end_of(lab, operator, base)
    assert found == wanted, f"another end: {found} instead of {wanted}"


def check_rollback(lab: Lab, operator: Operator, before: tuple[str, str, list[int]]) -> None:
    done = operator.rollback()
    assert done.returncode == 0, f"rollback ended with {done.returncode}: {done.stderr[-800:]}"
    assert look(lab, operator) == before, "not as before the run"
    stand_ins_serve(lab)


def look(lab: Lab, operator: Operator) -> tuple[str, str, list[int]]:
    """Cluster ID, keys and the inodes of the data directories."""
    inodes = [host.data_dir.stat().st_ino for host in lab.hosts]
    return str(operator.status()["cluster_id"]), digest(lab), inodes


def boundaries(passed: list[str]) -> list[str]:
    """The moments worth a kill: all around each act, and the end of each step."""
    acts = {moment.split()[1] for moment in passed if moment.startswith("intent ")}
    around = ("host-started", "intent", "effect", "result")
    return [
        moment
        for moment in dict.fromkeys(passed)
        if moment.startswith("step-done")
        or (moment.split()[0] in around and moment.split()[1] in acts)
    ]


def campaign(lab: Lab, folder: Path, order: str, skip: int) -> tuple[int, int]:
    """(kills, violations) of one order."""
    operator = Operator(lab.inventory, folder / "state")
    more = ["--replace-healthy", "--runbook", order]
    snapshot = operator.backup(folder / f"backup-{order}")
    base = operator.status()["members"][0]["revision"]
    log = folder / f"moments-{order}"
    undisturbed = operator.restore(snapshot, *more, moments=log)
    assert undisturbed.returncode == 0, undisturbed.stderr
    wanted = end_of(lab, operator, base)
    moments = boundaries(log.read_text().splitlines())[skip:]
    print(f"{order}: {len(moments)} boundaries", flush=True)
    violations = 0
    for number, moment in enumerate(moments):
        started = time.monotonic()
        before = look(lab, operator)
        killed = operator.restore(snapshot, *more, die=moment)
        way, problem = "resume", ""
        try:
            assert killed.returncode == KILLED, f"ended with {killed.returncode}: {killed.stderr}"
            run = operator.last_run()
            if run["state"] == "done":
                way = "over"
            elif number % ROLLBACK_EVERY == 0 and run["changed"]:
                way = "rollback"
                check_rollback(lab, operator, before)
            else:
                check_resume(lab, operator, wanted, base)
        except AssertionError as error:
            problem = f"VIOLATION {error}"
            violations += 1
        seconds = time.monotonic() - started
        print(
            f"{order} {number + 1}/{len(moments)} {moment}: {way} {seconds:.0f} s {problem}",
            flush=True,
        )
        if problem:
            break  # the lab is kept as it is found, and shown
    return len(moments), violations


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--etcd", type=Path)
    parser.add_argument("--order", choices=["restore", "restore-staged"], action="append")
    parser.add_argument("--skip", type=int, default=0, help="boundaries done before")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="drctl-boundaries-"))
    directory = folder / "lab"
    driver.up(directory, etcd=binaries.find(arguments.etcd), keys=100, value_size=64, say=print)
    lab = layout.require(directory)
    kills = violations = 0
    try:
        for order in arguments.order or ["restore", "restore-staged"]:
            made, bad = campaign(lab, folder, order, arguments.skip)
            kills, violations = kills + made, violations + bad
    finally:
        print(f"{kills} kills, {violations} violations", flush=True)
        if violations:
            print(f"the lab is left for a look: {directory}")
        else:
            driver.down(directory, print)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
