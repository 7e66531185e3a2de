"""Inventories and the hosts that differ from them in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drctl.inventory import Inventory, load_inventory
from drctl.plan.claims import inventory_facts
from drctl.reading import JUDGES
from drctl.verdict import Gathered, Verdict
from tests.support.readings import as_claimed

TEXT = """\
cluster: prod
layout: kubeasz
hosts:
  m1: {address: 10.0.0.11}
  m2: {address: 10.0.0.12}
  m3: {address: 10.0.0.13}
  w1: {address: 10.0.0.21}
groups:
  etcd: [m1, m2, m3]
  control_plane: [m1, m2]
  workers: [w1]
"""


@pytest.fixture
def prod(tmp_path: Path) -> Inventory:
    return inventory_of(tmp_path, TEXT)


def inventory_of(folder: Path, text: str) -> Inventory:
    path = folder / "prod.yaml"
    path.write_text(text)
    return load_inventory(path)


def judge(
    inventory: Inventory,
    answers: Mapping[str, str],
    *,
    judge: str = "reading.fits_inventory",
    options: Mapping[str, Any] | None = None,
    size: int | None = None,
    silent: Mapping[str, str] | None = None,
) -> Verdict:
    """All hosts as claimed, but for `answers`."""
    silent = silent or {}
    said = {h: as_claimed(inventory, h) for h in inventory.hosts if h not in silent}
    facts = inventory_facts(inventory)
    if size is not None:
        facts["snapshot"] = {"size": size}
    return JUDGES[judge](Gathered({**said, **answers}, silent, facts, {}, options or {}))
