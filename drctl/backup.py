"""A backup in its simplest honest form: saved on one healthy member, verified there, fetched,
verified here, and given its name last."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drctl.answer import Answer, parse
from drctl.app import App
from drctl.errors import Refused, StepFailed
from drctl.etcd.sidecar import write_sidecar
from drctl.etcd.snapshot import inspect_snapshot, sidecar_of
from drctl.inventory import Inventory
from drctl.planner import host_context
from drctl.render import render_script
from drctl.runbook import load_runbook
from drctl.transport import MOST, Transport

SAVE_SECONDS = 900.0


def take_backup(app: App, inventory: Inventory, folder: Path) -> dict[str, Any]:
    """Back up into `folder` (made 0700 if absent); returns path, size, sha256 and revision.

    Raises Refused when no member is healthy, StepFailed or InvalidInput when a verification of
    the saved file fails; nothing with the name of a snapshot is left behind then.
    """
    status = app.check(inventory, app.plan(inventory, load_runbook("status"))).values
    healthy = [m for m in status["members"] if m["healthy"]]
    if not healthy:
        raise Refused("no healthy member to back up", hint=f"drctl status -i {inventory.path}")
    chosen = min(healthy, key=lambda m: bool(m["leader"]))  # rather a follower: it has less to do
    member = next(m for m in inventory.members if m.name == chosen["name"])
    taken_at = datetime.now(UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f".drctl-{secrets.token_hex(4)}.part"
    transport = app.transport(inventory)
    try:
        saved = _save_and_fetch(transport, inventory, member.host, part)
        found = inspect_snapshot(part)
        if found.sha256 != saved["sha256"]:
            raise StepFailed(
                f"the fetched copy differs: sha256 {found.sha256}, on the node {saved['sha256']}",
                host=member.host,
                hint="try again",
            )
        sidecar = sidecar_of(
            found,
            taken_at=taken_at,
            cluster_id=status["cluster_id"],
            etcd_version=chosen["version"],
            host=member.host,
        )
        target = _free_name(folder, inventory.cluster, taken_at)
        write_sidecar(target, sidecar)  # first: a snapshot with its name has its sidecar
        part.rename(target)
        _sync_folder(folder)
    finally:
        part.unlink(missing_ok=True)
        transport.close()
    return {
        "path": str(target),
        "size": found.size,
        "sha256": found.sha256,
        "revision": found.revision,
        "host": member.host,
        "taken_at": taken_at.isoformat(),
    }


def _save_and_fetch(transport: Transport, inventory: Inventory, host: str, part: Path) -> Answer:
    run = f"backup-{secrets.token_hex(4)}"
    env = {"DRCTL_RUN": run, "DRCTL_WORK": inventory.hosts[host].work_dir, "DRCTL_HOST": host}
    save = render_script("backup/save", None, **host_context(inventory, host))
    try:
        result = transport.run(host, save, env, deadline=SAVE_SECONDS)
        if not result.ok:
            raise StepFailed(
                f"the snapshot could not be saved: {result.stderr.strip()[-500:]}",
                host=host,
                hint=f"drctl status -i {inventory.path}",
            )
        saved = parse(result.stdout, host)
        file = saved.one_of("file", f"{env['DRCTL_WORK']}/backup/{run}/snapshot.db")
        size = saved.number("size", most=MOST)
        transport.download(host, file, part, deadline=SAVE_SECONDS, limit=size)
    finally:
        transport.run(host, render_script("backup/remove"), env, deadline=60.0)
    return saved


def _free_name(folder: Path, cluster: str, taken_at: datetime) -> Path:
    name = f"{cluster}-{taken_at:%Y%m%d-%H%M%S}"
    candidates = (
        folder / f"{name}{suffix}.db" for suffix in ("", *(f"-{n}" for n in range(1, 100)))
    )
    return next(path for path in candidates if not path.exists())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
