"""What a drill leaves behind: one JSON document a drill, from which reports and histories are made.

STATE_DIR/drills/<drill>.json, where <drill> begins with its start in UTC, so that names sort by
time. A record is written once, at the end; nothing in it is a secret (commands name paths, never
what is in them). All times of day are ISO 8601 in UTC, all durations are seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from drctl.errors import InvalidInput

SCHEMA = 1
DrillVerdict = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class HostMachine:
    """The machine on which the lab and the drill ran."""

    system: str  # "Linux 6.1.0 x86_64"
    cpus: int
    memory_bytes: int
    python: str


@dataclass(frozen=True)
class Versions:
    """What was drilled; "" for what the lab does not have."""

    drctl: str
    etcd: str
    kubernetes: str


@dataclass(frozen=True)
class TopologyNode:
    """One host of the lab. `member` is its name in etcd, "" where it is no member."""

    name: str
    roles: tuple[str, ...]  # etcd, control_plane, worker, spare
    address: str
    member: str


@dataclass(frozen=True)
class Action:
    """One thing that was done to the lab, by the lab's own means and never by drctl."""

    kind: str  # "lose-data": a kind of `drctl.drill.breaks`
    summary: str  # the kind, in words
    node: str  # "" where no one node was struck
    part: str  # prepare, meanwhile, damage, restore, afterwards: the scenario's list it stands in
    moment: str  # the moment of the run at which drctl was held for it; "" between commands
    at: str
    seconds: float


@dataclass(frozen=True)
class Command:
    """One command of drctl, as it was typed, and how it ended."""

    typed: str  # "drctl restore --snapshot ... --yes"
    at: str
    seconds: float
    exit_code: int | None  # None: it was killed, as the scenario wants (`killed_at`)
    expected: int | None
    killed_at: str  # the moment of the run at which it was killed; "" where it was not
    said: str  # the end of what it told the operator (stderr)

    @property
    def as_expected(self) -> bool:
        """Whether it ended as the scenario says."""
        return self.exit_code == self.expected


@dataclass(frozen=True)
class Proof:
    """What was expected, whether it holds, and what was seen. `measured` is plain JSON data."""

    what: str
    ok: bool
    detail: str
    name: str = ""  # the name by which scenarios ask for it
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DrillRecord:
    """Everything about one drill.

    RTO runs from the damage to the last proof, RPO from the backup to the damage; both are None
    where nothing was restored, as in scenarios in which drctl has to refuse.
    """

    drill: str  # its id: 20261124-061502-majority-data-lost-3f2a
    scenario: str
    title: str
    story: str
    driver: str  # local, docker
    flavour: str  # local, systemd, static-pod
    staged: bool  # whether a restore of it was `--staged`
    operator: str  # user@machine
    started: str
    finished: str
    machine: HostMachine
    versions: Versions
    topology: tuple[TopologyNode, ...]
    actions: tuple[Action, ...]
    commands: tuple[Command, ...]
    runs: tuple[Mapping[str, Any], ...]  # `drctl runs report --output json` of each run
    rto_seconds: float | None
    restore_seconds: float  # the commands' share of the RTO
    phases: Mapping[
        str, float
    ]  # phase -> seconds from its first step's start to its last one's end
    rpo_seconds: float | None
    rpo_revisions: int | None
    rpo_keys: int | None  # keys that were written or changed after the backup and are lost
    rpo_objects: Mapping[str, int]  # kind -> number of Kubernetes objects lost; {} without any
    proofs: tuple[Proof, ...]
    not_tested: tuple[str, ...]
    verdict: DrillVerdict
    reason: str  # why it failed or was skipped; "" when it passed
    directory: str = ""  # the lab's folder: gone, unless it was kept
    schema: int = SCHEMA

    @property
    def proven(self) -> bool:
        """Whether it passed: commands ended as expected and every proof holds."""
        return self.verdict == "passed"

    def document(self) -> dict[str, Any]:
        """The record as JSON-able data."""
        return asdict(self)


def folder(state_dir: Path) -> Path:
    """Where the records of all drills lie."""
    return state_dir / "drills"


def save(record: DrillRecord, state_dir: Path) -> Path:
    """Write the record; a reader sees all of it or nothing. Returns its file."""
    place = folder(state_dir)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"{record.drill}.json"
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        json.dump(record.document(), file, indent=2)
    part.replace(path)
    return path


def load(path: Path) -> DrillRecord:
    """Read one record; InvalidInput for a file that is none, or of another schema."""
    try:
        raw = json.loads(path.read_text())
        if raw["schema"] != SCHEMA:
            raise ValueError(f"its schema is {raw['schema']}, this drctl reads {SCHEMA}")
        return _record(raw)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} is not a drill record: {error}", hint="drctl drill run writes such files"
        ) from error


def _record(raw: dict[str, Any]) -> DrillRecord:
    made = raw | {
        "machine": HostMachine(**raw["machine"]),
        "versions": Versions(**raw["versions"]),
        "topology": tuple(
            TopologyNode(**node | {"roles": tuple(node["roles"])}) for node in raw["topology"]
        ),
        "actions": tuple(Action(**action) for action in raw["actions"]),
        "commands": tuple(Command(**command) for command in raw["commands"]),
        "proofs": tuple(Proof(**proof) for proof in raw["proofs"]),
        "runs": tuple(raw["runs"]),
        "not_tested": tuple(raw["not_tested"]),
    }
    return DrillRecord(**made)
