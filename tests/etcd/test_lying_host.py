"""One host among three answers anything at all: no judge breaks, and the others count as before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from drctl.etcd import JUDGES as ETCD
from drctl.etcd.values import PER_HOST, SHARED, SHOWN, VALUES
from drctl.kube import JUDGES as KUBE
from drctl.plan.runbook import load_runbook, shipped_runbooks
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import CLUSTER, HOSTS, MEMBERS, TOKEN, lines, real_answers
from tests.etcd.test_judges_blank import BLANK, PREPARE
from tests.etcd.test_judges_ready import GOOD, SNAPSHOT

JUDGES = ETCD | KUBE
SHAPES = {name: TypeAdapter[Any](shape) for name, shape in VALUES.items()}
ONLY_SHOWN = set(SHOWN)
MADE_HERE = {"token", "blank_token", "blank_cluster_id"}  # no host is asked
BEARING = {"etcd.status", "etcd.what_would_be_lost", "etcd.who_leads", "etcd.whose"}
"""They refuse nothing: whose answer is none counts as silent."""
LIAR = "etcd-2"
RUN = "20261124-031502-0a1b2c"
STAGE = "/var/lib/etcd.drctl"
FACTS: dict[str, Any] = {
    "members": MEMBERS,
    "snapshot": {**SNAPSHOT, "age_seconds": 60},
    "prepare": PREPARE,
    "abandoned": {"etcd-9": {"client_urls": ["https://127.0.71.9:2379"]}},
    "services": {"apiserver": {"hosts": HOSTS, "units": ["kube-apiserver"]}},
    "begun": ["apiserver running"],
    "ended": True,
}
KNOWN: dict[str, Any] = {
    "run": RUN,
    "cluster_id": CLUSTER,
    "token": TOKEN,
    "can_bump": True,
    "proven_revision": 1_000_000_044,
    "stage": dict.fromkeys(HOSTS, STAGE),
    "wal_stage": dict.fromkeys(HOSTS, ""),
    "start_blank": "yes",
    "blank_cluster_id": CLUSTER,
    "blank_token": TOKEN,
}
HONEST: dict[str, str] = {
    **{name: value for name, value in (GOOD | BLANK).items() if name != "boot_id"},
    "owner_run": "", "owner_who": "", "owner_since": "", "last_line": "12",
    "restored": "50:60", "gone.etcd-9": "null", "hash_revision": "1000000044",
    "listed": "yes", "written": "pods:1:2", "keys_left": "3", "keys_before": "4",
    "restored_cluster_id": CLUSTER, "kept_data": f"{STAGE}/{RUN}/old", "bytes_data": "9",
    "swapped_data": "yes", "probe": "ok", "asked": "apiserver", "ready.apiserver": "ok",
    "runs.apiserver": "yes",
    "etcd_servers": "http://127.0.71.1:2379", "etcd_prefix": "/registry", "encryption": "a" * 64,
    "account_keys": "k", "etcd_ca": "d", "member_ca": "d", "secrets_status": "200",
    "secrets_read": "3", "kubelet_age": "95", "apiserver": "silent",
}  # fmt: skip


def told(liar: str) -> dict[str, str]:
    real = real_answers()
    answers = {host: lines(HONEST | real[host]) for host in HOSTS}
    return {**answers, LIAR: liar}


def judged(judge: str, liar: str | None, **options: Any) -> Verdict:
    answers = told(lines(HONEST | real_answers()[LIAR]) if liar is None else liar)
    return JUDGES[judge](Gathered(answers, facts=FACTS, values=KNOWN, options=options))


HOSTILE = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("utf-8", "replace")),
    st.sampled_from([
        "", "-1", "9" * 5000, str(2**63), str(2**64), "nan", "1e999", "../../etc/passwd", "/etc",
        "$(id)", "'; id #", "`id`", "x\nrun=y", "\x1b]0;t\x07", "\0", "\u202e", "[" * 100_000,
        "{" * 9, "null", "[]", "[null]", "{}", '[{"Status":null}]', "NaN", "http://[", "a:b:c",
        '[{"Endpoint":"x","Status":{"header":{"revision":9223372036854775807},"leader":1}}]',
        '[{"Endpoint":"x","Status":{"header":{"revision":-1}}}]', "x" * 1_000_001,
        "9223372036854775807:9223372036854775807", "pods:1", "yes", "no", "https://x:99999999",
    ]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["Endpoint", "Status", "HashKV", "header", "members", "alarms", "ID",
                             "leader", "revision", "cluster_id", "peerURLs", "name", "alarm"]),
            inner, max_size=4,
        ),
        max_leaves=12,
    ).map(json.dumps),
)  # fmt: skip
NAMES = sorted({*HONEST, *real_answers()[LIAR]})


@st.composite
def lies(draw: st.DrawFn) -> str:
    """Anything at all, or an honest answer in which some values are not."""
    if draw(st.booleans()):
        return draw(HOSTILE)
    changed = draw(st.dictionaries(st.sampled_from(NAMES), HOSTILE, min_size=1, max_size=3))
    left_out = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    fields = {**HONEST, **real_answers()[LIAR], **changed}
    return lines({name: value for name, value in fields.items() if name not in left_out})


@pytest.mark.parametrize("judge", sorted(JUDGES))
@given(lie=lies())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_lying_host_breaks_nothing_and_changes_nothing_for_the_others(
    judge: str, lie: str
) -> None:
    honest, verdict = judged(judge, None), judged(judge, lie)
    for text in _texts(verdict):
        assert text.replace("\n    ", "").isprintable()
    json.dumps(dict(verdict.values))
    for name, value in verdict.values.items():
        if name in SHAPES:
            SHAPES[name].validate_python(value, strict=True)
    for name, value in verdict.values.items():
        if name in PER_HOST:
            for host in set(HOSTS) - {LIAR}:
                assert value.get(host) == honest.values[name].get(host)
            _is_what_it_must_be(name, value.get(LIAR))
    if not verdict.problems:
        _shared_within_bounds(verdict.values)


def _texts(verdict: Verdict) -> list[str]:
    said = [text for p in verdict.problems for text in (p.message, p.hint or "")]
    return [*said, *verdict.warnings, *verdict.findings]


def _is_what_it_must_be(name: str, value: Any) -> None:
    if value is None:
        return
    if name in ("stage", "wal_stage"):
        assert value in (STAGE, "/var/lib/etcd/.drctl", "")
    if name == "last_line":
        assert 0 <= value < 10**9
    if name == "kept":
        assert set(value) <= {f"{STAGE}/{RUN}/old"}
        assert all(0 <= size < 2**63 for size in value.values())


def _shared_within_bounds(values: Any) -> None:
    if values.get("bump"):
        assert 0 < int(values["bump"]) <= 10**13 + 2 * 10**9
    for name in ("live_revision", "proven_revision", "common_revision"):
        if values.get(name) is not None:
            assert 0 <= values[name] < 2**63
    if values.get("encryption"):
        assert values["encryption"] in ("none", "unreadable") or len(values["encryption"]) == 64


@pytest.mark.parametrize(
    "judge",
    sorted(JUDGES.keys() - BEARING - {"etcd.is_out_of_reach"}),
)
@pytest.mark.parametrize("lie", ["run=1\nrun=2", "x\0y", "x" * 2_000_000])
def test_an_answer_that_is_none_is_that_hosts_problem(judge: str, lie: str) -> None:
    about = [p for p in judged(judge, lie).problems if p.host == LIAR]
    assert any("invalid answer" in p.message for p in about)


def test_who_need_not_be_back_may_say_anything() -> None:
    """A member that did not answer before the run may stay as it was; it is told of."""
    for answering, spared in ((list(HOSTS), False), (["etcd-1", "etcd-3"], True)):
        values = {"answering": answering, "live_cluster_id": CLUSTER}
        verdict = JUDGES["etcd.same_old_cluster"](
            Gathered(told("x\0y"), facts=FACTS, values=values)
        )
        assert [p.host for p in verdict.problems] == ([] if spared else [LIAR])
        assert [LIAR in warning for warning in verdict.warnings] == ([True] if spared else [])


@pytest.mark.parametrize(
    "lie",
    [
        {"kept_data": "/etc"},
        {"kept_data": f"{STAGE}/20261124-031502-0a1b2d/old"},  # another run's
        {"kept_data": f"{STAGE}/{RUN}/old/"},
        {"bytes_data": "-1"},
        {"bytes_data": "9" * 5000},
        {"swapped_data": "perhaps"},
    ],
)
def test_what_is_kept_lies_where_the_run_kept_it(lie: dict[str, str]) -> None:
    """It is what an operator is asked to remove for good."""
    verdict = judged("etcd.may_be_removed", lines(HONEST | lie))
    assert [p.host for p in verdict.problems] == [LIAR]
    assert verdict.values["kept"] == {h: {f"{STAGE}/{RUN}/old": 9} for h in HOSTS if h != LIAR}


@pytest.mark.parametrize("judge", ["etcd.who_leads", "etcd.whose"])
def test_what_decides_no_more_than_an_order_or_a_warning_refuses_nothing(judge: str) -> None:
    verdict = judged(judge, "x\0y")
    assert verdict.problems == ()
    named = [host for value in verdict.values.values() for host in value]
    assert LIAR not in named
    assert any(LIAR in text for text in verdict.warnings) == (judge == "etcd.whose")


@pytest.mark.parametrize("judge", ["etcd.status", "etcd.what_would_be_lost"])
def test_where_silence_is_borne_a_lie_is_too_and_it_is_said_whose(judge: str) -> None:
    """A cluster is looked at, or taken back, without the host that lies; it counts as silent."""
    verdict = judged(judge, "x\0y", lose_writes=True)
    assert verdict.problems == ()
    if judge == "etcd.status":
        assert any(LIAR in text for text in verdict.warnings)
    lost = judged(judge, lines(HONEST | real_answers()[LIAR] | {"written": "pods:1"}))
    assert judge == "etcd.status" or lost.values["would_be_lost"] == {}


def test_every_value_is_of_one_host_or_stands_in_the_table() -> None:
    """What judges yield, and what the shipped runbooks hand on."""
    yielded: dict[str, Any] = {}
    for judge in sorted(JUDGES):
        for options in ({"replace_healthy": True}, {"lose_writes": True}):
            yielded |= judged(judge, None, **options).values
    assert set(yielded) - ONLY_SHOWN == VALUES.keys() - MADE_HERE
    for name in PER_HOST:
        assert set(yielded[name]) <= {*HOSTS}
    steps = [s for book in shipped_runbooks() for p in load_runbook(book).phases for s in p.steps]
    handed_on = {name for step in steps for name in step.yields}
    assert handed_on - ONLY_SHOWN <= {*PER_HOST, *SHARED}
