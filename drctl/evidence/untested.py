"""What a run did not show. A report that lists only what held says more than it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drctl.evidence.checks import NOT_REACHED
from drctl.journal.diagnosis import exchanges
from drctl.journal.runstate import RunState

SERVICES = {
    "apiserver": (
        "no apiserver in the inventory: whether Kubernetes serves this data was not checked"
    ),
    "controllers": "no controller-manager or scheduler in the inventory: whether controllers act "
    "on the restored objects was not checked",
    "kubelet": "no kubelet in the inventory: whether nodes and their pods follow was not checked",
}


def not_tested(state: RunState, checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What this run leaves open, in plain words."""
    return [
        *_not_reached(checks),
        *(f"{host} was not reached: {why}" for host, why in state.unreached.items()),
        *_absent_services(state),
        *_limits_of_success(state, checks),
        *_snapshot(state),
    ]


def _not_reached(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    left = [check["title"] for check in checks if check["outcome"] == NOT_REACHED]
    if left:
        count = "1 planned step" if len(left) == 1 else f"{len(left)} planned steps"
        yield f"{count} not started: {'; '.join(left)}"


def _absent_services(state: RunState) -> Iterator[str]:
    services = state.plan.get("facts", {}).get("services", {})
    for name, words in SERVICES.items():
        if name in services and not services[name]["hosts"]:
            yield words


def _limits_of_success(state: RunState, checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if state.state != "done":
        return
    judged = {judge for check in checks for judge in check["judges"]}
    if "etcd.is_the_planned_cluster" in judged:
        yield (
            "the members' data was compared with each other (equal hashes), not with what "
            "applications expect of it"
        )
    if "kube.serves" in judged:
        yield "services were asked whether they are ready; no object was read through them"
    if exchanges(state):
        yield "the old data was kept and not opened: whether a rollback would succeed was not tried"


def _snapshot(state: RunState) -> Iterator[str]:
    snapshot = state.plan.get("facts", {}).get("snapshot") or {}
    if snapshot and not snapshot.get("taken_at_proven"):
        yield "the snapshot's time is the file's own timestamp: not verified"
    if snapshot.get("auth_enabled"):
        yield "etcd's users and passwords came back with the data; no user logged in"
