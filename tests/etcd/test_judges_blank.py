"""New hosts: one row per way in which one is not new, and what the blank cluster must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drctl.etcd import JUDGES
from drctl.etcd.identity import predict
from drctl.verdict import Gathered, Verdict
from tests.etcd.samples import CLUSTER, HOSTS, MEMBERS, TOKEN, gathered, real_answers
from tests.etcd.test_judges_ready import GOOD, SNAPSHOT

NAMES = ("etcd", "etcdctl", "etcdutl", "ca", "cert", "key", "unit")
BLANK = {
    **{f"there.{name}": f"absent /place/of/{name}" for name in NAMES},
    "arch": "x86_64", "unit_elsewhere": "", "drop_ins": "", "owner_missing": "",
    "owner_wrong": "", "holds": "", "ports_taken": "",
}  # fmt: skip
SAME = {f"there.{name}": f"same /place/of/{name}" for name in NAMES}
USED = {**SAME, "holds": "/var/lib/etcd/member", "ports_taken": "2379 2380", "drop_ins": "/x.conf"}
PREPARE: dict[str, Any] = {
    "arch": "x86_64",
    "warnings": ["ca.pem expires soon"],
    "hosts": {
        host: {
            "files": [{"name": name, "path": f"/place/of/{name}"} for name in NAMES[:-1]],
            "unit": "/etc/systemd/system/etcd.service",
        }
        for host in HOSTS
    },
}


def asked(reports: dict[str, dict[str, str]]) -> Verdict:
    found = gathered(reports)
    return JUDGES["etcd.can_prepare"](replace(found, facts={**found.facts, "prepare": PREPARE}))


def hosts(**changed: str) -> dict[str, dict[str, str]]:
    return {host: {**BLANK, **(changed if host == "etcd-2" else {})} for host in HOSTS}


def test_blank_hosts_may_be_prepared_and_a_blank_cluster_started() -> None:
    verdict = asked(hosts())
    assert verdict.problems == () and verdict.values == {"start_blank": "yes"}
    assert verdict.warnings == ("ca.pem expires soon",)
    assert verdict.findings[0] == "etcd-1: 7 files to install, 0 already there"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"there.etcd": "other /place/of/etcd"}, "has other files at /place/of/etcd"),
        ({"there.key": ""}, "has other files at "),
        (
            {"unit_elsewhere": "/lib/etcd.service"},
            ("already has a unit of that name: /lib/etcd.service"),
        ),
        ({"drop_ins": "/etc/x.conf"}, "drop-ins that would change the unit: /etc/x.conf"),
        ({"holds": "/var/lib/etcd/member"}, "already has data: /var/lib/etcd/member"),
        ({"ports_taken": "2379"}, "port already in use: 2379"),
        ({"arch": "aarch64"}, "aarch64, but the binaries are for x86_64"),
        ({"owner_missing": "the user etcd"}, "the user etcd in etcd.owner does not exist"),
        ({"owner_wrong": "/var/lib/etcd"}, "/var/lib/etcd does not belong to etcd.owner"),
        ({**SAME, "there.unit": "absent /u", "holds": "/d/x"}, "already has data"),
    ],
)
def test_a_host_that_is_not_blank(changed: dict[str, str], words: str) -> None:
    problems = asked(hosts(**changed)).problems
    assert words in problems[0].message
    assert {(problem.host, problem.kind) for problem in problems} == {("etcd-2", "refused")}
    assert all(problem.hint for problem in problems)


def test_a_host_that_says_nothing_of_it_is_a_problem() -> None:
    silent = {host: {k: v for k, v in BLANK.items() if k != "holds"} for host in HOSTS}
    assert [p.message for p in asked(silent).problems] == ["did not report holds"] * 3
    (problem,) = asked(
        {**hosts(), "etcd-3": {k: v for k, v in BLANK.items() if "ca" not in k}}
    ).problems
    assert (problem.host, problem.message) == ("etcd-3", "did not report there.ca")


def test_the_paths_are_the_plans() -> None:
    """Whatever a host says that it looked at."""
    (problem,) = asked(hosts(**{"there.key": "other /somewhere/else\\e[31m"})).problems
    assert problem.message == "has other files at /place/of/key"


def test_hosts_that_were_prepared_before_are_nothing_special() -> None:
    verdict = asked({host: {**BLANK, **USED} for host in HOSTS})
    assert verdict.problems == () and verdict.values == {"start_blank": "no"}
    assert "hosts not tested with a blank cluster" in verdict.warnings[1]
    emptied = asked({host: {**BLANK, **SAME} for host in HOSTS})
    assert emptied.problems == () and emptied.values == {"start_blank": "yes"}


def test_one_new_machine_among_two_that_hold_data() -> None:
    verdict = asked({"etcd-1": {**BLANK, **USED}, "etcd-2": {**BLANK, **USED}, "etcd-3": BLANK})
    assert verdict.problems == () and verdict.values == {"start_blank": "no"}
    alone = asked({"etcd-3": BLANK})
    assert alone.values == {"start_blank": "no"}
    assert "not in `prepare`: etcd-1, etcd-2" in alone.warnings[1]


# -- what is excused before, and not after ------------------------------------------------------

LACKS = {
    "etcd_version": "", "etcdctl_version": "", "etcdutl_version": "", "restore_flags": "",
    "units_missing": "etcd", "certs_missing": "/place/of/ca /place/of/key", "cert_not_after": "",
}  # fmt: skip


def ready(judge: str, **changed: str) -> Verdict:
    found = gathered({host: {**GOOD, **LACKS, **changed} for host in HOSTS}, snapshot=SNAPSHOT)
    return JUDGES[judge](replace(found, facts={**found.facts, "prepare": PREPARE}))


def test_what_will_be_installed_is_not_missing_yet() -> None:
    verdict = ready("etcd.can_restore")
    assert verdict.problems == () and verdict.values["can_bump"] is True
    assert not any("cannot bump" in warning for warning in verdict.warnings)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"units_missing": "etcd kube-apiserver"}, "missing: unit kube-apiserver"),
        ({"certs_missing": "/place/of/ca /etc/other.pem"}, "missing or unreadable: /etc/other.pem"),
        ({"tools_missing": "flock"}, "missing tools: flock"),
        ({"data_free": "1"}, "too little space"),
    ],
)
def test_everything_else_still_is(changed: dict[str, str], words: str) -> None:
    assert any(words in p.message for p in ready("etcd.can_restore", **changed).problems)


def test_afterwards_nothing_is_excused() -> None:
    messages = [p.message for p in ready("etcd.is_prepared").problems]
    assert "is not prepared; missing: etcd, etcdctl, etcdutl, unit etcd" in messages
    assert "missing or unreadable: /place/of/ca, /place/of/key" in messages


def test_what_was_known_of_other_hosts_is_kept() -> None:
    known = {"stage": dict.fromkeys(HOSTS, "/old"), "can_bump": False}
    found = gathered({"etcd-3": GOOD}, snapshot=SNAPSHOT, values=known)
    verdict = JUDGES["etcd.is_prepared"](found)
    assert verdict.values["stage"] == {"etcd-1": "/old", "etcd-2": "/old", "etcd-3": GOOD["stage"]}
    assert verdict.values["can_bump"] is False and not verdict.problems


# -- the blank cluster --------------------------------------------------------------------------


def at_revision(revision: int) -> dict[str, dict[str, str]]:
    answers = real_answers()
    for told in answers.values():
        for name, text in told.items():
            told[name] = text.replace("1000000044", str(revision))
    return answers


OWN = {"start_blank": "yes", "blank_cluster_id": CLUSTER, "blank_token": TOKEN, "token": "another"}


def blank_cluster(found: Gathered) -> Verdict:
    return JUDGES["etcd.is_the_blank_cluster"](found)


def test_the_blank_cluster_of_this_run_is_proven_by_its_identity() -> None:
    verdict = blank_cluster(gathered(at_revision(1), values=OWN))
    assert verdict.problems == () and verdict.values == {}
    assert verdict.findings[0].startswith(f"3 members of cluster {CLUSTER}")


def test_another_cluster_is_not_it() -> None:
    urls = {str(m["name"]): tuple(m["peer_urls"]) for m in MEMBERS.values()}
    other = {**OWN, "blank_cluster_id": predict(urls, "x").cluster_hex, "blank_token": "x"}
    messages = [p.message for p in blank_cluster(gathered(at_revision(1), values=other)).problems]
    assert any(message.startswith(f"runs cluster {CLUSTER}, planned ") for message in messages)


def test_one_that_was_written_to_is_blank_no_more() -> None:
    problems = blank_cluster(gathered(at_revision(2), values=OWN)).problems
    assert {p.message for p in problems} == {"someone wrote to the blank cluster: revision 2"}


def test_where_none_was_started_none_is_asked_for() -> None:
    assert not blank_cluster(gathered({}, values={"start_blank": "no"})).problems


@pytest.mark.parametrize(
    ("values", "revision", "refused"),
    [
        ({"blank_cluster_id": CLUSTER}, 1, False),
        ({"blank_cluster_id": CLUSTER}, 44, True),  # not blank any more
        ({"blank_cluster_id": "c1"}, 44, True),  # somebody else's
        ({}, 44, True),
    ],
)
def test_only_a_run_s_own_blank_cluster_may_be_replaced_unasked(
    values: dict[str, str], revision: int, refused: bool
) -> None:
    two = {host: told for host, told in at_revision(revision).items() if host != "etcd-3"}
    found = gathered(two, values=values, snapshot=SNAPSHOT, silent={"etcd-3": "cut"})
    problems = JUDGES["etcd.live_state"](found).problems
    assert bool(problems) is refused
    assert not refused or problems[0].hint == "to replace it anyway, add --replace-healthy"
