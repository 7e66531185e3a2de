"""Real files and answers for these tests; fixtures/README.md says how they were made."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from drctl.verdict import Gathered

FIXTURES = Path(__file__).parent / "fixtures"
TOKEN = "run-42"
CLUSTER = "c1bd19622b534587"
HOSTS = ("etcd-1", "etcd-2", "etcd-3")


@cache
def snapshot_bytes(name: str = "three-3.5.16") -> bytes:
    return gzip.decompress((FIXTURES / f"{name}.db.gz").read_bytes())


def write_snapshot(folder: Path, content: bytes | None = None, name: str = "snap.db") -> Path:
    path = folder / name
    path.write_bytes(snapshot_bytes() if content is None else content)
    return path


def real_answers() -> dict[str, dict[str, str]]:
    """{host: {answer name: JSON text}} of a healthy restored cluster."""
    loaded: dict[str, dict[str, str]] = json.loads(
        (FIXTURES / "restored-3.5.16.json").read_text("utf-8")
    )
    return loaded


@cache
def recorded() -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """{version: {situation: {command: {"out", "exit"}}}} of etcd's own programs."""
    loaded: dict[str, Any] = json.loads((FIXTURES / "recorded.json").read_text("utf-8"))
    return loaded


def lines(fields: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items())


MEMBERS: dict[str, dict[str, Any]] = {
    f"etcd-{n}": {
        "name": f"etcd-127.0.71.{n}",
        "peer_urls": (f"http://127.0.71.{n}:2380",),
        "client_urls": (f"http://127.0.71.{n}:2379",),
        "data_dir": "/var/lib/etcd",
        "wal_dir": None,
        "owner": None,
    }
    for n in (1, 2, 3)
}


def gathered(
    reports: dict[str, dict[str, str]],
    *,
    silent: dict[str, str] | None = None,
    snapshot: dict[str, Any] | None = None,
    values: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> Gathered:
    facts: dict[str, Any] = {"members": MEMBERS}
    if snapshot is not None:
        facts["snapshot"] = snapshot
    return Gathered(
        answers={host: lines(report) for host, report in reports.items()},
        silent=silent or {},
        facts=facts,
        values=values or {},
        options=options or {},
    )
