"""A backup in its simplest honest form: saved on one healthy member, verified there, fetched,
verified here, and given its name last."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drctl.answer import Answer, parse
from drctl.engine.jobs import UNSAFE
from drctl.errors import DrctlError, NotWritten, Refused, StepFailed, UsageError
from drctl.etcd.complaints import is_refused
from drctl.etcd.judges.access import ANOTHER
from drctl.etcd.sidecar import write_sidecar
from drctl.etcd.snapshot import inspect_snapshot, sidecar_of
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.plan.planner import host_context
from drctl.render import render_script
from drctl.runs.basis import Basis
from drctl.runs.controller import Controller
from drctl.runs.look import look
from drctl.runs.stray_copies import BACKUP_SECONDS, HELD_SECONDS, clear, workplace
from drctl.runs.unfinished import unfinished_runs
from drctl.transport import MOST, Transport
from drctl.ui.console import tell


class _Unsafe(Refused):
    """A place on the node that someone else can change: there is no copy to remove."""


def backup(
    controller: Controller, inventory: Inventory, folder: Path, *, anyway: bool = False
) -> dict[str, Any]:
    """Back up into `folder` (created 0700 if absent); returns path, size, sha256, revision and
    warnings. `anyway`: even while a run of the cluster is unfinished, which the sidecar tells then.

    Raises UsageError where `folder` cannot be one, Refused when a run is unfinished, no member is
    healthy or a place on the chosen one is not safe, StepFailed or InvalidInput when a verification
    of the saved file fails, NotWritten where the disk here is full; nothing with the name of a
    snapshot is left behind then.
    """
    _refuse_unusable(folder)
    gone, said = clear(folder)
    for line in said:
        tell(line)
    plan = Basis.new(inventory, "before-backup").plan(inventory)
    state = look(controller, inventory, plan, remove=True, gone=gone)
    status = state.values
    unfinished, doubts = _unfinished(controller, inventory, state, anyway=anyway)
    healthy = [m for m in status["members"] if m["healthy"]]
    _refuse_none(inventory, status["members"], healthy)
    chosen = min(healthy, key=lambda m: bool(m["leader"]))  # prefer a follower: it has less to do
    try:
        made = _taken(controller, inventory, folder, chosen, status["cluster_id"], unfinished)
    except OSError as error:
        raise NotWritten(
            f"the backup could not be written to {folder}: {error.strerror}",
            hint="make room there, or give another --to",
        ) from error
    return {**made, "warnings": [*doubts, *made["warnings"]]}


def _taken(
    controller: Controller,
    inventory: Inventory,
    folder: Path,
    chosen: Mapping[str, Any],
    cluster_id: str,
    unfinished: Sequence[str],
) -> dict[str, Any]:
    """The backup of the member `chosen`, a row of `drctl status`. Raises OSError as well."""
    host = chosen["host"]
    taken_at = datetime.now(UTC)
    with (
        workplace(folder) as (run, part),
        closing(controller.connect(inventory)) as transport,
    ):
        env = {"DRCTL_RUN": run, "DRCTL_WHO": controller.who, **_place(inventory, host)}
        saved, warnings = _save_and_fetch(transport, inventory, env, part)
        found = inspect_snapshot(part)
        there = saved.hexadecimal("sha256", 64)
        if found.sha256 != there:
            raise StepFailed(
                f"the fetched copy differs: sha256 {found.sha256}, on the node {there}",
                host=host,
                hint="try again",
            )
        sidecar = sidecar_of(
            found,
            taken_at=taken_at,
            cluster_id=cluster_id,
            etcd_version=chosen["version"],
            unfinished_runs=tuple(unfinished),
            host=host,
        )
        target = _free_name(folder, inventory.cluster, taken_at)
        write_sidecar(target, sidecar)  # first: a snapshot with its name has its sidecar
        part.rename(target)
        _sync_folder(folder)
    return {
        "path": str(target),
        "size": found.size,
        "sha256": found.sha256,
        "revision": found.revision,
        "host": host,
        "taken_at": taken_at.isoformat(),
        "unfinished_runs": [*unfinished],
        "warnings": warnings,
    }


def _refuse_unusable(folder: Path) -> None:
    """Before the cluster is asked for anything."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = "it is no directory" if isinstance(error, FileExistsError) else error.strerror
        hint = "give a directory that can be written: --to DIR"
        raise UsageError(f"cannot save to {folder}: {why}", hint=hint) from error


