"""Copies of the data that a killed backup left, on nodes and here: each holds every Secret of the
cluster, so the next command finds it, says so, and removes it where it may change anything.

No one else's copy is touched. On this machine a running backup holds a lock on its directory. On a
node its copy says how long it may be at work (by that node's clock), which no backup outlives; one
that was made from this machine, by a process that is gone, need not be waited for.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from drctl.errors import DrctlError, StepFailed
from drctl.journal.chain import Journal
from drctl.journal.runstate import Event
from drctl.plan.model import Plan
from drctl.render import render_script
from drctl.transport import Transport
from drctl.ui.console import tell

SWEEP_SECONDS = 30.0
BACKUP_SECONDS = 900.0
"""How long saving, and then fetching, a copy may take."""

HELD_SECONDS = int(BACKUP_SECONDS) + 100
"""How long a copy on a node may belong to a running backup, from when saving or fetching began."""


# -- on nodes -----------------------------------------------------------------------------------


@contextmanager
def swept(
    transport: Transport,
    plan: Plan,
    journal: Journal,
    *,
    remove: bool,
    gone: Iterable[str] = (),
) -> Iterator[None]:
    """Afterwards, even after an error, the hosts that answered are swept; a dead one is not waited
    for again."""

    def tell_all() -> None:
        hosts = {host: plan.work_dirs[host] for host in _answering(journal.events)}
        for line in sweep(transport, hosts, gone=gone, remove=remove):
            tell(line)

    try:
        yield
    except DrctlError:
        tell_all()
        raise
    tell_all()


def _answering(events: Sequence[Event]) -> set[str]:
    """The hosts that answered in the last session."""
    hosts: dict[str, bool] = {}
    for event in reversed(events):
        if event.kind == "session":
            break
        if event.kind == "result":
            hosts.setdefault(event.body["host"], event.body["state"] == "done")
    return {host for host, answered in hosts.items() if answered}


def sweep(
    transport: Transport,
    work_dirs: Mapping[str, str],
    *,
    gone: Iterable[str] = (),
    remove: bool,
) -> list[str]:
    """What is left on these hosts, a line for each copy; with `remove` it is gone afterwards.

    `gone` names backups that are known to be dead. Never raises: a host that does not answer, or
    cannot remove its copy, is one that the next command asks again.
    """
    script = render_script("backup/sweep", None, held_seconds=HELD_SECONDS)
    shared = {"DRCTL_GONE": " ".join(gone), "DRCTL_REMOVE": "yes" if remove else ""}

    def look(host: str) -> list[str]:
        env = {**shared, "DRCTL_WORK": work_dirs[host], "DRCTL_HOST": host}
        try:
            told = transport.run(host, script, env, deadline=SWEEP_SECONDS)
        except DrctlError:
            return []
        lines = [x.removeprefix("left:") for x in told.stdout.splitlines() if x[:5] == "left:"]
        found = [_sentence(host, work_dirs[host], line, remove) for line in lines[:MANY]]
        if not told.ok:
            found.append(f"{host}: cannot remove what a backup left there: {_last(told.stderr)}")
        return found

    with ThreadPoolExecutor(max_workers=max(1, min(8, len(work_dirs)))) as pool:
        return [line for lines in pool.map(look, work_dirs) for line in lines]


MANY = 20  # copies on one host that are named


def _sentence(host: str, work_dir: str, told: str, removed: bool) -> str:
    size, _, who = told.partition(" ")
    kilobytes = f"{size[:12]} kB" if size.isdigit() else "of unknown size"
    what = f"a copy of all data ({kilobytes}) that a backup of {who[:80] or 'someone'} left"
    if removed:
        return f"{host}: removed from {work_dir}/backup: {what}"
    return f"{host}: in {work_dir}/backup: {what}; the next `drctl backup` removes it"


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1][-200:]


# -- here ---------------------------------------------------------------------------------------


@contextmanager
def workplace(folder: Path) -> Iterator[tuple[str, Path]]:
    """(a name for this backup, the file to fetch into), in a folder of its own, 0700 and locked
    for as long as the block runs; then removed, with what is still there."""
    name = secrets.token_hex(4)
    place = folder / f".drctl-{name}.part"
    try:
        place.mkdir(mode=0o700)
        lock = os.open(place / "lock.new", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (place / "lock.new").rename(place / "lock")  # held before anyone can find it
    except OSError as error:
        raise StepFailed(f"{place} cannot be created on this machine: {error.strerror}") from error
    try:
        yield f"backup-{name}", place / "snapshot.db"
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


def clear(folder: Path) -> tuple[list[str], list[str]]:
    """Remove what dead backups into `folder` left in it; (their names, a line for each)."""
    names, said = [], []
    for place in sorted(folder.glob(".drctl-*.part")):
        with suppress(OSError):
            if place.lstat().st_uid == os.geteuid() and _is_dead(place):
                shutil.rmtree(place)
                names.append(f"backup-{place.name.removeprefix('.drctl-').removesuffix('.part')}")
                said.append(f"removed what a killed backup left: {place}")
    return names, said


def _is_dead(place: Path) -> bool:
    """Whether this is a backup's folder, and no backup works there."""
    if place.is_symlink() or not place.is_dir():
        return False
    try:
        lock = os.open(place / "lock", os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # killed before it was made, or at the end of a removal
        return time.time() - place.stat().st_mtime > HELD_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
