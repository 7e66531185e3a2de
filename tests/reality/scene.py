"""A lab in which one thing after another is made wrong, looked at with the real drctl, and mended.

Hosts are changed by the lab's own way, never by the product's; what is judged is the product's exit
status and what it printed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from drctl.drill import drivers
from drctl.drill.scenario import Needs
from drctl.lab.certs import Authority, Pair
from drctl.lab.site import Site, SiteNode
from tests.reality.catalogue import COMMANDS, Row
from tests.support.operator import ROOT

SHELL = Path(__file__).parent / "shell"
DRIVERS = {"local": "local", "systemd": "docker", "static-pod": "docker"}
COMMAND_SECONDS = 300
MENDED_SECONDS = 240


@dataclass(frozen=True)
class Ended:
    """A command of drctl's: its status, and both of its streams."""

    status: int
    output: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a row. `fault` is "" where it was told as expected and is green again."""

    row: str
    lab: str
    exit: int
    line: str  # the line of the output that has the row's words, or "" for none
    seconds: float
    mended: str = ""  # "green", or what was wrong after mending
    fault: str = ""

    def seen(self, mended: str) -> Outcome:
        """The same, once it is known how the lab was afterwards."""
        return replace(
            self, mended=mended, fault=self.fault or ("" if mended == "green" else mended)
        )

    @property
    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Scene:
    """One lab that is up, its snapshot, and what a green preflight warns of in it."""

    site: Site
    folder: Path
    snapshot: Path = Path()
    usual: set[str] = field(default_factory=set)

    # -- the operator -----------------------------------------------------------------------------

    def types(self, *arguments: str) -> Ended:
        """Run `drctl` as an operator has it."""
        environment = os.environ | {
            "DRCTL_STATE_DIR": str(self.folder / "state"),
            "PYTHONPATH": str(ROOT.parent),
        }
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "drctl", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
        return Ended(ran.returncode, ran.stdout, time.monotonic() - began)

    def prepare(self) -> None:
        """A snapshot; certificates that are no good, on every host; green. AssertionError where it
        is not."""
        saved = self.types(
            *("backup", "--inventory", str(self.site.inventory)),
            *("--to", str(self.folder / "backup")),
        )
        assert saved.status == 0, saved.output
        (self.snapshot,) = (self.folder / "backup").glob("*.db")
        for node in self.members:
            self.site.sh(node.name, self._certificates(node))
        looked = self._look()
        assert looked.status == 0, looked.output
        self.usual = warnings(looked.output)

    @property
    def members(self) -> list[SiteNode]:
        return [node for node in self.site.nodes if "etcd" in node.roles]

    def node(self, name: str) -> SiteNode:
        return next(node for node in self.site.nodes if node.name == name)

    def _look(self) -> Ended:
        return self.types(
            *("preflight", "--inventory", str(self.site.inventory)),
            *("--snapshot", str(self.snapshot)),
        )

    def _certificates(self, node: SiteNode) -> str:
        ours, names = self.site.authority, ("localhost", node.name)
        stranger = Authority.new()
        made: dict[str, Pair] = {
            "expired": ours.issue("x", addresses=[node.address], valid=timedelta(days=-2)),
            "elsewhere": ours.issue("x", addresses=["192.0.2.7"]),
            "named": ours.issue("x", addresses=[node.address], names=[f"etcd-{node.name[-1]}.lab"]),
            "stranger": stranger.issue("x", addresses=[node.address], names=names),
        }
        script = ["umask 077", self._words(node), 'mkdir -p "$KEPT"']
        for name, pair in made.items():
            for end, text in ((".pem", pair.cert), ("-key.pem", pair.key)):
                script.append(f'printf %s {shlex.quote(text.decode())} > "$KEPT/{name}{end}"')
        return "\n".join(script)

    # -- the machines -----------------------------------------------------------------------------

    def _words(self, node: SiteNode) -> str:
        """What a row's shell may use."""
        values = {
            "HOST": node.name,
            "ADDRESS": node.address,
            "MEMBER": node.member_name,
            "DATA": node.data_dir,
            "PYTHON": sys.executable,
            **{
                f"ADDRESS_{number}": other.address
                for number, other in enumerate(self.members, start=1)
            },
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
        lines += [(SHELL / "all.sh").read_text(), (SHELL / f"{self.site.flavour}.sh").read_text()]
        return "\n".join(["set -eu", *lines])

    def _change(self, row: Row, script: str) -> None:
        hosts = [node.name for node in self.members] if row.host == "all" else [row.host]
        for host in hosts:
            text = f"{self._words(self.node(host))}\n{script}"
            self.site.sh(host, text, seconds=180)

    # -- a row ------------------------------------------------------------------------------------

    def play(self, row: Row) -> Outcome:
        """Make it wrong, look, and mend it. Whether all is green again is asked by `mended`."""
        values = self._values(row)
        try:
            if row.power == "off":
                self.site.power_off(row.host)
            if row.make:
                self._change(row, row.make)
            inventory, snapshot = self._given(row, values)
            words = [
                word.format(snapshot=snapshot, folder=self.folder / "made" / row.id)
                for word in COMMANDS[row.command]
            ]
            ended = self.types(*words, "--inventory", str(inventory))
        finally:
            if row.power == "off":
                self.site.power_on(row.host)
            if row.mend:
                self._change(row, row.mend)
        says = [filled(phrase, values) for phrase in row.says]
        line = next((t for t in told(row, ended.output) if all(s in t for s in says)), "")
        fault = ""
        if ended.status != row.exit:
            fault = f"exit {ended.status}, expected {row.exit}: {ended.output.strip()[-1500:]}"
        elif not line:
            fault = f"no line has {says}: {ended.output.strip()[-1500:]}"
        return Outcome(
            *(row.id, row.lab, ended.status, self._without_folders(line.strip())),
            *(round(ended.seconds, 1), "", fault),
        )

    def _values(self, row: Row) -> dict[str, str]:
        node = self.node(self.members[0].name if row.host == "all" else row.host)
        return {
            "host": node.name,
            "address": node.address,
            "member": node.member_name,
            "data": node.data_dir,
            "hosts": str(self.site.directory / "hosts"),
            "folder": str(self.folder),
            "etcdutl": str(self.site.etcd_tools / "etcdutl"),
            "third": self.members[2].address,
            "line": "",
        }

    def _given(self, row: Row, values: dict[str, str]) -> tuple[Path, Path]:
        """The inventory and the snapshot that the row's operator has. Fills in `line`."""
        snapshot = self.snapshot
        if row.here:
            snapshot = self.folder / "made" / f"{row.id}.db"
            snapshot.parent.mkdir(exist_ok=True)
            given = {"SNAPSHOT": str(self.snapshot), "OUT": str(snapshot), "PYTHON": sys.executable}
            given |= {"ADDRESS": values["address"], "LAB": str(self.site.directory)}
            subprocess.run(["sh", "-eu", "-c", row.here], env=os.environ | given, check=True)
        text = self.site.inventory.read_text()
        for old, new in row.inventory:
            old, new = filled(old, values), filled(new, values)
            assert text.count(old) == 1, f"{row.id}: {text.count(old)} times in it: {old}"
            text = text.replace(old, new)
        path = self.site.inventory
        if row.inventory:
            path = self.folder / f"{row.id}.yaml"
            path.write_text(text)
        if row.line:
            wanted = filled(row.line, values)
            (number,) = [n for n, t in enumerate(text.splitlines(), start=1) if wanted in t]
            values["line"] = f"{path.name}:{number}"
        return path, snapshot

    def mended(self) -> str:
        """ "green", as soon as it is; else what drctl still says."""
        deadline = time.monotonic() + MENDED_SECONDS
        while True:
            looked = self._look()
            more = warnings(looked.output) - self.usual
            if looked.status == 0 and not more:
                return "green"
            if time.monotonic() > deadline:
                return f"exit {looked.status}: {looked.output.strip()[-600:]}"

    def _without_folders(self, text: str) -> str:
        return text.replace(str(self.site.directory), "LAB").replace(f"{self.folder}/", "")


def filled(text: str, values: dict[str, str]) -> str:
    """`<name>` by its value; inventories have braces of their own."""
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def told(row: Row, output: str) -> list[str]:
    """What stands together: a line; `inventory diff` spreads one difference over three."""
    lines = [line.strip() for line in output.splitlines()]
    if row.command != "diff":
        return lines
    return [" ".join(lines[at : at + 3]) for at in range(len(lines))]


def warnings(output: str) -> set[str]:
    """Without what changes by itself: process numbers, times."""
    return {line.strip() for line in output.splitlines() if line.strip().startswith("warning:")}


@contextmanager
def scene(lab: str, folder: Path, etcd: Path | None) -> Iterator[Scene]:
    """Raise `lab` in `folder`, see that it is green, and take it down at the end."""
    practice = drivers.practice(DRIVERS[lab])
    kubernetes = "none" if lab == "local" else "build"
    flavour = "" if lab == "local" else lab
    options = drivers.LabOptions(flavour, kubernetes, etcd)
    place = folder / "lab"
    site = drivers.up(practice, place, Needs(), options, print)
    try:
        found = Scene(site, folder)
        found.prepare()
        yield found
    finally:
        drivers.down(practice, place, print)