def _unfinished(
    controller: Controller, inventory: Inventory, state: RunState, *, anyway: bool
) -> tuple[list[str], list[str]]:
    """(the runs of the cluster that are unfinished, warnings). Raises Refused for one, unless
    `anyway`."""
    found, warnings = unfinished_runs(controller, inventory, state.values["holders"])
    told = [line for lines in found.values() for line in lines]
    if found and not anyway:
        raise Refused(
            "\n  ".join(
                [
                    "a run of this cluster is unfinished: what is saved now may be half "
                    "restored, or of members that no Kubernetes uses",
                    *told,
                ]
            ),
            hint="resume it or roll it back where it was started (elsewhere, first: drctl runs "
            "adopt), then back up; to back up all the same, and have the backup say so: --anyway",
        )
    warnings += [f"{line}: the backup is marked with it" for line in told]
    return [*found], [*warnings, *(w for w in state.warnings if "a run is unfinished" in w)]


def _refuse_none(
    inventory: Inventory, members: Sequence[Mapping[str, Any]], healthy: Sequence[Mapping[str, Any]]
) -> None:
    """Where nobody would give a snapshot: with the reason of each, as `drctl status` has it."""
    refusing = [m for m in healthy if is_refused(m["reason"] or "")]
    if healthy and not refusing:
        return
    reasons = [f"{m['host'] or m['name']}: {m['reason']}" for m in members if m["reason"]]
    raise Refused(
        "\n  ".join(["no healthy member to back up", *reasons]),
        hint=ANOTHER if refusing else f"drctl status -i {inventory.path}",
    )


def _place(inventory: Inventory, host: str) -> dict[str, str]:
    return {"DRCTL_HOST": host, "DRCTL_WORK": inventory.hosts[host].work_dir}


def _save_and_fetch(
    transport: Transport, inventory: Inventory, env: Mapping[str, str], part: Path
) -> tuple[Answer, list[str]]:
    """(what the node reported of the file that `part` is a copy of, warnings)."""
    host, run = env["DRCTL_HOST"], env["DRCTL_RUN"]
    context = host_context(inventory, host)
    save = render_script("backup/save", None, held_seconds=HELD_SECONDS, **context)
    try:
        result = transport.run(host, save, env, deadline=BACKUP_SECONDS)
        if result.status == UNSAFE:  # said before anything is saved
            raise _Unsafe(
                f"nothing was saved: {result.stderr.strip()[-500:]}",
                host=host,
                hint="fix that on this host, then run the same command again",
            )
        if not result.ok:
            raise StepFailed(
                f"the snapshot could not be saved: {result.stderr.strip()[-500:]}",
                host=host,
                hint=f"drctl status -i {inventory.path}",
            )
        saved = parse(result.stdout, host)
        file = saved.one_of("file", f"{env['DRCTL_WORK']}/backup/{run}/snapshot.db")
        size = saved.number("size", most=MOST)
        transport.download(host, file, part, deadline=BACKUP_SECONDS, limit=size)
    except _Unsafe:
        raise
    except BaseException as error:
        left = _remove(transport, host, env)
        if left and isinstance(error, DrctlError):
            error.message = "\n".join([error.message, *left])  # what went wrong first stands first
        raise
    return saved, _remove(transport, host, env)


def _remove(transport: Transport, host: str, env: Mapping[str, str]) -> list[str]:
    """Remove the copy on the node; what to say where that fails, or the result is unknown."""
    try:
        result = transport.run(host, render_script("backup/remove"), env, deadline=60.0)
        why = "" if result.ok else result.stderr.strip()[-200:] or f"status {result.status}"
    except DrctlError as error:
        why = error.message
    where = f"{env['DRCTL_WORK']}/backup/{env['DRCTL_RUN']}"
    left = f"{host}: a copy with every Secret may be left in {where}: {why}"
    return [f"{left}; the next `drctl backup` removes it"] if why else []


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
