"""Who refuses drctl, who is in the cluster and not in the inventory, and what status says of it."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.etcd import JUDGES
from drctl.etcd.snapshot import inspect_snapshot
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import (
    gathered,
    lines,
    real_answers,
    recorded,
    snapshot_bytes,
    write_snapshot,
)

DEAD, NOBODY = "one member dead", "auth on, asked without a user"
READER = "auth on, asked by a user whose role lacks root"
NAMES = {
    "status": "endpoint status", "members": "member list", "hashkv": "endpoint hashkv",
    "root": "endpoint hashkv --rev 1", "local": "member list --consistency=s",
    "alarms": "alarm list",
}  # fmt: skip


def told(version: str, situation: str, *questions: str) -> dict[str, str]:
    """What a member's host reports, as `templates/etcd/ctl` prints it."""
    said = recorded()[version][situation]
    report = {}
    for name in questions:
        if answer := said.get(f"etcdctl {NAMES[name]}"):
            report[f"{name}_json"] = answer["out"].strip()
            if answer["exit"]:
                report[f"{name}_said"] = answer["err"].replace("\n", "\t")
    return report


def plan(*members: int) -> dict[str, Any]:
    """Members as tests/etcd/record.py starts them, on hosts of their names."""
    urls = {n: f"http://127.0.64.{n}:26380" for n in members}
    return {
        f"h{n}": {"name": f"m{n}", "peer_urls": [url], "client_urls": [url.replace("80", "79")]}
        for n, url in urls.items()
    }


def judged(
    judge: str, members: dict[str, Any], reports: dict[str, dict[str, str]], **more: Any
) -> Verdict:
    facts = {"members": members, **more.pop("facts", {})}
    answers = {host: lines(report) for host, report in reports.items()}
    return JUDGES[f"etcd.{judge}"](Gathered(answers, facts=facts, **more))


LIVING = ("status", "members", "local", "root")


@pytest.mark.parametrize("situation", [NOBODY, READER])
@pytest.mark.parametrize("version", recorded())
def test_who_is_refused_later_is_refused_now(version: str, situation: str) -> None:
    if situation not in recorded()[version]:
        pytest.skip("not recorded with this version")
    report = told(version, situation, *LIVING, "hashkv")
    (problem,) = judged("lets_us_in", plan(6), {"h6": report}).problems
    assert problem.host == "h6" and "its etcd refuses drctl (" in problem.message
    assert "role root" in (problem.hint or "")
    assert not judged("no_stranger", plan(6), {"h6": report}).problems
    snapshot = {"revision": 3, "auth_enabled": False}
    replaced = judged(
        "lets_us_in", plan(6), {"h6": report},
        facts={"snapshot": snapshot}, options={"replace_healthy": True},
    )  # fmt: skip
    assert not replaced.problems and "refuses drctl" in replaced.warnings[0]
    (unproven,) = judged("is_the_planned_cluster", plan(6), {"h6": report}).problems
    assert "refuses drctl" in unproven.message


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_root_and_clusters_without_authentication_are_let_in(version: str) -> None:
    for situation in ("auth on, asked by root", "three members, all well", DEAD):
        report = told(version, situation, *LIVING)
        assert not judged("lets_us_in", plan(1), {"h1": report}).problems


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_members_that_nobody_listed(version: str) -> None:
    well = {"h1": told(version, "three members, all well", *LIVING)}
    assert not judged("no_stranger", plan(1, 2, 3), well).problems
    (problem,) = judged("no_stranger", plan(1, 2), well).problems
    assert "m3 at http://127.0.64.3:26380" in problem.message
    assert "add its host" in (problem.hint or "") and "member remove" in (problem.hint or "")
    gone = {"abandoned": {"h3": plan(3)["h3"]}}
    assert not judged("no_stranger", plan(1, 2), well, facts=gone).problems
    learner = {"h1": told(version, "a learner that was never started", *LIVING)}
    (problem,) = judged("no_stranger", plan(1, 2, 3), learner).problems
    assert "one that never started (a learner) at http://127.0.64.4:26380" in problem.message
    moved = {**plan(1, 2), "h3": {**plan(4)["h4"], "name": "m3"}}
    (problem,) = judged("no_stranger", moved, well).problems
    assert problem.host == "h3" and "peer_urls: [http://127.0.64.3:26380]" in (problem.hint or "")


