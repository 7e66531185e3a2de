"""How many hosts at once, and how many connections this machine has room for."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drctl.errors import Refused
from drctl.inventory import Inventory, load_inventory
from drctl.runs.controller import SPARE_FILES, Controller, over_ssh

INVENTORY = """
cluster: c
layout: kubeasz
hosts: {{a: {{address: 127.0.0.9}}}}
groups: {{etcd: [a], control_plane: [a]}}
options: {{{options}}}
"""


def inventory(folder: Path, options: str = "") -> Inventory:
    path = folder / "inventory.yaml"
    path.write_text(INVENTORY.format(options=options))
    return load_inventory(path)


@pytest.mark.parametrize(
    ("options", "typed", "at_once"),
    [("", None, 64), ("parallel: 3", None, 3), ("parallel: 3", 5, 5), ("", 1, 1)],
)
def test_what_is_typed_beats_the_inventory(
    tmp_path: Path, options: str, typed: int | None, at_once: int
) -> None:
    controller = Controller(tmp_path, lambda *_: None, lambda _: False, parallel=typed)
    assert controller.at_once(inventory(tmp_path, options)) == at_once


@pytest.fixture
def limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def hosts(count: int) -> Inventory:
    named: Any = {f"h{number}": SimpleNamespace(jump=None) for number in range(count)}
    return cast(Inventory, SimpleNamespace(hosts=named, known_hosts=None))


@pytest.mark.usefixtures("limit")
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SPARE_FILES, hard))
    over_ssh(hosts(300)).close()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (SPARE_FILES + 300, hard)


def test_more_hosts_than_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 512))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("nothing is changed"))
    with pytest.raises(Refused, match="400 hosts need 600 open files; this process may have 512"):
        over_ssh(hosts(400))
