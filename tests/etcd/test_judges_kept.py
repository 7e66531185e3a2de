"""etcd.proven_revision: up to where nobody but drctl wrote."""

from __future__ import annotations

import json

import pytest

from drctl.etcd import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import HOSTS, gathered, real_answers


def judged(more: int) -> Verdict:
    """Members whose revision is that much above the snapshot's."""
    answers = real_answers()
    status = json.loads(answers[HOSTS[0]]["status_json"])
    revision = status[0]["Status"]["header"]["revision"]
    given = gathered(answers)
    facts = {**given.facts, "snapshot": {"revision": revision - more - 1000}}
    return JUDGES["etcd.proven_revision"](
        Gathered(given.answers, {}, facts, {**given.values, "bump": 1000})
    )


@pytest.mark.parametrize(("more", "foreign"), [(0, 0), (6, 0), (18, 0), (158, 140)])
def test_what_others_wrote_is_said_and_not_taken_for_proven(more: int, foreign: int) -> None:
    verdict, plain = judged(more), judged(0).values["proven_revision"]
    assert not verdict.problems
    assert verdict.values["proven_revision"] == plain - foreign
    assert len(verdict.warnings) == (1 if foreign else 0)
    if foreign:
        assert verdict.warnings[0].startswith(f"{foreign} writes to the restored etcd are not")
