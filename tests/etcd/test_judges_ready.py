"""can_restore: one table row per way in which a host cannot take a restore."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.etcd import JUDGES
from tests.etcd.samples import HOSTS, MEMBERS, gathered

JUDGE = JUDGES["etcd.can_restore"]
NOW = "1795458399"
GOOD = {
    "machine_id": "m1", "boot_id": "b1", "now": NOW, "tools_missing": "",
    "etcd_version": "3.5.16", "etcdutl_version": "etcdutl version: 3.5.16",
    "etcdctl_version": "3.5.16", "restore_flags": "bump-revision mark-compacted",
    "data_kind": "directory", "data_owner": "998:998", "data_mode": "700", "wal_kind": "none",
    "stage": "/var/lib/etcd.drctl", "wal_stage": "", "data_free": "200000000", "wal_free": "",
    "same_fs": "none", "certs_missing": "", "cert_not_after": "2030-01-01T00:00:00Z",
    "units_missing": "", "manager": "ok",
}  # fmt: skip
SNAPSHOT: dict[str, Any] = {
    "size": 1_000_000, "revision": 44, "cluster_version": "3.5.0", "storage_version": "",
    "alarms": (), "auth_enabled": False, "taken_at": "x", "taken_at_proven": True,
    "members": [{"name": m["name"], "peer_urls": m["peer_urls"]} for m in MEMBERS.values()],
}  # fmt: skip


def hosts(**changed: str) -> dict[str, dict[str, str]]:
    """Three good hosts; the second as `changed`."""
    return {host: {**GOOD, **(changed if host == "etcd-2" else {})} for host in HOSTS}


def test_good_hosts_pass_and_yield_what_later_steps_need() -> None:
    mount = {"data_kind": "mount", "stage": "/var/lib/etcd/.drctl"}
    verdict = JUDGE(gathered(hosts(**mount, data_mode=""), snapshot=SNAPSHOT))
    assert (verdict.problems, verdict.warnings) == ((), ())
    assert verdict.values["stage"] == {
        "etcd-1": "/var/lib/etcd.drctl",
        "etcd-2": "/var/lib/etcd/.drctl",
        "etcd-3": "/var/lib/etcd.drctl",
    }
    assert verdict.values["wal_stage"] == dict.fromkeys(HOSTS, "")
    assert verdict.values["owner"]["etcd-3"] == "998:998"
    assert verdict.values["mode"] == dict.fromkeys(HOSTS, "700")
    assert verdict.values["can_bump"] is True
    assert verdict.findings == ("3 hosts examined, etcdutl 3.5.16",)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"etcdutl_version": ""}, "missing: etcdutl"),
        ({"etcdutl_version": "", "units_missing": "etcd.service"}, "etcdutl, unit etcd.service"),
        ({"tools_missing": "flock setsid"}, "missing tools: flock, setsid"),
        (
            {"manager": "the kubelet does not run"},
            "cannot stop or start its services: the kubelet does",
        ),
        ({"certs_missing": "/a/ca.pem /a/key.pem"}, "/a/ca.pem, /a/key.pem"),
        ({"certs_expired": "/a/server.crt"}, "expired: /a/server.crt"),
        ({"cert_not_after": "2020-01-01T00:00:00Z"}, "expired at 2020-01-01"),
        ({"cert_not_after": "notAfter=Nov  3 18:23:46 2020 GMT"}, "expired at 2020-11-03"),
        ({"cert_not_after": "soon"}, "cannot read when its certificate expires"),
        ({"etcdutl_version": "3.4.9", "etcd_version": "3.4.9"}, "older than 3.5"),
        ({"etcdutl_version": "3.6.1"}, "different minor versions"),
        (
            {
                "image_missing": "containerd does not answer",
                "etcd_version": "",
                "etcdutl_version": "",
            },
            "cannot run etcd's programs from its image: containerd does not answer",
        ),
        ({"data_kind": "other"}, "is not a directory"),
        ({"wal_kind": "other"}, "its wal directory"),
        ({"data_free": "72599999"}, "too little space for its data directory"),
        ({"data_free": ""}, "did not report free space for data"),
        ({"same_fs": "no", "wal_free": "70399999"}, "too little space for its wal directory"),
        ({"same_fs": "no", "wal_free": ""}, "did not report free space for wal"),
    ],
)
def test_refusals_name_the_host(changed: dict[str, str], words: str) -> None:
    verdict = JUDGE(gathered(hosts(**changed), snapshot=SNAPSHOT))
    (problem, *_) = [p for p in verdict.problems if words in p.message]
    assert problem.host == "etcd-2"
    assert problem.kind in ("refused", "missing")


def test_space_that_just_suffices() -> None:
    """(2 x 1,000,000 + 64,000,000) x 1.1, and without the WAL where that has its own disk."""
    assert not JUDGE(gathered(hosts(data_free="72600000"), snapshot=SNAPSHOT)).problems
    apart = hosts(same_fs="no", data_free="2200000", wal_free="70400000", wal_kind="directory")
    assert not JUDGE(gathered(apart, snapshot=SNAPSHOT)).problems


def test_a_newer_snapshot_is_refused_everywhere() -> None:
    for newer in ({"cluster_version": "3.6.0"}, {"storage_version": "3.6.0"}):
        verdict = JUDGE(gathered(hosts(), snapshot={**SNAPSHOT, **newer}))
        assert [p.host for p in verdict.problems] == list(HOSTS)
        assert "the snapshot comes from etcd 3.6" in verdict.problems[0].message
    older = {**SNAPSHOT, "cluster_version": "3.4.0"}
    assert not JUDGE(gathered(hosts(), snapshot=older)).problems


def test_mixed_etcdutl_versions_are_refused() -> None:
    verdict = JUDGE(gathered(hosts(etcdutl_version="3.5.17"), snapshot=SNAPSHOT))
    (problem,) = verdict.problems
    assert "etcd-2: 3.5.17" in problem.message


def test_silence_is_not_a_yes() -> None:
    some = dict.fromkeys(HOSTS[:1], GOOD)
    verdict = JUDGE(gathered(some, silent={"etcd-2": "timed out"}, snapshot=SNAPSHOT))
    assert {(p.host, p.kind) for p in verdict.problems} == {
        ("etcd-2", "missing"),
        ("etcd-3", "missing"),
    }


def test_an_empty_or_mixed_answer_is_not_a_yes() -> None:
    assert (
        JUDGE(gathered({**hosts(), "etcd-2": {}}, snapshot=SNAPSHOT)).problems[0].kind == "missing"
    )
    twice = gathered(hosts(), snapshot=SNAPSHOT)
    broken = type(twice)({**twice.answers, "etcd-2": "now=1\nnow=2\n"}, facts=twice.facts)
    assert "now is given twice" in JUDGE(broken).problems[0].message


@pytest.mark.parametrize(
    ("changed", "snapshot", "words"),
    [
        ({"etcd_version": "3.5.2"}, {}, "3.5.0 to 3.5.2"),
        ({"restore_flags": "bump-revision"}, {}, "cannot bump the revision on etcd-2"),
        ({"now": "1795458405"}, {}, "the clock of etcd-2 is 6 s ahead of the others'"),
        ({"data_owner": "", "data_kind": "absent"}, {}, "etcd.owner"),
        ({}, {"alarms": [{"member_id": 1, "kind": "NOSPACE"}]}, "alarm NOSPACE"),
        ({}, {"taken_at_proven": False}, "unverified snapshot time"),
        ({}, {"members": [{"name": "x", "peer_urls": ["http://o:1"]}]}, "from another cluster"),
    ],
)
def test_warnings(changed: dict[str, str], snapshot: dict[str, Any], words: str) -> None:
    verdict = JUDGE(gathered(hosts(**changed), snapshot={**SNAPSHOT, **snapshot}))
    assert [words in warning for warning in verdict.warnings] == [True]
    assert not verdict.problems
    assert verdict.values["can_bump"] is ("restore_flags" not in changed)


def test_the_inventorys_owner_wins() -> None:
    asked = gathered(hosts(), snapshot=SNAPSHOT)
    members = {host: {**member, "owner": "root:root"} for host, member in MEMBERS.items()}
    owned = type(asked)(asked.answers, facts={**asked.facts, "members": members})
    assert JUDGE(owned).values["owner"] == dict.fromkeys(HOSTS, "root:root")


@pytest.mark.parametrize(
    "changed",
    [
        {"stage": "/etc"},
        {"stage": "/var/lib/etcd.drctl/../../../etc"},
        {"stage": "/var/lib/etcd/.drctl"},  # the place of a mount point, and it is a directory
        {"stage": "/var/lib/etcd.drctl\tx"},
        {"stage": ""},
        {"wal_stage": "/var/lib/wal.drctl"},  # the plan names no WAL directory
        {"data_owner": "etcd:etcd"},
        {"data_owner": "0:0; id"},
        {"data_owner": "99999999999:0"},
        {"data_mode": "77"},
        {"data_mode": "47555"},
        {"data_mode": "799"},
        {"data_mode": "u+s"},
        {"same_fs": "perhaps"},
        {"now": "9" * 5000},
        {"now": "1000000000000"},  # the year 33658
        {"data_free": str(2**63)},
        {"units_missing": "\u202eteclatnu"},
        {"excused": "etcdutl", "etcdutl_version": ""},
    ],
)
def test_what_cannot_be_is_not_handed_on(changed: dict[str, str]) -> None:
    """It is that host's problem, and the others' values are what they were."""
    verdict = JUDGE(gathered(hosts(**changed), snapshot=SNAPSHOT))
    assert {p.host for p in verdict.problems} == {"etcd-2"}
    fine = JUDGE(gathered(hosts(), snapshot=SNAPSHOT)).values
    for name in ("stage", "wal_stage", "owner", "mode"):
        for host in ("etcd-1", "etcd-3"):
            assert verdict.values[name][host] == fine[name][host]
        assert verdict.values[name].get("etcd-2") in (None, fine[name]["etcd-2"])


@pytest.mark.parametrize(("kind", "place"), [("directory", ".drctl"), ("symlink", "/.drctl")])
def test_the_stage_of_a_wal_directory(kind: str, place: str) -> None:
    told = {**GOOD, "wal_kind": kind, "wal_stage": f"/wal{place}", "wal_free": "80000000"}
    asked = gathered(dict.fromkeys(HOSTS, told), snapshot=SNAPSHOT)
    members = {host: {**member, "wal_dir": "/wal"} for host, member in MEMBERS.items()}
    verdict = JUDGE(type(asked)(asked.answers, facts={**asked.facts, "members": members}))
    assert verdict.problems == ()
    assert verdict.values["wal_stage"] == dict.fromkeys(HOSTS, f"/wal{place}")


@pytest.mark.parametrize("mode", ["777", "4755", "1700", "1777"])
def test_a_mode_that_no_directory_of_etcds_should_have_is_not_carried_on(mode: str) -> None:
    verdict = JUDGE(gathered(hosts(data_mode=mode), snapshot=SNAPSHOT))
    assert not verdict.problems
    assert set(verdict.values["mode"].values()) == {"700"}
    assert any(f"has mode {mode}: the new one gets 700" in w for w in verdict.warnings)
