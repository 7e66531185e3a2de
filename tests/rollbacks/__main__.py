"""Drill the rollback from the end of every step of the runbook, in both orders, in one lab.

    python -m tests.rollbacks [--driver local|docker] [--flavour systemd|static-pod]
        [--kubernetes none|build|DIR] [--etcd DIR] [--order ORDER ...] [--record FILE] [--table]

The real `drctl restore` is killed (SIGKILL) at the end of a step, and `rollback` is typed; every
second one is killed too, at a moment of its own, and typed again. Then all must be as before the
restore: cluster ID, every key and value, the data directories' inodes, what runs; with real
Kubernetes also every object by its UID, written after the snapshot or before, and a kubelet that
hears of a new pod. Where clients had been let in, something is written to the restored cluster
first: the rollback must refuse with the count and change nothing, until --lose-writes is added.

A JSON line each goes to the record; it goes on where it stopped. Ends with 1 after a violation, and
leaves the lab for a look.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tests.support.operator
from drctl.drill import drivers, kubeworld
from drctl.drill.scenario import Needs
from drctl.plan.runbook import load_runbook
from tests.rollbacks.drill import Case, Drill
from tests.support.operator import ROOT, Operator

ORDERS = ("restore", "restore-staged")
UNDONE = (" fenced", " running", "etcd/swap", "stage/snapshot")  # actions that are taken back
KINDS = ("intent", "effect", "result", "step-done")
LIMITS = (
    "Limits: containers (or processes) of one machine, one clock, one kernel; SIGKILL of the "
    "controller is no power cut of a node; each moment once, so none in N says little of rates "
    "(3/N, 95 %); Kubernetes 1.20.2 without workloads that run."
)


def cases(operator: Operator, snapshot: Path, order: str) -> Iterator[Case]:
    """One for the end of each phase of the runbook, as it is planned for this lab. What is killed
    again in one order is not in the other."""
    shown = operator.types(
        *("restore", "--snapshot", str(snapshot), *operator.on, "--runbook", order),
        *("--dry-run", "--offline", "--output", "json"),
    )
    assert shown.returncode == 0, shown.stderr
    actions = {step["id"]: step["action"] for step in json.loads(shown.stdout)["steps"]}
    undone: list[str] = []
    for number, phase in enumerate(load_runbook(order).phases):
        here = [step.id for step in phase.steps if step.confirm or step.id in actions]
        undone += [i for i in here if actions.get(i, "").endswith(UNDONE) and "hold" not in i]
        again = ""
        if undone and (int(phase.title[0]) + ORDERS.index(order)) % 2 == 0:
            again = f"{KINDS[number % len(KINDS)]} undo-{undone[len(undone) // 2]}"
        clients = "start-apiserver" in undone
        yield Case(order, phase.title, f"step-done {here[-1]}", again, clients)


def table(lines: list[dict[str, Any]]) -> str:
    """For people, as Markdown."""
    rows = [
        "| lab | order | killed at the end of | rollback killed at | rollback | what it told first "
        "| as before |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        good = "**NO**: " + line["violation"] if line["violation"] else "yes"
        part = "" if line.get("whole", True) else " (compacted: the drill's keys)"
        cells = [line[name] for name in ("flavour", "order", "phase", "again")]
        cells += [f"{line['seconds']:.0f} s", line["lost"], good.replace("\n", " ") + part]
        rows.append(f"| {' | '.join(cells)} |")
    bad = sum(bool(line["violation"]) for line in lines)
    return "\n".join([*rows, "", f"{len(lines)} rollbacks, {bad} violations. {LIMITS}"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", choices=("local", "docker"), default="local")
    parser.add_argument("--flavour", default="")
    parser.add_argument("--kubernetes", default="none")
    parser.add_argument("--etcd", type=Path)
    parser.add_argument("--order", choices=ORDERS, action="append")
    parser.add_argument("--record", type=Path, default=ROOT / ".rollbacks.jsonl")
    parser.add_argument("--table", action="store_true", help="only print what the record holds")
    given = parser.parse_args()
    kept = given.record.read_text().splitlines() if given.record.exists() else []
    lines: list[dict[str, Any]] = [json.loads(line) for line in kept]
    if not given.table:
        lines = run(given, lines)
    print(table(lines))
    return 1 if any(line["violation"] for line in lines) else 0


def run(given: argparse.Namespace, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drill what the record does not have yet, in a lab of its own."""
    tests.support.operator.SECONDS = 900  # a machine may be busy with more than this
    practice = drivers.practice(given.driver)
    options = drivers.LabOptions(given.flavour, given.kubernetes, given.etcd)
    flavour = practice.flavour(options)
    lines = [line for line in lines if not line["violation"]]
    done = {(line["flavour"], line["order"], line["phase"]) for line in lines}
    folder = Path(tempfile.mkdtemp(prefix="drctl-rollbacks-"))
    site = drivers.up(practice, folder / "lab", Needs(), options, print)
    drill = Drill(site, Operator(site.inventory, folder / "state"), kubeworld.new_name())
    bad = True
    try:
        drill.prepare()
        wanted = [
            c for o in given.order or ORDERS for c in cases(drill.operator, drill.snapshot, o)
        ]
        for case in wanted:
            if (flavour, case.order, case.phase) in done:
                continue
            line = drill.play(case)
            print(json.dumps(line), flush=True)
            lines.append(line)
            given.record.write_text("".join(json.dumps(one) + "\n" for one in lines))
            if line["violation"]:
                return lines
        bad = False
    finally:
        if bad:
            print(f"the lab is left for a look: {folder / 'lab'}")
        else:
            drivers.down(practice, folder / "lab", print)
            shutil.rmtree(folder, ignore_errors=True)
    return lines


if __name__ == "__main__":
    sys.exit(main())
