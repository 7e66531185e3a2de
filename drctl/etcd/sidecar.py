"""The JSON file beside a snapshot: what its maker knew and the snapshot itself cannot tell.

`snap.db.json` beside `snap.db`. Its sha256 is of the whole snapshot file, trailer included, so it
also catches a snapshot that was exchanged for another valid one.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from drctl.errors import Fault, InvalidInput


@dataclass(frozen=True)
class SnapshotMember:
    """A member of the cluster that the snapshot was taken from. `id` in hex, as etcdctl prints."""

    name: str
    id: str
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class Sidecar(BaseModel):
    """What is written beside a snapshot. `size` in bytes; `cluster_id` in hex; '' is unknown."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    taken_at: AwareDatetime
    revision: int = 0
    cluster_id: str = ""
    members: tuple[SnapshotMember, ...] = ()
    etcd_version: str = ""
    host: str = ""
    unfinished_runs: tuple[str, ...] = ()
    """What was unfinished when it was taken: it may be of a cluster that is half restored, or that
    no Kubernetes uses."""


def sidecar_path(snapshot: Path) -> Path:
    """`snap.db` -> `snap.db.json`."""
    return snapshot.with_name(snapshot.name + ".json")


def iso_utc(moment: datetime) -> str:
    """A moment as `2026-11-23T18:26:01Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_sidecar(snapshot: Path) -> Sidecar | None:
    """The sidecar of `snapshot`, None where there is none. InvalidInput where it is unusable."""
    path = sidecar_path(snapshot)
    hint = f"fix {path.name}, or move it away to continue without it"
    try:
        return Sidecar.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except ValidationError as error:
        faults = tuple(
            Fault(item["msg"], file=str(path), path=".".join(map(str, item["loc"])))
            for item in error.errors()
        )
        raise InvalidInput(f"{path}: not a sidecar file", faults=faults, hint=hint) from error


def write_sidecar(snapshot: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar of `snapshot` (0600, complete or not at all). Raises OSError."""
    path = sidecar_path(snapshot)
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(sidecar.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return partial.rename(path)
