"""Secrets stay where they are: canaries in every place that can hold one, then a search of all
that every command leaves and says, and of the process lists while they run."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from drctl.cli import cli
from drctl.lab import data, layout
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from tests.support.labs import quiet
from tests.support.operator import Operator

pytestmark = pytest.mark.lab
PLACES = ("etcd", "environment", "password", "inventory", "secret")
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
    driver.up(directory, members=1, etcd=etcd_dir, keys=20, value_size=64, say=quiet)
    yield layout.require(directory)
    driver.down(directory, quiet)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The operator's shell closes nothing by itself."""
    old = os.umask(0)
    yield
    os.umask(old)


def plant(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A canary in each place that can hold a secret."""
    canaries = {place: canary(place) for place in PLACES}
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


OWN = """\
runbook: own
title: by hand
source: our wiki
phases:
- title: open
  steps:
  - {id: open, title: open the vault, hosts: etcd, run: vault}
"""
TEMPLATES = {
    # What it says of itself repeats the secret; on its node it keeps none of it.
    "vault/observe.sh.j2": """\
echo "note=opened with {{ value('password') }}"
if [ -e "$DRCTL_WORK/$DRCTL_RUN/opened" ]; then echo state=after; else echo state=before; fi
""",
    "vault/act.sh.j2": """\
sleep 1
printf %s "{{ value('password') }}" | sha256sum > "$DRCTL_WORK/$DRCTL_RUN/opened"
""",
}


@dataclass
class Story:
    """Commands, one after the other; which of them were played, and all that they said."""

    operator: Operator
    played: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def types(self, *arguments: str, exit_code: int = 0, **how: str) -> str:
        ended = self.operator.types(*arguments, **how)
        words = [word for word in arguments if not word.startswith("-")]
        self.played |= {words[0], " ".join(words[:2])}
        self.said.append(ended.stdout + ended.stderr)
        assert ended.returncode == exit_code, f"{arguments}: {self.said[-1]}"
        return self.said[-1]


PRACTICE = {
    *(f"lab {name}" for name in ("up", "down", "status", "ssh", "break")),
    *(f"drill {name}" for name in ("run", "list", "report", "history")),
}


def every_command() -> set[str]:
    def below(command: click.Command, path: str) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                yield from below(each, f"{path} {name}".strip())
        else:
            yield path

    return set(below(cli, ""))


def play(story: Story, folder: Path, snapshot: Path) -> None:
    """Every command on a cluster and its runs, on a lab that lives."""
    on, types = story.operator.on, story.types
    given = ("--snapshot", str(snapshot), "--yes", *on)
    secret = ("--secret", f"password=@{folder / 'secret'}")
    page = str(folder / "page.html")
    types("inventory", "validate", on[1])
    types("inventory", "schema")
    types("inventory", "diff", *on, "--write", str(folder / "corrected.yaml"))
    found = ("--from", on[1], "--yes", "--write", str(folder / "discovered.yaml"))
    types("inventory", "discover", *found)
    types("runbook", "list")
    types("runbook", "show", "restore")
    types("runbook", "validate", str(folder / "own.yaml"))
    types("runbook", "schema")
    types("trust", *on, "--yes")
    types("preflight", *on, "--output", "json")
    types("status", *on)
    types("verify", *on, "--output", "json")
    book = ("run", str(folder / "own.yaml"), *on, *secret)
    types(*book, "--dry-run")
    types(*book, "--yes", die="effect open", exit_code=-9)
    types("restore", "--resume", *on, "--yes", exit_code=2)
    assert "opened with ‹password›" in types("restore", "--resume", *on, "--yes", *secret)
    types("restore", *given, "--replace-healthy", "--dry-run", "--output", "json")
    types("-vv", "restore", *given, exit_code=4)
    types("restore", *given, "--replace-healthy", die="effect swap", exit_code=-9)
    types("runs", "list", "--output", "json")
    types("runs", "show", *on)
    types("runs", "show", *on, "--output", "json")
    types("restore", "--resume", *on, "--yes")
    types("runs", "report", *on, "--output", "json", "--html", page)
    types("rollback", *on, "--yes", "--lose-writes")
    types("restore", *given, "--replace-healthy", die="effect rebuild", exit_code=-9)
    there = ("--state-dir", str(folder / "state" / "adopted"))
    types("runs", "adopt", *on, "--gone", *there)
    types("restore", "--resume", *on, "--yes", *there)
    types("clean", *on, "--yes", *there)


def practise(story: Story, folder: Path, etcd_dir: Path) -> None:
    """Every command of labs and drills."""
    types = story.types
    small = ("--dir", str(folder / "small"))
    types("lab", "up", *small, "--members", "1", "--keys", "5", "--etcd", str(etcd_dir))
    types("lab", "status", *small)
    if shutil.which("ssh"):
        story.operator.types("lab", "ssh", *small, "node-1")  # no terminal: it ends
    story.played.add("lab ssh")
    types("lab", "break", *small, "lose-data", "--node", "node-1")
    types("lab", "down", *small)
    types("drill", "list")
    types("drill", "run", "--etcd", str(etcd_dir))
    types("drill", "report", "--html", str(folder / "page.html"))
    types("drill", "history", "--output", "json")


def test_no_secret_leaves_its_place(
    lab: Lab, tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = plant(lab, monkeypatch)
    assert len(canaries) > 6
    prepare_own(tmp_path, canaries["secret"])
    monkeypatch.setenv("DRCTL_TEST_TEMPLATES", str(tmp_path / "templates"))
    story = Story(Operator(lab.inventory, tmp_path / "state"))
    sampler = Sampler(lab, {name: value.encode() for name, value in canaries.items()})
    with sampled(sampler):
        snapshot = backed_up(story, lab, tmp_path / "backup", canaries["etcd"].encode())
        play(story, tmp_path, snapshot)
    assert every_command() - PRACTICE <= story.played, "a command that nobody watches"
    assert sampler.samples > 50
    assert sampler.seen == {"restore", "drctl-job"}, "the sampler did not see what ran"
    assert sampler.found == set()
    assert sampler.open_to_others == set()

    host = lab.hosts[0]
    left = [tmp_path / "page.html", *files_below(tmp_path / "state", host.work_dir, host.log_dir)]
    assert any(path.name == "journal.sqlite" for path in left)
    assert any(path.name == "manifest.json" for path in left)
    assert any(path.name == "body.sh" for path in left)
    for name, secret in canaries.items():
        assert not any(secret in text for text in story.said), f"{name} was printed"
        assert [p for p in left if secret.encode() in p.read_bytes()] == [], name
    opened = next(path for path in left if path.name == "opened")
    assert opened.read_text().split()[0] == hashlib.sha256(canaries["secret"].encode()).hexdigest()

    for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_practice_does_not_spread_the_operators_own_secrets(
    tmp_path: Path, etcd_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = {place: canary(place) for place in ("environment", "password")}
    monkeypatch.setenv("DRCTL_TEST_CANARY", canaries["environment"])
    monkeypatch.setenv("ETCDCTL_PASSWORD", canaries["password"])
    story = Story(Operator(tmp_path / "none", tmp_path / "state"))
    practise(story, tmp_path, etcd_dir)
    assert every_command() & PRACTICE <= story.played, "a command that nobody watches"
    left = [tmp_path / "page.html", *files_below(tmp_path / "state")]
    assert any("drills" in path.parts for path in left)
    for name, secret in canaries.items():
        assert not any(secret in text for text in story.said), f"{name} was printed"
        assert [p for p in left if secret.encode() in p.read_bytes()] == [], name


def prepare_own(folder: Path, secret: str) -> None:
    """An own runbook with its template, and the secret that it needs."""
    (folder / "own.yaml").write_text(OWN)
    for name, text in TEMPLATES.items():
        path = folder / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "secret").write_text(secret + "\n")
    (folder / "secret").chmod(0o600)


def backed_up(story: Story, lab: Lab, folder: Path, canary: bytes) -> Path:
    """A backup that is killed, then one that clears up after it."""

    def holding() -> list[Path]:
        return [p for p in files_below(lab.hosts[0].work_dir, folder) if canary in p.read_bytes()]

    backup = ("backup", *story.operator.on, "--to", str(folder))
    story.types(*backup, die="fetched", exit_code=-9)
    places = holding()
    assert {path.name for path in places} == {"snapshot.db"} and len(places) == 2
    for path in places:
        assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)] == [0o600, 0o700]
    assert "removed" not in story.types("status", *story.operator.on)  # who looks changes nothing
    assert holding() == places
    said = story.types(*backup)
    assert "removed what a killed backup left: " in said
    assert f"{lab.hosts[0].name}: removed from " in said
    (snapshot,) = folder.glob("*.db")
    assert holding() == [snapshot]
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert sorted(path.suffix for path in folder.iterdir()) == [".db", ".json"]
    return snapshot
