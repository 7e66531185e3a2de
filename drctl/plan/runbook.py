"""Runbooks: the procedure as data.

A runbook has phases, a phase has steps, a step names one verb. There is no `if`: what differs
between hosts is in the inventory and in the templates. `undo` is not written here either; it
belongs to the verb (a template folder with an `undo/` beside its `act.sh.j2`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from drctl.errors import Fault, InvalidInput
from drctl.plan.model import Verb
from drctl.shipped import data_folder
from drctl.yamlfaults import faults_from_validation
from drctl.yamlfile import Document, read_yaml

VERBS = get_args(Verb)
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=150)]
"""It becomes part of a file's name on each node."""
ValueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
TemplateName = Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Model):
    """One line of a runbook: exactly one verb, and how the engine should treat it."""

    id: Identifier = Field(description="unique in the runbook; used in the journal and in messages")
    title: str = Field("", description="shown while it runs")
    hosts: tuple[str, ...] = Field(
        (), description="groups or hosts; for `service`, default: the service's hosts"
    )
    gather: TemplateName | None = Field(None, description="read-only template; its output is data")
    judge: tuple[str, ...] = Field(
        (), description="functions that judge all hosts' answers, in order"
    )
    yields: tuple[ValueName, ...] = Field((), description="values that the judge yields")
    service: str | None = Field(None, description="a service of the inventory")
    want: Literal["fenced", "running", "restarted", "blank"] | None = Field(
        None, description="wanted state of `service`; blank: new and empty"
    )
    upload: Literal["snapshot", "installation", "sample"] | None = Field(
        None,
        description="what to send to each host: the snapshot, what `prepare` installs, or a "
        "sample with which everything is tried",
    )
    run: TemplateName | None = Field(None, description="template directory with observe and act")
    confirm: str | None = Field(
        None, description="a summary that drctl knows, or a text that says what to do by hand"
    )
    role: Literal["exchange", "install"] | None = Field(
        None,
        description="what your own action does to the cluster: it swaps in other data for the "
        "store's, or installs programs on blank hosts",
    )
    optional: bool = Field(False, description="having no host is not an error")
    tolerate: Literal["unreachable"] | None = Field(
        None, description="continue without unreachable hosts; the hand-over lists them"
    )
    each_session: bool = Field(
        False, description="repeat at every resume, even if recorded as done"
    )
    regardless: bool = Field(
        False,
        description="look also where a look before this one was refused, so that all that is wrong "
        "is told at once; for looks that need no value of those before",
    )
    patience: float = Field(
        0, ge=0, le=3600, description="seconds to keep asking until judged good"
    )
    deadline: float = Field(300, gt=0, le=86400, description="seconds per host")
    repeatable: bool = Field(False, description="safe to retry after a failure")
    rate: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="MB (1e6 bytes of the file) per second that each host is sent at most: it may "
        "serve meanwhile",
    )
    last: ValueName | None = Field(
        None,
        description="a value that lists hosts: they come after all others, one at a time",
    )

    @field_validator("hosts", "judge", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one_verb(self) -> Step:
        verbs = [name for name in VERBS if getattr(self, name) is not None]
        if len(verbs) != 1:
            raise ValueError(
                f"a step has exactly one of {', '.join(VERBS)}; found {verbs or 'none'}"
            )
        if (self.service is None) != (self.want is None):
            raise ValueError("`service` and `want` are needed together")
        if (self.judge or self.yields or self.patience or self.regardless) and self.gather is None:
            raise ValueError("`judge`, `yields`, `patience` and `regardless` need `gather`")
        if self.last and (self.gather or self.confirm) is not None:
            raise ValueError("`last` is for steps that change something")
        if self.rate and self.upload is None:
            raise ValueError("`rate` needs `upload`")
        if self.role and self.run is None:
            raise ValueError("`role` needs `run`")
        if not self.hosts and self.service is None and self.confirm is None:
            raise ValueError("no hosts: give a group or host names")
        return self

    @property
    def verb(self) -> Verb:
        return next(name for name in VERBS if getattr(self, name) is not None)


class Phase(_Model):
    """Steps under one heading; `undo: true` stands for the run's own steps, last one first."""

    title: str
    steps: tuple[Step, ...] = ()
    undo: bool = False

    @model_validator(mode="after")
    def _something_to_do(self) -> Phase:
        if bool(self.steps) == self.undo:
            raise ValueError("a phase has either `steps` or `undo: true`")
        return self


class NewValue(_Model):
    """A value made by drctl at the start of a run."""

    new: Literal["token", "cluster-id", "blank-token", "blank-cluster-id"]


class Runbook(_Model):
    """A whole runbook, as read from YAML."""

    runbook: Identifier
    title: str = ""
    source: str = Field(description="where the procedure is documented")
    values: dict[ValueName, NewValue] = {}
    phases: tuple[Phase, ...] = Field(min_length=1)

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def prepares(self) -> bool:
        """Whether it deals with the hosts of the inventory's section `prepare`."""
        return any("prepare" in step.hosts for step in self.steps)


def shipped_runbooks() -> dict[str, Path]:
    """Name -> file of the runbooks that come with drctl."""
    return {path.stem: path for path in sorted(data_folder("runbooks").glob("*.yaml"))}


def runbook_path(name_or_file: str) -> Path:
    """A shipped runbook's file, or the given path; raises InvalidInput when there is neither."""
    shipped = shipped_runbooks()
    path = shipped.get(name_or_file, Path(name_or_file))
    if not path.is_file():
        raise InvalidInput(
            f"no runbook {name_or_file!r}: not a file, nor shipped ({', '.join(shipped)})",
            hint="drctl runbook list",
        )
    return path


def load_runbook(name_or_file: str) -> Runbook:
    """Read and validate a runbook; raises InvalidInput with every error, its file and line."""
    document = read_yaml(runbook_path(name_or_file))
    try:
        runbook = Runbook.model_validate(document.data)
    except ValidationError as error:
        raise _invalid(document, faults_from_validation(error, document, Runbook)) from error
    if faults := _duplicate_ids(runbook, document):
        raise _invalid(document, faults)
    return runbook


def runbook_schema() -> dict[str, Any]:
    """JSON Schema for editors."""
    return Runbook.model_json_schema()


def _invalid(document: Document, faults: tuple[Fault, ...]) -> InvalidInput:
    return InvalidInput(
        f"{document.path}: invalid runbook",
        faults=faults,
        hint=f"drctl runbook validate {document.path}",
    )


def _duplicate_ids(runbook: Runbook, document: Document) -> tuple[Fault, ...]:
    first: dict[str, int] = {}
    faults = []
    for p, phase in enumerate(runbook.phases):
        for s, step in enumerate(phase.steps):
            line = document.line(("phases", p, "steps", s))
            if step.id in first:
                message = f"the id {step.id!r} is already used on line {first[step.id]}"
                faults.append(
                    Fault(message, str(document.path), line, f"phases[{p}].steps[{s}].id")
                )
            first.setdefault(step.id, line)
    return tuple(faults)
