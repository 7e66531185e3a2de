"""Why etcdctl failed, from what each version writes to stderr."""

from __future__ import annotations

import pytest

from drctl.etcd.complaints import is_refused, reason
from tests.etcd.samples import recorded

DEAD, LONELY, NOBODY = (
    "one member dead",
    "two of three dead: no quorum",
    "auth on, asked without a user",
)
READER = "auth on, asked by a user whose role lacks root"


def why(version: str, situation: str, command: str) -> str:
    return reason(recorded()[version][situation][f"etcdctl {command}"]["err"])


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_a_dead_member(version: str) -> None:
    said = why(version, DEAD, "endpoint status")
    assert said.endswith("dial tcp 127.0.64.3:26379: connect: connection refused"), said
    assert not is_refused(said)


@pytest.mark.parametrize("version", recorded())
def test_no_quorum(version: str) -> None:
    said = why(version, LONELY, "alarm list")
    assert said == ("no answer in time" if version != "3.6.14" else said)
    assert said and not is_refused(said)


@pytest.mark.parametrize("version", recorded())
def test_authentication_without_a_user(version: str) -> None:
    said = why(version, NOBODY, "endpoint hashkv")
    assert said == "user name is empty" and is_refused(said)
    saved = reason(recorded()[version]["auth on, a snapshot"]["etcdctl save by no user"]["err"])
    assert saved == "user name is empty"


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_a_role_that_lacks_root(version: str) -> None:
    for command in ("endpoint hashkv", "endpoint hashkv --rev 1"):
        said = why(version, READER, command)
        assert said == "permission denied" and is_refused(said)
    assert is_refused(why(version, "auth on, asked with a wrong password", "endpoint status"))


@pytest.mark.parametrize("version", ["3.4.23", "3.5.16"])
def test_a_learner(version: str) -> None:
    said = why(version, "a learner that runs", "member list")
    assert said == "rpc not supported for learner" and not is_refused(said)


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("", ""),
        ("{", "{"),
        ('{"level":"warn"}', '{"level":"warn"}'),
        ("[" * 5000, "[" * 200 + "…"),
        ("Error: \x1b[31mred", "?[31mred"),
        ("one\ttwo\tError: unhealthy cluster", "unhealthy cluster"),
        ("sh: etcdctl: not found", "sh: etcdctl: not found"),
    ],
)
def test_whatever_it_says_becomes_one_short_line(said: str, short: str) -> None:
    assert reason(said) == short
