"""`drctl backup` of a cluster in which the member that is asked lies about what it saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from drctl.transport import CommandResult, Script
from tests.etcd.samples import snapshot_bytes
from tests.support.bench import Bench


@pytest.mark.parametrize(
    ("said", "why", "fetched"),
    [
        ("file=/etc/shadow\nsha256={sha}\n", "file is '/etc/shadow', not ", 0),
        ("file={file}/../../../owner\nsha256={sha}\n", "file is ", 0),
        ("sha256={sha}\n", "file is missing", 0),
        ("file={file}\nfile=/etc/shadow\n", "file is given twice", 0),
        ("file={file}\n", "the fetched copy differs", 1),
        ("file={file}\nsha256=\x1b[31m\n", "the control character 0x1b", 0),
        ("file={file}\nsha256=$(id)\n", "sha256 is '$(id)', not 64 hexadecimal digits", 1),
    ],
)
def test_a_node_is_asked_for_what_it_saved_and_nothing_else(
    bench: Bench, said: str, why: str, fetched: int
) -> None:
    rig, folder, fetches = bench.rig, bench.folder / "backups", []
    usual = rig.run

    def run(
        host: str, script: Script, env: Mapping[str, str] | None = None, *, deadline: float
    ) -> CommandResult:
        if script.name in ("backup/sweep", "backup/remove"):
            return CommandResult(0, "")
        if script.name != "backup/save":
            return usual(host, script, env, deadline=deadline)
        known = env or {}
        file = f"{known['DRCTL_WORK']}/backup/{known['DRCTL_RUN']}/snapshot.db"
        size = f"size={len(snapshot_bytes())}\n"
        return CommandResult(0, said.format(file=file, sha="0" * 64) + size)

    def download(_host: str, source: str, target: Path, **_: object) -> None:
        fetches.append(source)
        target.write_bytes(snapshot_bytes())

    bench.monkeypatch.setattr(rig, "run", run)
    bench.monkeypatch.setattr(rig, "download", download)
    ended = bench.drctl("backup", "--inventory", bench.inventory, "--to", folder)
    assert ended.exit == 5 and why in ended.err
    assert len(fetches) == fetched
    assert all(re.fullmatch(r"/\S+/backup/backup-[0-9a-f]{8}/snapshot.db", f) for f in fetches)
    assert list(folder.iterdir()) == []
