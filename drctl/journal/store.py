"""The runs of all clusters on this machine.

STATE_DIR/seal.key                         0600; seals a run's secrets (`drctl.plan.secrets`)
STATE_DIR/<cluster>/lock                   held while a controller works on this cluster
STATE_DIR/<cluster>/<run>/journal.sqlite   0600 in a 0700 folder
"""

from __future__ import annotations

import fcntl
import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TextIO

from drctl.errors import LockHeld, OtherVersion, Refused
from drctl.journal.chain import Journal, Reading, now, read, unwritable
from drctl.journal.runstate import RunState, fold


def operator() -> str:
    """user@machine, for locks and journals."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _private(path: Path) -> TextIO:
    """`path` open to read and append, made 0600 if absent."""
    try:
        return os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "a+")
    except OSError as error:
        raise unwritable(path, error) from error


@dataclass(frozen=True)
class Store:
    """The folder that holds the runs of all clusters."""

    folder: Path

    def cluster_folder(self, cluster: str) -> Path:
        path = self.folder / cluster
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritable(path, error) from error
        return path

    def key(self) -> bytes:
        """The key of this machine's seals (`drctl.plan.secrets`), made where there is none."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "seal.key"
        with _private(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if not (key := file.read().strip()):
                key = secrets.token_hex(32)
                file.write(key + "\n")
                file.flush()
                os.fsync(file.fileno())
        return bytes.fromhex(key)

    @contextmanager
    def lock(self, cluster: str, who: str) -> Iterator[None]:
        """Hold the cluster's lock on this machine; LockHeld names who holds it, and since when."""
        path = self.cluster_folder(cluster) / "lock"
        with _private(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise LockHeld(
                    f"another drctl is working on {cluster}: {holder}",
                    hint="wait for it, or stop it and resume: drctl runs list",
                ) from None
            file.truncate(0)
            file.write(f"{who}, process {os.getpid()}, since {now():%Y-%m-%dT%H:%M:%SZ}\n")
            file.flush()
            yield

    def create(self, cluster: str, run: str) -> Journal:
        folder = self.cluster_folder(cluster) / run
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise unwritable(folder, error) from error
        return Journal(folder / "journal.sqlite")

    def open_new(self, cluster: str, run: str) -> Journal:
        """A new journal in the folder of a run whose own was set aside."""
        return Journal(self.folder / cluster / run / "journal.sqlite")

    def set_aside(self, cluster: str, run: str) -> Path:
        """Rename a run's journal that counts no more; returns where it is kept."""
        path = self.folder / cluster / run / "journal.sqlite"
        kept = next(
            p for n in count(1) if not (p := path.with_name(f"journal.sqlite.aside-{n}")).exists()
        )
        for suffix in ("", "-journal"):  # SQLite's own, after a kill in the middle of a write
            if (part := path.with_name(path.name + suffix)).exists():
                part.rename(kept.with_name(kept.name + suffix))
        return kept

    def runs(self, cluster: str | None = None) -> list[tuple[str, str]]:
        """(cluster, run) of every run, oldest first."""
        found = self.folder.glob(f"{cluster or '*'}/*/journal.sqlite")
        names = [(path.parent.parent.name, path.parent.name) for path in found]
        return sorted(names, key=lambda pair: pair[1])

    def open(self, cluster: str, run: str) -> Journal:
        path = self.folder / cluster / run / "journal.sqlite"
        if not path.is_file():
            raise Refused(
                f"run {run} of {cluster} is not known on this machine",
                hint="list the runs: drctl runs list; if it ran from another machine, first: "
                f"drctl runs adopt {run} --inventory INVENTORY",
            )
        return Journal(path)

    def read(self, cluster: str, run: str) -> Reading:
        """The run's events as far as they can be believed; it writes nothing."""
        return read(self.folder / cluster / run / "journal.sqlite")

    def holder(self, cluster: str) -> str:
        """Who works on the cluster from this machine right now; "" where nobody does."""
        try:
            with (self.folder / cluster / "lock").open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read().strip() or "another process"
        except FileNotFoundError:
            pass
        return ""

    def state(self, cluster: str, run: str) -> RunState:
        with closing(self.open(cluster, run)) as journal:
            return fold(journal.events)

    def latest(
        self,
        cluster: str,
        *,
        changed: bool = False,
        pass_over: Callable[[OtherVersion], None] | None = None,
    ) -> RunState | None:
        """The latest run, or with `changed` the latest that meant to change any node. Raises
        OtherVersion for one that another drctl wrote, unless `pass_over` takes note of it."""
        for pair in reversed(self.runs(cluster)):
            try:
                state = self.state(*pair)
            except OtherVersion as error:
                if pass_over is None:
                    raise
                pass_over(error)
            else:
                if state.changed or not changed:
                    return state
        return None
