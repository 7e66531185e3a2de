"""A snapshot for the model: its facts only; the simulated nodes never open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def snapshot_facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = Path(tmp_path_factory.mktemp("model")) / "snap.db"
    path.write_bytes(b"the model uploads nothing of this")
    return {
        "path": str(path),
        "size": 20512,
        "sha256": "5" * 64,
        "revision": 90,
        "members": [],
        "alarms": [],
        "auth_enabled": False,
        "cluster_version": "3.5.0",
        "storage_version": "",
        "taken_at": "2026-11-23T00:00:00Z",
        "taken_at_proven": True,
        "age_seconds": 60,
        "cluster_id": "",
        "etcd_version": "",
    }
