"""Locks, what still lives, the bump, and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drctl.etcd import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import CLUSTER, HOSTS, MEMBERS, gathered, lines, real_answers, recorded

SNAPSHOT: dict[str, Any] = {"revision": 44, "age_seconds": 60}
LIVE = 1_000_000_044
LONELY = {  # etcd 3.5.16, two of three members killed
    "status_json": '[{"Endpoint":"http://127.0.71.3:2379","Status":{"header":{"cluster_id":'
    '13960342329342772615,"member_id":18058601341345992945,"revision":1000000044,"raft_term":4},'
    '"version":"3.5.16","dbSize":135168,"raftIndex":21,"raftTerm":4,"raftAppliedIndex":21,'
    '"errors":["etcdserver: no leader"],"dbSizeInUse":126976}}]',
    "members_json": "",
}
DEAD = {"status_json": "[]", "members_json": ""}


def live(reports: dict[str, dict[str, str]], **extra: Any) -> Verdict:
    return JUDGES["etcd.live_state"](gathered(reports, snapshot=SNAPSHOT, **extra))


def given_up(**told: str) -> Verdict:
    """Two members tell what the etcd of the third answers them."""
    facts = {"members": {h: MEMBERS[h] for h in HOSTS[:2]}, "abandoned": {"etcd-3": {}}}
    answers = {host: lines({**DEAD, "gone.etcd-3": said}) for host, said in told.items()}
    return JUDGES["etcd.live_state"](Gathered(answers, facts={**facts, "snapshot": SNAPSHOT}))


@pytest.mark.parametrize("version", recorded())
def test_who_is_given_up_must_not_serve_by_each_version(version: str) -> None:
    said = recorded()[version]
    dead = said["one member dead"]["etcdctl endpoint status"]["out"]
    assert given_up(**{"etcd-1": dead, "etcd-2": ""}).problems == ()
    for situation in ("three members, all well", "two of three dead: no quorum"):
        serves = said[situation]["etcdctl endpoint status"]["out"]
        (problem,) = given_up(**{"etcd-1": serves, "etcd-2": dead}).problems
        assert problem.host == "etcd-3" and "its etcd answers etcd-1" in problem.message
        assert "power that machine off" in (problem.hint or "")


def test_what_a_member_says_of_another_must_be_readable() -> None:
    (problem,) = given_up(**{"etcd-1": "panic: what now", "etcd-2": "[]"}).problems
    assert problem.host == "etcd-1" and "panic: what now" in problem.message


def test_a_living_cluster_is_not_replaced_by_accident() -> None:
    verdict = live(real_answers())
    (problem,) = verdict.problems
    assert problem.kind == "refused"
    assert "1000000000 revisions ahead" in problem.message
    assert "--replace-healthy" in (problem.hint or "")
    assert verdict.values["quorum"] is True
    assert verdict.values["answering"] == list(HOSTS)
    assert verdict.values["live_revision"] == LIVE
    assert verdict.values["live_cluster_id"] == CLUSTER


def test_replace_healthy_allows_it() -> None:
    verdict = live(real_answers(), options={"replace_healthy": True})
    assert not verdict.problems and verdict.values["quorum"] is True


def test_one_answer_is_enough_to_prove_a_quorum() -> None:
    one = {host: answers for host, answers in real_answers().items() if host == "etcd-2"}
    assert live(one, silent={"etcd-1": "x", "etcd-3": "x"}).problems
    status_only = {"etcd-2": {"status_json": one["etcd-2"]["status_json"], "members_json": ""}}
    assert live(status_only).problems
    members_only = {"etcd-2": {"members_json": one["etcd-2"]["members_json"]}}
    assert live(members_only).problems


def test_a_majority_without_a_leader_is_taken_for_a_quorum() -> None:
    assert live({"etcd-1": LONELY, "etcd-2": LONELY, "etcd-3": DEAD}).problems


def test_a_survivor_with_newer_data_is_told() -> None:
    verdict = live({"etcd-1": DEAD, "etcd-3": LONELY}, silent={"etcd-2": "unreachable"})
    assert not verdict.problems
    assert verdict.values["quorum"] is False
    assert verdict.values["answering"] == ["etcd-3"]
    (warning,) = verdict.warnings
    assert "etcd-3 survives" in warning and "1000000000 revisions ahead" in warning


def test_members_that_began_anew_are_not_the_old_cluster() -> None:
    """Their data lost and started again by their manager, two of three serve as a new cluster."""
    verdict = live({"etcd-1": _blank(12), "etcd-2": _blank(11), "etcd-3": LONELY})
    (problem,) = verdict.problems
    assert (
        "a new cluster that started without data is serving (revision 12, snapshot 44)"
        in problem.message
    )
    assert f"etcd-3 still has the old data, up to revision {LIVE}" in problem.message
    assert verdict.values["live_revision"] == LIVE  # what was ever served counts for the bump
    led = live({**real_answers(), "etcd-3": LONELY})
    assert "still answers with a quorum" in led.problems[0].message


def test_a_dead_cluster_is_no_problem() -> None:
    verdict = live(dict.fromkeys(HOSTS, DEAD))
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert verdict.values["live_revision"] is None
    assert verdict.values["live_cluster_id"] == ""


def _blank(revision: int) -> dict[str, str]:
    header = {"cluster_id": 1, "member_id": 1, "revision": revision}
    return {"status_json": json.dumps([{"Status": {"header": header, "leader": 1}}])}


def test_the_blank_cluster_of_step_1_may_be_replaced() -> None:
    assert not live(dict.fromkeys(HOSTS, _blank(1))).problems
    assert live({**dict.fromkeys(HOSTS, _blank(1)), "etcd-2": _blank(2)}).problems
    assert live(dict.fromkeys(HOSTS[:2], _blank(1))).problems  # the third may hold more


def test_another_clusters_snapshot_is_told() -> None:
    judged = JUDGES["etcd.live_state"](
        gathered(real_answers(), snapshot={**SNAPSHOT, "cluster_id": "abc"})
    )
    assert any("from cluster abc" in warning for warning in judged.warnings)


OURS, THEIRS = "20261124-031502-0a1b2c", "20261124-091502-0a1b2d"


def lock(found: dict[str, dict[str, str]], line: str = "0", **silent: str) -> Verdict:
    reports = {host: report and {"last_line": line, **report} for host, report in found.items()}
    return JUDGES["etcd.nobody_else"](gathered(reports, values={"run": OURS}, silent=silent))


def test_free_and_own_locks_pass() -> None:
    judged = lock({"etcd-1": {"owner_run": ""}, "etcd-2": {"owner_run": OURS}}, line="12")
    assert not judged.problems
    assert judged.values == {"last_line": {"etcd-1": 12, "etcd-2": 12}}


@pytest.mark.parametrize("line", ["", "-1", "1 2", "9" * 10, "x", "١", "$(id)"])
def test_the_last_line_of_a_history_is_a_number(line: str) -> None:
    (problem,) = lock({"etcd-1": {"owner_run": ""}}, line=line).problems
    assert problem.host == "etcd-1"
    assert "last_line" in problem.message


def test_another_runs_lock_is_named() -> None:
    held = {"owner_run": THEIRS, "owner_who": "ann@desk", "owner_since": "noon"}
    (problem,) = lock({"etcd-1": {"owner_run": ""}, "etcd-2": held}).problems
    assert (problem.kind, problem.host) == ("lock", "etcd-2")
    assert f"{THEIRS} of ann@desk since noon" in problem.message


def test_lock_silence_is_not_a_yes() -> None:
    problems = lock({"etcd-1": {}}, **{"etcd-2": "cut"}).problems
    assert {(p.host, p.kind) for p in problems} == {("etcd-1", "missing"), ("etcd-2", "missing")}


def bump(snapshot: dict[str, Any] = SNAPSHOT, **values: Any) -> Verdict:
    return JUDGES["etcd.choose_bump"](
        gathered({}, snapshot=snapshot, values={"can_bump": True, **values})
    )


@pytest.mark.parametrize(
    ("age", "live_revision", "expected"),
    [
        (60, None, 1_000_000_000),
        (200_000, None, 1_000_000_000),  # exactly 1e9 writes
        (200_001, None, 2_000_000_000),
        (0, 44 + 999_000_000, 1_000_000_000),
        (0, 44 + 999_000_001, 2_000_000_000),
        (0, 12, 1_000_000_000),  # the survivor is behind the snapshot
    ],
)
def test_the_bump_is_above_both_bounds(age: int, live_revision: int | None, expected: int) -> None:
    verdict = bump({"revision": 44, "age_seconds": age}, live_revision=live_revision)
    assert verdict.values == {"bump": str(expected)}


def test_a_snapshot_from_the_future_is_taken_for_an_old_one() -> None:
    """Its time says nothing, and no age at all would be the smallest bump."""
    verdict = bump({"revision": 44, "age_seconds": 0, "ahead_seconds": 99})
    assert int(verdict.values["bump"]) >= 365 * 86_400 * 5_000


@given(
    revision=st.integers(0, 1 << 40),
    age=st.integers(0, 10**9),
    live_revision=st.none() | st.integers(0, 1 << 41),
    quorum=st.booleans(),
)
def test_the_bump_always_passes_what_was_served_and_is_then_kept(
    revision: int, age: int, live_revision: int | None, quorum: bool
) -> None:
    snapshot = {"revision": revision, "age_seconds": age}
    known: dict[str, Any] = {"live_revision": live_revision, "quorum": quorum}
    chosen = bump(snapshot, **known).values["bump"]
    assert int(chosen) >= 1_000_000_000
    assert revision + int(chosen) > (live_revision or 0)
    assert bump(snapshot, **known, bump=chosen).values["bump"] == chosen


def test_a_bump_is_kept_until_it_is_passed() -> None:
    at_1e9: dict[str, Any] = {"bump": "1000000000", "quorum": True}
    assert bump(live_revision=1_000_000_043, **at_1e9).values["bump"] == "1000000000"
    assert bump(live_revision=1_000_000_044, **at_1e9).values["bump"] == "2000000000"
    aged = {"revision": 44, "age_seconds": 300_000}
    assert bump(aged, bump="1000000000").values["bump"] == "2000000000"
    assert bump(aged, live_revision=50, **at_1e9).values["bump"] == "1000000000"


def test_the_bump_passes_an_earlier_restore_that_nobody_is_left_to_tell_of() -> None:
    def chosen(*told: str) -> str:
        answers = {host: DEAD | {"restored": text} for host, text in zip(HOSTS, told, strict=False)}
        values = {"can_bump": True}
        verdict = JUDGES["etcd.choose_bump"](gathered(answers, snapshot=SNAPSHOT, values=values))
        return str(verdict.values["bump"])

    assert chosen("", "", "") == "1000000000"
    assert chosen("", "2000000044:60 1000000044:900", "") == "3000000000"
    assert chosen("1000000044:400000") == "4000000000"  # 5000 a second since
    assert chosen("2000000044:-5") == "3000000000"  # a clock was put back


@pytest.mark.parametrize(
    "told",
    [
        "garbage",
        "x:1",
        "1:2:3",
        f"{10**13 + 45}:0",
        "44:9999999999",
        f"{'9' * 5000}:1",
        "1:" + "9" * 99,
    ],
)
def test_an_earlier_restore_that_cannot_have_been_is_no_bump(told: str) -> None:
    """It would raise the revision of every member, for good."""
    answers = {"etcd-1": DEAD | {"restored": "44:60"}, "etcd-2": DEAD | {"restored": told}}
    asked = gathered(answers, snapshot=SNAPSHOT, values={"can_bump": True})
    verdict = JUDGES["etcd.choose_bump"](asked)
    assert verdict.values == {}
    (problem,) = verdict.problems
    assert problem.host == "etcd-2" and "restored" in problem.message
    assert len(problem.message) < 300


def _at(revision: int) -> dict[str, str]:
    return {"status_json": json.dumps([{"Status": {"header": {"revision": revision}}}])}


@pytest.mark.parametrize("judge", ["etcd.choose_bump", "etcd.live_state"])
def test_a_revision_that_cannot_have_been_is_refused_by_name(judge: str) -> None:
    def judged(revision: int) -> Verdict:
        answers = {"etcd-1": _at(50), "etcd-2": _at(revision)}
        values = {"can_bump": True}
        return JUDGES[judge](gathered(answers, snapshot=SNAPSHOT, values=values))

    assert not any(p.host for p in judged(44 + 10**13).problems)
    for lie in (45 + 10**13, (1 << 63) - 1, 1 << 63, 1 << 70):
        (problem,) = [p for p in judged(lie).problems if p.host]
        assert problem.host == "etcd-2" and str(lie) in problem.message


def test_whose_word_the_bump_is_by_is_shown() -> None:
    answers = {"etcd-1": _at(50), "etcd-2": _at(2_000_000_000) | {"restored": "60:0"}}
    values = {"can_bump": True, "quorum": True}
    (said,) = JUDGES["etcd.choose_bump"](
        gathered(answers, snapshot=SNAPSHOT, values=values)
    ).findings
    assert said.endswith("served at most 2000000000, by etcd-2's etcd")
    kept = {"etcd-1": {"restored": "5000000000:0"}}
    (said,) = JUDGES["etcd.choose_bump"](gathered(kept, snapshot=SNAPSHOT, values=values)).findings
    assert "by etcd-1's record of an earlier restore" in said


def test_no_bump_where_a_host_cannot() -> None:
    assert bump(can_bump=False).values == {"bump": ""}
    assert JUDGES["etcd.choose_bump"](gathered({}, snapshot=SNAPSHOT)).values == {"bump": ""}


def test_a_bump_beyond_int64_is_refused() -> None:
    assert bump({"revision": (1 << 63) - 5, "age_seconds": 1}).problems


def back(reports: dict[str, dict[str, str]], **values: Any) -> Verdict:
    silent = {h: "cut" for h in MEMBERS if h not in reports}
    return JUDGES["etcd.same_old_cluster"](gathered(reports, values=values, silent=silent))


def test_the_old_cluster_is_back() -> None:
    assert not back(real_answers(), live_cluster_id=CLUSTER).problems
    assert not back(real_answers()).problems


def test_who_was_silent_before_may_stay_silent() -> None:
    one = {"etcd-2": real_answers()["etcd-2"]}
    assert not back(one, answering=["etcd-2"], live_cluster_id=CLUSTER).problems
    problems = back(one, answering=["etcd-1", "etcd-2"]).problems
    assert [(p.host, p.kind) for p in problems] == [("etcd-1", "unproven")]


def test_an_id_that_only_a_host_told_that_is_left_out_bars_nobody() -> None:
    told = {"answering": ["etcd-3"], "quorum": False, "live_cluster_id": "abc"}
    others = {host: said for host, said in real_answers().items() if host != "etcd-3"}
    given = gathered(others, values=told)
    assert JUDGES["etcd.same_old_cluster"](given).problems
    without = replace(given, facts={**given.facts, "without": ["etcd-3"]})
    assert not JUDGES["etcd.same_old_cluster"](without).problems
    both = replace(without, values={**told, "answering": ["etcd-2", "etcd-3"]})
    assert JUDGES["etcd.same_old_cluster"](both).problems


def test_not_the_old_cluster() -> None:
    assert {p.kind for p in back(real_answers(), live_cluster_id="abc").problems} == {"unproven"}
    assert back({**real_answers(), "etcd-3": LONELY}).problems
    assert back({**real_answers(), "etcd-3": DEAD}).problems
    other = {**real_answers(), "etcd-3": _blank(5)}
    assert "different clusters" in back(other).problems[0].message
