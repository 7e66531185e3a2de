"""Open questions of `drctl inventory discover`, in a file that is else a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.inventory import load_inventory

TEXT = """\
cluster: prod
layout: none
hosts: {m1: {address: 10.0.0.11}, m2: {address: 10.0.0.12}}
groups: {etcd: [m1, m2]}
etcd:
  peer_url: "http://{address}:2380"
  client_url: "http://{address}:2379"
  # QUESTION: which is its --data-dir?
  data_dir: DATA
  # QUESTION: no etcd runs: which directory has its programs?
  # bin_dir: /usr/bin  # seen
# QUESTION: what else uses this etcd?
"""


def loaded(tmp_path: Path, data: str, text: str = TEXT) -> tuple[str, ...]:
    path = tmp_path / "inventory.yaml"
    path.write_text(text.replace("DATA", data))
    return load_inventory(path).warnings


def test_an_unknown_value_is_told_by_its_question_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        loaded(tmp_path, '"?"')
    (fault,) = caught.value.faults
    assert (fault.line, fault.path) == (9, "etcd.data_dir")
    said = "open question: which is its --data-dir? (write the answer in place of the '?')"
    assert fault.message == said


def test_where_a_question_mark_would_be_a_value_it_is_none(tmp_path: Path) -> None:
    """A command may be any text: that one is nobody's."""
    text = TEXT.replace("groups:", "services: {etcd: {units: [etcd], ready: '?'}}\ngroups:")
    with pytest.raises(InvalidInput, match=r"services\.etcd\.ready: not known yet"):
        loaded(tmp_path, "/var/lib/etcd", text)


def test_what_can_wait_is_a_warning(tmp_path: Path) -> None:
    warnings = [each.partition("inventory.yaml:")[2] for each in loaded(tmp_path, "/var/lib/etcd")]
    asked = [each for each in warnings if "open question: " in each]
    assert [each.partition(": open question: ")[2].partition(" (remove")[0] for each in asked] == [
        "which is its --data-dir?",
        "no etcd runs: which directory has its programs?",
        "what else uses this etcd?",
    ]
