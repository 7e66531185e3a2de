"""Secrets stay where they are: canaries in every place that can hold one, then a search of all
that a restore leaves and says, and of the process lists while it runs."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drctl.lab import data, layout, local
from drctl.lab.layout import Lab
from tests.lab.conftest import quiet
from tests.operator import Operator

pytestmark = pytest.mark.lab
EVERY = 0.005  # seconds between two looks at the process lists


def canary(where: str) -> str:
    return f"canary-{where}-{secrets.token_hex(12)}"


def lines_of(key: Path) -> list[str]:
    """The secret part of a PEM file, line by line."""
    return [line for line in key.read_text().splitlines() if len(line) > 40]


@dataclass
class Sampler:
    """Looks at all processes and at the staging folders until told to stop."""

    lab: Lab
    canaries: dict[str, bytes]
    samples: int = 0
    found: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    open_to_others: set[str] = field(default_factory=set)

    def look(self) -> None:
        self.samples += 1
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                self._look_at(process)
        for host in self.lab.hosts:
            self._modes(host.data_dir.with_name("etcd.drctl"))
            self._modes(host.work_dir)

    def _look_at(self, process: Path) -> None:
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:  # it ended, or it is not ours
            return
        self.seen |= {word for word in ("restore", "drctl-job") if word.encode() in command}
        for name, secret in self.canaries.items():
            if secret in command:
                self.found.add(f"{name} among the arguments of {command[:200]!r}")
            # The operator's own variables are the operator's; no process of a node has them.
            if secret in environment and b"DRCTL_STATE_DIR=" not in environment:
                self.found.add(f"{name} in the environment of {command[:200]!r}")

    def _modes(self, folder: Path) -> None:
        """What lies there must be closed, or lie in a closed folder."""
        try:
            entries = list(folder.iterdir())
        except OSError:
            return
        for path in entries:
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue
            if stat.S_ISDIR(mode) and mode & 0o077 and path.name != "fence":
                self.open_to_others.add(f"{path} {mode:o}")
            if stat.S_ISREG(mode) and mode & 0o077 and path.parent.stat().st_mode & 0o077:
                self.open_to_others.add(f"{path} {mode:o}")


@contextmanager
def sampled(sampler: Sampler) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.wait(EVERY):
            sampler.look()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def lab(tmp_path: Path, etcd_dir: Path) -> Iterator[Lab]:
    directory = tmp_path / "lab"
    local.up(directory, members=1, etcd=etcd_dir, keys=20, value_size=64, say=quiet)
    yield layout.require(directory)
    local.down(directory, quiet)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The operator's shell closes nothing by itself."""
    old = os.umask(0)
    yield
    os.umask(old)


def plant(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A canary in each place that can hold a secret."""
    canaries = {place: canary(place) for place in ("etcd", "environment", "password", "inventory")}
    with data.gateway(lab.hosts[0]) as gateway:
        value = canaries["etcd"].encode()
        gateway.put_all((f"/registry/secrets/lab/{n}", value * (n + 1)) for n in range(20))
    monkeypatch.setenv("DRCTL_TEST_CANARY", canaries["environment"])
    monkeypatch.setenv("ETCDCTL_PASSWORD", canaries["password"])
    with lab.inventory.open("a") as file:
        file.write(f"\n# the machines' root password: {canaries['inventory']}\n")
    keys = {"ssh key": lab.key, "tls key": lab.hosts[0].key}
    for name, key in keys.items():
        canaries |= {f"{name} {n}": line for n, line in enumerate(lines_of(key))}
    return canaries


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def test_no_secret_leaves_its_place(
    lab: Lab, tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = plant(lab, monkeypatch)
    assert len(canaries) > 6
    operator = Operator(lab.inventory, tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    assert canaries["etcd"].encode() in snapshot.read_bytes()
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600

    page = tmp_path / "run.html"
    sampler = Sampler(lab, {name: value.encode() for name, value in canaries.items()})
    with sampled(sampler):
        said = [
            operator.restore(snapshot, "--replace-healthy", "--dry-run", "--output", "json"),
            operator.types("-vv", "restore", *operator.on, "--snapshot", str(snapshot), "--yes"),
            operator.restore(snapshot, "--replace-healthy", die="effect swap"),
            operator.resume(),
            operator.types("runs", "show", *operator.on),
            operator.types("runs", "show", *operator.on, "--output", "json"),
            operator.types("verify", *operator.on, "--output", "json"),
            operator.types("runs", "report", *operator.on, "--output", "json", "--html", str(page)),
        ]
    assert [ended.returncode for ended in said] == [0, 4, -9, 0, 0, 0, 0, 0], said[-5].stderr
    assert sampler.samples > 50
    assert sampler.seen == {"restore", "drctl-job"}, "the sampler did not see what ran"
    assert sampler.found == set()
    assert sampler.open_to_others == set()

    told = [ended.stdout + ended.stderr for ended in said]
    host = lab.hosts[0]
    left = [page, *files_below(tmp_path / "state", host.work_dir, host.log_dir)]
    assert any(path.name == "journal.sqlite" for path in left)
    assert any(path.name == "manifest.json" for path in left)
    for name, secret in canaries.items():
        assert not any(secret in text for text in told), f"{name} was printed"
        assert [p for p in left if secret.encode() in p.read_bytes()] == [], name

    for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
