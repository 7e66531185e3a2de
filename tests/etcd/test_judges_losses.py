"""What a rollback would lose: counted from real answers, and never taken for nothing unproven."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from drctl.etcd import JUDGES
from drctl.verdict import Verdict
from tests.etcd.samples import HOSTS, gathered, real_answers

KUBERNETES = ["apiserver running", "controllers running"]
REVISION = json.loads(real_answers()[HOSTS[0]]["status_json"])[0]["Status"]["header"]["revision"]
COUNTED = {
    "listed": "yes",
    "written": "pods:2:0 apps.example/widgets:1:1 leases:0:7",
    "keys_left": "40",
    "keys_before": "43",
}


def judged(
    answers: dict[str, dict[str, str]],
    *,
    let_in: list[str] = KUBERNETES,
    proven: int | None = REVISION - 12,
    lose: bool = False,
    ended: bool = False,
    **facts: Any,
) -> Verdict:
    given = gathered(
        answers,
        silent={host: "cut" for host in HOSTS if host not in answers},
        values={} if proven is None else {"proven_revision": proven},
        options={"lose_writes": lose},
    )
    known = {**given.facts, "let_in": let_in, "ended": ended, **facts}
    return JUDGES["etcd.what_would_be_lost"](replace(given, facts=known))


def counted() -> dict[str, dict[str, str]]:
    return {host: {**answer, **COUNTED} for host, answer in real_answers().items()}


def told(verdict: Verdict) -> str:
    (problem,) = verdict.problems
    assert problem.kind == "refused" and "--lose-writes" in str(problem.hint)
    return problem.message


def test_it_is_counted() -> None:
    said = told(judged(counted()))
    assert "12 revisions since Kubernetes was started (apiserver running); 3 of 3 members" in said
    assert "keys: 3 created, 8 changed, 3 deleted" in said
    assert "created: pods 2, apps.example/widgets 1" in said
    assert "changed: leases 7, apps.example/widgets 1" in said


def test_who_agreed_gets_the_numbers_journalled() -> None:
    verdict = judged(counted(), lose=True)
    lost = verdict.values["would_be_lost"]
    assert not verdict.problems and verdict.values["keep_restored"] == "yes"
    assert (lost["revisions"], lost["deleted"], lost["answered"]) == (12, 3, [3, 3])
    assert lost["kinds"] == {"pods": [2, 0], "apps.example/widgets": [1, 1], "leases": [0, 7]}
    assert verdict.findings == tuple(lost["said"])


def test_where_nobody_was_let_in_nothing_is_lost() -> None:
    verdict = judged({}, let_in=[])
    assert verdict.values == {"would_be_lost": {}, "keep_restored": "no"}
    assert not verdict.problems


def test_nobody_wrote() -> None:
    verdict = judged(counted(), proven=REVISION)  # so far: clients go on until they are stopped
    assert verdict.values == {"would_be_lost": {}, "keep_restored": "yes"}
    two = dict(list(counted().items())[:2])
    assert not judged(two, proven=REVISION).problems


def test_no_answer_is_no_proof() -> None:
    assert "an unknown number of revisions" in told(judged({}, proven=REVISION))
    one = dict(list(counted().items())[:1])
    said = told(judged(one, proven=REVISION))
    assert "an unknown number of revisions" in said and "1 of 3 members answer" in said
    assert "at least 12 revisions" in told(judged(one))
    assert "an unknown number" in told(judged(counted(), proven=None))
    assert "an unknown number" in told(judged(counted(), proven=REVISION + 1))


def test_keys_that_nobody_listed_are_not_zero() -> None:
    assert "keys unknown" in told(judged(real_answers()))
    compacted = {host: {**answer, "keys_before": ""} for host, answer in counted().items()}
    assert "8 changed, an unknown number deleted" in told(judged(compacted))


def test_many_kinds_are_summed_up() -> None:
    many = " ".join(f"kind{n}:{n}:0" for n in range(1, 21))
    said = told(judged({host: {**a, "written": many} for host, a in counted().items()}))
    assert "created: kind20 20, " in said and "kind9 9, other 36" in said


def test_the_end_of_a_run_without_kubernetes_lets_clients_in() -> None:
    said = told(judged(counted(), let_in=[], ended=True))
    assert "12 revisions since the restore ended" in said


def test_what_has_begun_was_agreed_to() -> None:
    verdict = judged({}, taken_back=True)
    assert not verdict.problems
    assert verdict.values["keep_restored"] == "yes"  # where the journal does not know any more
