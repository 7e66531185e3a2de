"""What etcd's tools print is read as meant, and garbage is never taken for an answer."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drctl.answer import AnswerError
from drctl.etcd.answers import (
    Alarm,
    parse_alarms,
    parse_hashkv,
    parse_members,
    parse_status,
    parse_version,
    version_tuple,
)
from drctl.etcd.wire import varint_fields
from tests.etcd.samples import real_answers, recorded

REAL = real_answers()["etcd-1"]
PARSERS = [parse_status, parse_hashkv, parse_members, parse_alarms]


def test_a_real_status() -> None:
    (status,) = parse_status(REAL["status_json"])
    assert status.cluster_id == 13960342329342772615
    assert (status.revision, status.version) == (1000000044, "3.5.16")
    assert (status.leader, status.db_size) == (4453877873062199925, 135168)
    assert (status.is_learner, status.errors) == (False, ())


def test_a_real_hash() -> None:
    (answer,) = parse_hashkv(REAL["hashkv_json"])
    assert (answer.hash, answer.revision, answer.compact_revision) == (
        698309447,
        1000000044,
        1000000044,
    )


def test_real_members_and_alarms() -> None:
    listed = parse_members(REAL["members_json"])
    assert [m.id for m in listed.members] == sorted(m.id for m in listed.members)
    assert listed.members[0].client_urls == ("http://127.0.71.2:2379",)
    assert parse_alarms(REAL["alarms_json"]) == ()
    text = '{"header":{},"alarms":[{"memberID":8412909167226757059,"alarm":1},{"alarm":2}]}'
    assert parse_alarms(text) == (Alarm(8412909167226757059, "NOSPACE"), Alarm(0, "CORRUPT"))


def test_3_6_tells_the_hashed_revision() -> None:
    text = '[{"Endpoint":"x","HashKV":{"header":{"revision":9},"hash":5,"hash_revision":7}}]'
    assert parse_hashkv(text)[0].revision == 7


def test_omitted_zeros_are_zeros() -> None:
    (status,) = parse_status('[{"Endpoint":"x","Status":{"header":{},"errors":["no leader"]}}]')
    assert (status.leader, status.revision, status.errors) == (0, 0, ("no leader",))
    assert parse_members('{"members":[{"ID":1,"peerURLs":["u"]}]}').members[0].name == ""
    assert parse_status("[]") == ()


COMMANDS = {
    "etcdctl endpoint status": parse_status,
    "etcdctl endpoint hashkv": parse_hashkv,
    "etcdctl member list": parse_members,
    "etcdctl alarm list": parse_alarms,
    "etcdctl member list --consistency=s": parse_members,
    "etcdctl endpoint hashkv --rev 1": parse_hashkv,
}
RECORDED = [
    (version, situation, command)
    for version, situations in recorded().items()
    for situation, commands in situations.items()
    for command in commands
    if command in COMMANDS or situation == "programs"
]


@pytest.mark.parametrize(("version", "situation", "command"), RECORDED)
def test_what_each_version_prints(version: str, situation: str, command: str) -> None:
    """Where a program succeeded its answer is read; where it failed there is none, however that
    version spells it. Scripts go by the exit status, judges by what was printed."""
    said = recorded()[version][situation][command]
    out, failed = said["out"], bool(said["exit"])
    if command not in COMMANDS:
        assert parse_version(out) == version
    elif not out:
        assert failed
    elif command.startswith("etcdctl endpoint"):
        assert bool(COMMANDS[command](out)) is not failed
    else:
        COMMANDS[command](out)
        assert not failed


@pytest.mark.parametrize("version", recorded())
def test_a_cluster_without_a_quorum_by_each_version(version: str) -> None:
    situations = recorded()[version]
    well = situations["three members, all well"]
    (leader,) = {s.leader for s in parse_status(well["etcdctl endpoint status"]["out"])}
    assert leader in {m.id for m in parse_members(well["etcdctl member list"]["out"]).members}
    lonely = situations["two of three dead: no quorum"]
    (status,) = parse_status(lonely["etcdctl endpoint status"]["out"])
    assert (status.leader, status.errors) == (0, ("etcdserver: no leader",))
    assert parse_status(situations["one member dead"]["etcdctl endpoint status"]["out"]) == ()


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("text", ["", "7", '"x"', '[{"a":1}]', "Error: context deadline"])
def test_garbage_is_no_answer(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(AnswerError):
        parse(text)


@pytest.mark.parametrize("parse", [parse_members, parse_alarms])
def test_only_for_endpoints_null_is_an_answer(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(AnswerError):
        parse("null")


STATUS = '[{"Endpoint":"x","Status":%s}]'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        STATUS % '{"dbSize":NaN}',
        STATUS % '{"dbSize":-Infinity}',
        STATUS % '{"dbSize":1e3}',
        STATUS % '{"dbSize":true}',
        STATUS % '{"dbSize":"7"}',
        STATUS % '{"dbSize":-1}',
        STATUS % f'{{"dbSize":{1 << 63}}}',
        STATUS % f'{{"dbSize":{"9" * 5000}}}',
        STATUS % f'{{"leader":{1 << 64}}}',
        STATUS % f'{{"header":{{"cluster_id":{1 << 64}}}}}',
        STATUS % f'{{"header":{{"revision":{1 << 63}}}}}',
        STATUS % '{"header":{"revision":1,"revision":2}}',
        STATUS % '{"version":["3.5"]}',
        STATUS % '{"version":"3.5\\u001b[31m"}',
        STATUS % '{"errors":"no leader"}',
        STATUS % f'{{"errors":["{"x" * 1001}"]}}',
        STATUS % '{"isLearner":1}',
        STATUS % "null",
        json.dumps([{"Status": {}}] * 1001),
    ],
    ids=range(21),
)
def test_what_no_etcd_prints(text: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse_status(text)
    assert caught.value.message.isprintable() and len(caught.value.message) < 250


def test_the_largest_that_etcd_prints() -> None:
    (told,) = parse_status(STATUS % f'{{"leader":{(1 << 64) - 1},"dbSize":{(1 << 63) - 1}}}')
    assert (told.leader, told.db_size) == ((1 << 64) - 1, (1 << 63) - 1)
    hashed = '[{"Endpoint":"x","HashKV":{"header":{},"compact_revision":-1}}]'
    assert parse_hashkv(hashed)[0].compact_revision == -1


@given(st.text(alphabet='[]{}":,0a ') | st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["Status", "HashKV", "header", "members", "alarms", "ID", "leader"]), inner
    ),
).map(json.dumps))  # fmt: skip
def test_parsers_raise_nothing_else(text: str) -> None:
    for parse in PARSERS:
        with contextlib.suppress(AnswerError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("etcd Version: 3.5.16\nGit SHA: x\nGo Version: go1.24.0\n", "3.5.16"),
        ("etcdutl version: 3.5.1\nAPI version: 3.5\n", "3.5.1"),
        ("etcdctl version: 3.6.0-rc.1\nAPI version: 3.6", "3.6.0-rc.1"),
        ("3.5.30", "3.5.30"),
        ("sh: etcd: not found", ""),
        ("", ""),
    ],
)
def test_versions(text: str, version: str) -> None:
    assert parse_version(text) == version


def test_version_tuples() -> None:
    assert version_tuple("3.6.0-rc.1") == (3, 6, 0)
    assert version_tuple("3.5") == (3, 5, 0)
    assert version_tuple("unknown") is None


def test_varints() -> None:
    assert varint_fields(bytes([8, 0x96, 1, 16, 2])) == {1: 150, 2: 2}
    for bad in (bytes([8]), bytes([8, 0x80]), bytes([10, 1, 65]), bytes([8] + [0x80] * 12)):
        with pytest.raises(ValueError):
            varint_fields(bad)
