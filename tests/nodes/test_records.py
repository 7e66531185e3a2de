"""What one node keeps of a run, as it is read; and what several must say alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drctl.errors import Refused
from drctl.nodes.agreement import agreed_manifest
from drctl.nodes.files import Manifest
from drctl.nodes.records import NodeRecord, read_record, run_ids
from drctl.runs.facts import prepare_facts_of_nodes

RUN = "20261127-000000-abcdef"
MANIFEST: dict[str, Any] = {
    "run": RUN,
    "cluster": "prod",
    "format": 1,
    "runbook": "restore",
    "journal": "0123456789abcdef",
    "epoch": 1,
    "values_at": 40,
    "plan": "a" * 64,
    "plans": ["a" * 64],
    "meaning": {"cluster": "prod"},
    "options": {"replace_healthy": True, "vars": {"note": "mine"}},
    "snapshot": {"sha256": "b" * 64, "revision": 7},
    "prepare": {},
    "values": {"token": "prod-1", "stage": {"m1": "/d.drctl"}, "note": "mine", "bump": "10"},
    "kept": [],
    "who": "me@here",
    "started": "2026-11-27T00:00:00+00:00",
    "drctl": "0.1.0",
}


def told(**change: object) -> str:
    return f"{RUN}/manifest.json:{json.dumps({**MANIFEST, **change})}"


def keeps(**change: object) -> NodeRecord:
    return NodeRecord(manifest=Manifest.model_validate({**MANIFEST, **change}))


def test_what_a_controller_wrote_is_read() -> None:
    manifest = read_record(RUN, told()).manifest
    assert manifest is not None
    assert (manifest.age, manifest.values["token"]) == ((1, 40), "prod-1")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"values": {"proven_revision": "1; id"}}, "proven_revision"),
        ({"values": {"proven_revision": 1 << 64}}, "proven_revision"),
        ({"values": {"stage": {"m1": "relative"}}}, "stage"),
        ({"values": {"owner": {"m1": "0:0; id"}}}, "owner"),
        ({"values": {"token": "$(id)"}}, "token"),
        ({"values": {"mode": {"m1": "4777777"}}}, "mode"),
        ({"values": {"of nobody": 1}}, "values"),
        ({"values": {"unknown": {"a": "b"}}}, "unknown"),
        ({"values": {"note": 7}}, "note"),
        ({"epoch": 10**7}, "epoch"),
        ({"epoch": "1"}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"plan": "z"}, "plan"),
        ({"who": "\x1b[2J"}, "who"),
        ({"run": "../../etc"}, "run"),
        ({"snapshot": {"sha256": 'b"; id'}}, "sha256"),
        ({"snapshot": {"path": "x"}}, "path"),
        ({"prepare": {"hosts": {"m1": {"files": [{"name": "a; id"}]}}}}, "prepare"),
        ({"one more": 1}, "one more"),
    ],
)
def test_what_does_not_fit_is_said_and_not_read(change: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_record(RUN, told(**change))


@pytest.mark.parametrize(
    "text",
    [
        f"{RUN}/manifest.json:{'[' * 100_000}",
        f"{RUN}/manifest.json:{{}}",
        f"{RUN}/jobs/../started:state=before",
        f"{RUN}/jobs/stop-etcd-1/status:0",
        f'{RUN}/jobs/stop-etcd-1/started:epoch=1\n{RUN}/jobs/stop-etcd-1/started:{{"was": 1}}',
        f"{RUN}/record.json:{json.dumps({'run': RUN, 'state': 'perfect'})}",
        "owner:run=x",
        "now:-1",
        f"now:{'9' * 30}",
    ],
)
def test_no_other_file_of_a_run_is_read_either(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_record(RUN, text)


def test_a_manifest_of_another_drctl_is_named_with_the_version_that_reads_it() -> None:
    with pytest.raises(ValueError, match=r"written by drctl 3\.1\.4 \(format 9\)"):
        read_record(RUN, told(format=9, drctl="3.1.4", something="new"))


def test_a_manifest_of_another_run_is_none_of_this() -> None:
    with pytest.raises(ValueError, match="names run 20261127-000000-ffffff"):
        read_record(RUN, told(run="20261127-000000-ffffff"))


def test_only_what_can_be_a_run_is_one() -> None:
    lines = "\n".join(f"run:{name}" for name in (RUN, "../x", "", "20261127-000000-ABCDEF", "\x1b"))
    assert run_ids(lines) == {RUN}


# -- what several say ------------------------------------------------------------------------------


def test_most_of_them_decide() -> None:
    lie = keeps(values_at=99, values={"token": "other"})
    manifest = agreed_manifest(RUN, {"m1": lie, "m2": keeps(), "m3": keeps()})
    assert manifest == keeps().manifest


def test_who_may_have_missed_a_claim_has_no_vote() -> None:
    old = keeps(values_at=3, values={"token": "prod-1"})
    nodes = {"m1": keeps(), "w1": old, "w2": old, "w3": old}
    assert agreed_manifest(RUN, nodes, ["m1"]) == keeps().manifest
    assert agreed_manifest(RUN, nodes) == old.manifest


def test_without_a_majority_the_older_one_counts_as_far_as_both_agree() -> None:
    newer = keeps(values_at=50, values={"token": "prod-1", "bump": "20"})
    manifest = agreed_manifest(RUN, {"m1": newer, "m2": keeps()})
    assert manifest is not None
    assert (manifest.age, manifest.values) == ((1, 40), {"token": "prod-1"})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"values": {"token": "other"}}, "content"),
        ({"values_at": 9, "plan": "c" * 64, "plans": ["c" * 64]}, "plan"),
        ({"values_at": 9, "journal": "f" * 16}, "journal"),
        ({"epoch": 2, "snapshot": {"sha256": "c" * 64}}, "snapshot"),
        ({"epoch": 2, "started": "2020-01-01T00:00:00+00:00"}, "start"),
    ],
)
def test_two_that_cannot_be_of_one_run_are_told_by_name(
    change: dict[str, object], what: str
) -> None:
    nodes = {"m1": keeps(**change), "m2": keeps(), "m3": keeps()}
    with pytest.raises(Refused, match=f"m1: the nodes disagree about run {RUN}: its {what} is"):
        agreed_manifest(RUN, nodes)


def test_no_local_file_that_a_node_names_is_sent() -> None:
    file = {"name": "key", "source": "/root/.ssh/id", "path": "/k", "sha256": "a" * 64}
    kept = prepare_facts_of_nodes({"hosts": {"m1": {"files": [file]}}, "flags": {}})
    assert kept["hosts"]["m1"]["files"] == [{**file, "source": ""}]
    assert prepare_facts_of_nodes({}) == {}