def test_without_a_quorum_a_member_tells_whom_it_knows() -> None:
    report = told("3.6.14", "two of three dead: no quorum", *LIVING)
    problems = judged("no_stranger", plan(1), {"h1": report}).problems
    assert len(problems) == 3  # recorded at other addresses
    assert "m2 at http://127.0.0.1:25012" in problems[1].message


def test_before_3_5_a_list_of_members_proves_no_quorum() -> None:
    for version, situation, quorum in (
        ("3.4.23", "two of three dead: no quorum", False),
        ("3.5.16", "two of three dead: no quorum", False),
        ("3.5.16", "three members, all well", True),
    ):
        report = told(version, situation, *LIVING)
        found = judged("live_state", plan(1, 2, 3), {"h1": report})
        assert found.values["quorum"] is quorum


def test_the_snapshots_users(tmp_path: Any) -> None:
    for version in ("3.4.23", "3.5.16"):
        path = write_snapshot(tmp_path, snapshot_bytes(f"auth-{version}"))
        snapshot = inspect_snapshot(path)
        assert (snapshot.auth_enabled, snapshot.root_users) == (True, ("root",))
    facts = {"snapshot": snapshot.as_facts(0)}

    def let_in(**report: str) -> Verdict:
        return judged("snapshot_lets_us_in", plan(1), {"h1": report}, facts=facts)

    assert not let_in(cert_name="root").problems and let_in(cert_name="root").warnings
    (problem,) = let_in(cert_name="reader").problems
    assert "'reader'" in problem.message and "role root (root)" in problem.message
    assert "drctl shows no certificate" in let_in(cert_name="").problems[0].message
    assert not let_in(cert_name="?").problems and not let_in().problems
    facts = {"snapshot": {"auth_enabled": False, "root_users": []}}
    assert let_in(cert_name="reader") == Verdict()


STATE = ("status", "hashkv", "members", "alarms")


def rows(verdict: Verdict) -> dict[str, Any]:
    return {row["name"]: row for row in verdict.values["members"]}


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_status_says_why(version: str) -> None:
    well = told(version, "three members, all well", *STATE)
    assert judged("status", plan(1, 2, 3), {"h1": well}).warnings  # two say nothing
    dead = {"h1": well, "h3": told(version, DEAD, "status")}
    found = judged("status", plan(1, 3), dead)
    assert rows(found)["m1"]["reason"] is None
    assert "connection refused" in rows(found)["m3"]["reason"]
    assert "m2 at http://127.0.64.2:26380 is not in the inventory" in rows(found)["m2"]["reason"]
    assert [line.partition(":")[0] for line in found.warnings] == ["h3", "m2"]
    lonely = told(version, "two of three dead: no quorum", *STATE)
    assert "no quorum" in rows(judged("status", plan(1), {"h1": lonely}))["m1"]["reason"]
    refused = told(version, READER, *STATE)
    assert "permission denied" in rows(judged("status", plan(6), {"h6": refused}))["m6"]["reason"]


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_status_lists_who_never_started_and_learners(version: str) -> None:
    added = {"h1": told(version, "a member that was never started", *STATE)}
    found = rows(judged("status", plan(1, 2, 3), added))["(never started)"]
    assert found["reason"] == (
        "one that never started at http://127.0.64.5:26380 is not in the inventory"
    )
    known = rows(judged("status", plan(1, 2, 3, 5), added))["m5"]
    assert "it was added and never started" in known["reason"]
    runs = {
        "h1": told(version, "a learner that was never started", *STATE),
        "h4": told(version, "a learner that runs", *STATE),
    }
    learner = rows(judged("status", plan(1, 4), runs))["m4"]
    assert learner["learner"] and not learner["healthy"]
    assert "it is a learner" in learner["reason"]


def test_a_cluster_that_is_well_has_no_warnings() -> None:
    verdict = JUDGES["etcd.status"](gathered(real_answers()))
    assert verdict.warnings == ()
    assert all(row["reason"] is None and not row["learner"] for row in verdict.values["members"])
