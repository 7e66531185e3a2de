"""After the start: the planned cluster and no other, and silence proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drctl.etcd import JUDGES
from drctl.verdict import Verdict
from tests.etcd.samples import CLUSTER, HOSTS, TOKEN, gathered, real_answers

PLANNED = {"cluster_id": CLUSTER, "token": TOKEN}


def planned(reports: dict[str, dict[str, str]], values: dict[str, Any] | None = None) -> Verdict:
    silent = {host: "cut" for host in HOSTS if host not in reports}
    return JUDGES["etcd.is_the_planned_cluster"](
        gathered(reports, values=PLANNED if values is None else values, silent=silent)
    )


def edited(host: str, name: str, old: str, new: str) -> dict[str, dict[str, str]]:
    answers = real_answers()
    assert old in answers[host][name]
    answers[host][name] = answers[host][name].replace(old, new)
    return answers


def test_the_real_restored_cluster_is_proven() -> None:
    verdict = planned(real_answers())
    assert verdict.problems == ()
    assert verdict.findings[0].startswith(f"3 members of cluster {CLUSTER}")
    assert "hash 698309447 at revision 1000000044" in verdict.findings[1]


def test_without_a_plan_the_members_must_agree() -> None:
    assert not planned(real_answers(), {}).problems
    other = edited("etcd-2", "status_json", "13960342329342772615", "7")
    assert "different clusters" in planned(other, {}).problems[0].message


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("status_json", "13960342329342772615", "7", f"runs cluster 7, planned {CLUSTER}"),
        ("status_json", '"leader":4453877873062199925,', "", "knows no leader"),
        ("status_json", '"leader":4453877873062199925', '"leader":9', "different leaders"),
        ("hashkv_json", "698309447", "1", "data differ"),
        ("hashkv_json", '"revision":1000000044,', '"revision":1000000045,', "different revisions"),
        ("hashkv_json", '_revision":1000000044', '_revision":3', "compacted to different"),
        ("members_json", "18058601341345992945", "5", "with id 5, planned fa9d0a3dcb5210f1"),
        ("members_json", '"name":"etcd-127.0.71.3",', "", "never started"),
        ("members_json", '"name":"etcd-127.0.71.3"', '"name":"x"', "unexpected member: x"),
        ("members_json", "http://127.0.71.3:2380", "http://127.0.71.9:2380", "planned http"),
        ("members_json", '"name":"etcd-127.0.71.3"', '"isLearner":true,"name":"etcd-127.0.71.3"',
         "as a learner"),
        ("alarms_json", "}}", '},"alarms":[{"memberID":1,"alarm":1}]}', "alarm NOSPACE"),
        ("alarms_json", "}}", '},"alarms":[{"memberID":1,"alarm":2}]}', "alarm CORRUPT"),
    ],
)  # fmt: skip
def test_each_difference_is_found(name: str, old: str, new: str, words: str) -> None:
    verdict = planned(edited("etcd-2", name, old, new))
    assert any(words in problem.message for problem in verdict.problems)
    assert {problem.kind for problem in verdict.problems} == {"unproven"}
    assert verdict.findings == ()


def test_a_dropped_member_is_found() -> None:
    answers = real_answers()
    listed = json.loads(answers["etcd-1"]["members_json"])
    del listed["members"][0]
    answers["etcd-1"]["members_json"] = json.dumps(listed)
    assert "does not list" in planned(answers).problems[0].message


@pytest.mark.parametrize("name", ["status_json", "members_json", "alarms_json", "hashkv_json"])
@pytest.mark.parametrize("text", ["", "[]", "garbage"])
def test_a_missing_answer_is_a_failure(name: str, text: str) -> None:
    answers = real_answers()
    answers["etcd-3"][name] = text
    assert [(p.host, p.kind) for p in planned(answers).problems] == [("etcd-3", "unproven")]


def test_silent_and_forgotten_hosts_are_failures() -> None:
    two = {host: answers for host, answers in real_answers().items() if host != "etcd-1"}
    assert [p.host for p in planned(two).problems] == ["etcd-1"]
    unasked = JUDGES["etcd.is_the_planned_cluster"](gathered(two, values=PLANNED))
    assert [(p.host, p.message) for p in unasked.problems] == [("etcd-1", "was not asked")]
    assert len(planned({}).problems) == 3


def test_hashes_at_a_given_revision_are_comparable() -> None:
    answers = edited("etcd-2", "hashkv_json", '"revision":1000000044,', '"revision":1000000045,')
    for report in answers.values():
        report["hash_revision"] = "1000000044"
    assert not planned(answers).problems


def test_the_revision_that_every_member_has() -> None:
    judge = JUDGES["etcd.common_revision"]
    answers = edited("etcd-2", "status_json", '"revision":1000000044,', '"revision":1000000040,')
    verdict = judge(gathered(answers))
    assert not verdict.problems and verdict.values == {"common_revision": 1000000040}
    answers["etcd-3"]["status_json"] = "[]"
    (problem,) = judge(gathered(answers)).problems
    assert (problem.host, problem.kind) == ("etcd-3", "unproven")
    assert [p.host for p in judge(gathered({}, silent={"etcd-1": "cut"})).problems] == ["etcd-1"]
    assert judge(gathered({})).problems


def restored(reports: dict[str, dict[str, str]], cluster: str = CLUSTER, **silent: str) -> Verdict:
    return JUDGES["etcd.is_planned_identity"](
        gathered(reports, values={"cluster_id": cluster}, silent=silent)
    )


def test_identity_of_the_restored_data() -> None:
    good = {host: {"restored_cluster_id": CLUSTER} for host in HOSTS}
    assert not restored(good).problems
    assert not restored({h: {"restored_cluster_id": "0" + CLUSTER} for h in HOSTS}).problems
    for wrong in ("abc", "", "zzz"):
        (problem,) = restored({**good, "etcd-2": {"restored_cluster_id": wrong}}).problems
        assert (problem.host, problem.kind) == ("etcd-2", "unproven")
    assert restored(good, cluster="").problems
    two = {host: good[host] for host in HOSTS[:2]}
    assert [p.host for p in restored(two, **{"etcd-3": "cut"}).problems] == ["etcd-3"]
    assert [p.host for p in restored(two).problems] == ["etcd-3"]


def probe(reports: dict[str, dict[str, str]]) -> Verdict:
    return JUDGES["etcd.writes_and_reads"](gathered(reports))


def test_probes() -> None:
    good = {host: {"probe": "ok"} for host in HOSTS}
    assert probe(good).findings == tuple(f"{h}: write and read passed" for h in HOSTS)
    assert not probe(good).problems
    for bad in ({}, {"probe": "timed out"}):
        (problem,) = probe({**good, "etcd-2": bad}).problems
        assert (problem.host, problem.kind) == ("etcd-2", "unproven")
    assert [p.host for p in probe({h: good[h] for h in HOSTS[:2]}).problems] == ["etcd-3"]


def test_status_document() -> None:
    answers = real_answers()
    del answers["etcd-3"]
    answers["etcd-1"]["alarms_json"] = '{"alarms":[{"memberID":255,"alarm":1}]}'
    verdict = JUDGES["etcd.status"](gathered(answers, silent={"etcd-3": "cut"}))
    document = json.loads(json.dumps(verdict.values))
    assert set(document) == {"cluster_id", "members", "alarms"}
    assert document["cluster_id"] == CLUSTER
    assert document["alarms"] == [{"member_id": "ff", "alarm": "NOSPACE"}]
    first, second, third = document["members"]
    assert first == {
        "name": "etcd-127.0.71.1", "host": "etcd-1", "id": "eb512f8244638bb1",
        "endpoint": "http://127.0.71.1:2379", "healthy": True, "leader": False,
        "version": "3.5.16", "revision": 1000000044, "db_size": 135168, "hash": 698309447,
        "learner": False, "reason": None,
    }  # fmt: skip
    assert second["leader"] is True
    assert (third["healthy"], third["id"], third["hash"]) == (False, None, None)
    assert verdict.warnings == ("etcd-3: no answer: cut", "the alarm NOSPACE is raised")
    assert not verdict.problems
