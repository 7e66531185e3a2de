"""Inventories to vary: one line changed, or lines added, and the faults that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drctl.errors import InvalidInput
from drctl.inventory import load_inventory

GOOD = """\
cluster: prod
layout: kubeasz
defaults: {user: ops}
hosts:
  m1: {address: 10.0.0.11}
  m2: {address: 10.0.0.12}
  m3: {address: 10.0.0.13}
  w1: {address: 10.0.0.21}
groups:
  etcd: [m1, m2, m3]
  control_plane: [m1, m2, m3]
  workers: [w1]
"""

Write = Callable[[str], Path]
Faults = Callable[[str], list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the text as inv.yaml."""

    def write(text: str) -> Path:
        path = tmp_path / "inv.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def faults(write: Write) -> Faults:
    """The faults of an inventory as `line: path: message`, the file's name checked and dropped."""

    def faults(text: str) -> list[str]:
        path = write(text)
        with pytest.raises(InvalidInput) as caught:
            load_inventory(path)
        texts = [str(fault) for fault in caught.value.faults]
        assert texts
        assert all(text.startswith(f"{path}:") and text in str(caught.value) for text in texts)
        return [text.removeprefix(f"{path}:") for text in texts]

    return faults
