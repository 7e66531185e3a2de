"""What is known before any node is asked, and where each value was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Role = Literal["etcd", "control_plane", "workers"]
MOST_MACHINES = 1000


@dataclass(frozen=True)
class Told(Generic[T]):
    """A value, and where it was read, for the comment behind it."""

    value: T
    source: str


@dataclass(frozen=True)
class Machine:
    """A host as a file, or the command line, describes it. `open` is what the file says of it and
    drctl cannot use, as sentences: each becomes a question. None leaves the choice to ssh_config.
    """

    name: str
    source: str
    roles: tuple[Role, ...] = ()
    address: Told[str] | None = None
    cluster_address: Told[str] | None = None
    user: Told[str] | None = None
    port: Told[int] | None = None
    key: Told[str] | None = None
    jump: Told[str] | None = None
    become: Told[str] | None = None
    work_dir: Told[str] | None = None
    open: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """What a file says. `kind` names it for people; `notes` are worth a line to the operator;
    `kept` has the sections of an inventory of drctl's own that no node can tell."""

    path: Path
    kind: str
    machines: tuple[Machine, ...]
    cluster: Told[str] | None = None
    known_hosts: Told[str] | None = None
    notes: tuple[str, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)
