"""can_write: a row per way in which a place cannot be used, seen without writing."""

from __future__ import annotations

from typing import Any

import pytest

from drctl.etcd import JUDGES
from drctl.verdict import Verdict
from tests.etcd.samples import HOSTS, gathered
from tests.etcd.test_judges_ready import hosts

PLACES = {
    **{f"place.{label}": "ext4" for label in ("data", "wal", "work", "units", "tools", "sent")},
    **{f"inodes.{label}": "1000 2000" for label in ("data", "wal", "work", "units")},
    **{f"writable.{label}": "yes" for label in ("data", "wal", "work", "units")},
    "work_free": "20000000", "memory": "4000000",
}  # fmt: skip


def judged(changed: dict[str, str], snapshot: dict[str, Any] | None = None) -> Verdict:
    told = {h: {**PLACES, **(changed if h == "etcd-2" else {})} for h in HOSTS}
    return JUDGES["etcd.can_write"](gathered(told, snapshot=snapshot))


def test_good_places_pass() -> None:
    assert judged({}, {"size": 2_000_000}) == Verdict()
    assert judged({"inodes.data": "0 0"}) == Verdict()  # btrfs makes them as it goes
    assert judged({"place.tools": "ext4 ro"}) == Verdict()  # nothing is written there


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"place.data": "xfs ro"}, "its data directory is on a read-only filesystem (xfs)"),
        ({"place.wal": "xfs ro"}, "its WAL directory is on a read-only filesystem (xfs)"),
        ({"place.work": "xfs ro noexec"}, "work_dir is on a read-only filesystem (xfs)"),
        ({"place.units": "xfs ro"}, "/etc/systemd/system is on a read-only filesystem"),
        ({"writable.data": "no"}, "its data directory cannot be written"),
        ({"writable.data": "no", "place.data": "nfs4"}, "cannot be written by the user who"),
        ({"place.tools": "ext4 noexec"}, "etcd.bin_dir is on a filesystem mounted noexec"),
        ({"place.sent": "tmpfs noexec"}, "work_dir is on a filesystem mounted noexec"),
        ({"inodes.data": "63 2000"}, "too few inodes for its data directory: 63 free, 64 needed"),
        ({"inodes.work": "299 2000"}, "too few inodes for work_dir: 299 free"),
        ({"work_free": "15999999"}, "too little space for work_dir"),
        ({"writable.data": "perhaps"}, "invalid answer"),
    ],
)
def test_refusals_name_the_host(changed: dict[str, str], words: str) -> None:
    (problem,) = judged(changed).problems
    assert words in problem.message and problem.host == "etcd-2"


def test_a_server_that_makes_a_nobody_of_root_is_named() -> None:
    (problem,) = judged({"writable.data": "no", "place.data": "nfs4"}).problems
    assert problem.hint == "export it with no_root_squash"


def test_memory_below_twice_the_database_is_a_warning() -> None:
    verdict = judged({"memory": "3999999"}, {"size": 2_000_000})
    assert not verdict.problems
    assert "(2000000 bytes) on etcd-2: 3999999" in verdict.warnings[0]


def test_programs_that_may_not_run_are_not_called_missing() -> None:
    lost = {f"{tool}_version": "" for tool in ("etcd", "etcdctl", "etcdutl")}
    (problem, *_) = JUDGES["etcd.can_restore"](gathered(hosts(**lost))).problems
    assert "missing: etcd" in problem.message
    there = hosts(**lost, **{"place.tools": "ext4 noexec"})
    assert not JUDGES["etcd.can_restore"](gathered(there)).problems
