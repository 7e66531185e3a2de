"""The papers that a node keeps of a run, typed and bounded: pydantic models that hold what is read
against its shape before anything is made of it. Nothing here decides whom to believe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from drctl.answer import RUN_ID
from drctl.etcd.values import LARGEST, VALUES, HostName, Path, Revision, Words

MOST_SESSIONS = 1_000_000  # an epoch beyond that was not counted by any controller
_SHAPES = {name: TypeAdapter[Any](shape) for name, shape in VALUES.items()}
RunId = Annotated[str, StringConstraints(pattern=rf"^{RUN_ID}$")]
"""As `beginning.new_run_id` makes it: it becomes the name of a folder, here and on the nodes."""
ShellName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Text = Annotated[str, StringConstraints(max_length=65_536, pattern=r"^[^\x00]*$")]
"""What becomes a shell variable: anything but a NUL."""
Epoch = Annotated[int, Field(ge=0, le=MOST_SESSIONS)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,40}$")]
_TEXT = TypeAdapter[Any](Text)
_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
_Seal = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}:[0-9a-f]{16}:[0-9a-f]{32}$")]
_Mode = Annotated[str, StringConstraints(pattern=r"^[0-7]{3}$")]
_Closed = ConfigDict(strict=True, extra="forbid", frozen=True)
_Open = ConfigDict(strict=True, extra="ignore", frozen=True)


def first_fault(error: ValidationError) -> str:
    """The first thing that does not fit, in words, without the value itself."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    text = f"{where}: {found['msg']}" if where else found["msg"]
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


class Owner(BaseModel):
    """The file `owner`: whom the node belongs to."""

    model_config = _Closed
    run: RunId
    epoch: Annotated[Epoch, Field(strict=False)]
    journal: _Hex | Literal[""] = ""
    who: Words = ""
    since: Words = ""


class Options(BaseModel):
    """What the operator asked for."""

    model_config = _Closed
    replace_healthy: bool = False
    vars: dict[ShellName, Text] = {}
    secrets: dict[ShellName, _Seal] = {}
    abandon: list[HostName] = []
    accept_drift: list[Words] = []


@with_config(_Closed)
class _Member(TypedDict):
    name: Words
    id: Words
    peer_urls: list[Words]
    client_urls: list[Words]
    is_learner: bool


@with_config(_Closed)
class _Alarm(TypedDict):
    member_id: Annotated[int, Field(ge=0, lt=1 << 64)]
    kind: Words


@with_config(_Closed)
class SnapshotFacts(TypedDict, total=False):
    """As `etcd.snapshot.Snapshot.as_facts` makes them."""

    path: Path
    size: Revision
    sha256: _Hex
    revision: Revision
    compact_revision: Revision
    records: Revision
    members: list[_Member]
    cluster_version: Words
    storage_version: Words
    consistent_index: Count
    term: Count
    alarms: list[_Alarm]
    auth_enabled: bool
    root_users: Annotated[list[Words], Field(max_length=1000)]
    taken_at: Words
    taken_at_proven: bool
    cluster_id: Words
    etcd_version: Words
    host: Words
    packed: Words
    age_seconds: Count
    ahead_seconds: Count
    unfinished_runs: Annotated[list[Words], Field(max_length=100)]


@with_config(_Closed)
class _File(TypedDict):
    name: ShellName
    source: Words
    path: Path
    mode: _Mode
    owner: Words
    sha256: _Hex


@with_config(_Closed)
class _Installed(TypedDict):
    files: list[_File]
    unit: Path
    listen_peer_urls: list[Words]
    listen_client_urls: list[Words]


@with_config(_Closed)
class PrepareFacts(TypedDict, total=False):
    """As `prepare.installation` makes them."""

    hosts: dict[HostName, _Installed]
    arch: Words
    flags: dict[Words, Words]
    warnings: list[Words]


class Manifest(BaseModel):
    """`manifest.json`: what another machine needs to take the run over. All nodes of one claim
    keep the same."""

    model_config = _Closed
    format: Literal[1]  # drctl.journal.runstate.FORMAT
    run: RunId
    cluster: Words
    runbook: Words
    journal: _Hex
    epoch: Epoch
    values_at: Count
    plan: _Hex
    plans: Annotated[list[_Hex], Field(max_length=1000)]
    meaning: dict[Words, Text]
    options: Options
    snapshot: SnapshotFacts
    prepare: PrepareFacts
    values: dict[ShellName, Any]
    kept: list[Words]
    who: Words
    started: Words
    drctl: Version

    @model_validator(mode="after")
    def _known_shapes(self) -> Self:
        """Each value in its judge's shape; what the operator gave (`--var`) is text."""
        for name, value in self.values.items():
            given = name in self.options.vars and isinstance(value, str)
            shape = _TEXT if given else _SHAPES.get(name, _TEXT)
            try:
                shape.validate_python(value, strict=True)
            except ValidationError as error:
                raise ValueError(f"{name}: {first_fault(error)}") from error
        return self

    @property
    def age(self) -> tuple[int, int]:
        """Of two, the larger was written later."""
        return self.epoch, self.values_at

    @property
    def sha256(self) -> str:
        """The snapshot's; "" for a run without one."""
        return self.snapshot.get("sha256", "")


class Ending(BaseModel):
    """`record.json`: how the run ended there."""

    model_config = _Open
    run: RunId
    state: Literal["done", "rolled-back", "cleaned", "not begun", "failed", "aborted", "running"]


class Started(BaseModel):
    """The named lines of a job's `started`."""

    model_config = _Open
    epoch: Annotated[Epoch, Field(strict=False)]
    direction: Literal["forward", "undo", "clean"]
    at: Words = ""
