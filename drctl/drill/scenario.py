"""Scenarios as data: `scenarios/*.yaml`. What happens, what is typed, what must hold at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from drctl.drill.breaks import KINDS
from drctl.drill.proofs import BUNDLES, PROOFS
from drctl.errors import Fault, InvalidInput, UsageError
from drctl.lab.site import Flavour, SiteNode
from drctl.yamlfaults import faults_from_validation
from drctl.yamlfile import Document, read_yaml, suggestion

DEFAULT = "majority-data-lost"
FOLDER = Path(__file__).parent / "scenarios"
VERBS = ("do", "type", "prove")
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Selector = Literal["first", "second", "last", "majority", "all", "spares", "nobody"]
DriverName = Literal["local", "docker"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Needs(_Model):
    """The lab that a scenario needs; a machine that cannot have it skips the scenario."""

    drivers: tuple[DriverName, ...] = ("local", "docker")
    flavours: tuple[Flavour, ...] = ("local", "systemd", "static-pod")
    members: int = Field(3, ge=1, le=7)
    spares: int = Field(0, ge=0, le=7, description="blank machines beside the members")
    wal_dir: bool = Field(False, description="a separate WAL directory")
    disk_mb: int = Field(
        0, ge=0, description="0, or the size of a separate filesystem for the data"
    )
    kubernetes: bool = Field(False, description="needs real Kubernetes")
    lab_of_its_own: bool = Field(False, description="the lab must not be reused afterwards")

    @property
    def lab(self) -> tuple[object, ...]:
        """What a lab must be like: scenarios with the same may use the same, one after another."""
        return self.members, self.spares, self.wal_dir, self.disk_mb

    @property
    def places(self) -> tuple[str, ...]:
        """The drivers and flavours that can have it, in words."""
        docker = [flavour for flavour in self.flavours if flavour != "local"]
        local = "local" in self.drivers and "local" in self.flavours
        return (*(["local"] if local else []), *(docker if "docker" in self.drivers else []))


class Act(_Model):
    """One thing done to the lab's hosts."""

    do: str
    on: Selector | None = Field(None, description="which hosts; default: depends on the kind")


class Held(Act):
    """What is done while drctl is held at a moment of its run (drctl.drill.pausepoint)."""

    at: str = Field(
        pattern=r"^(intent|result|effect|step-done|host-started) [a-z-]+( [a-z0-9-]+)?$"
    )


class Item(_Model):
    """One line of a scenario: exactly one of `do`, `type` and `prove`."""

    do: str | None = None
    on: Selector | None = None
    type: Literal["restore", "resume", "rollback", "preflight", "verify"] | None = None
    staged: bool = False
    replace_healthy: bool = False
    abandon: Selector | None = Field(None, description="the hosts that the restore abandons")
    during: tuple[Held, ...] = Field((), description="done while the command is paused")
    kill_at: str = Field("", description="the moment when drctl is killed (SIGKILL)")
    exit_code: int = Field(0, ge=0, le=10, description="expected exit code")
    prove: tuple[str, ...] = ()

    @field_validator("prove", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one_verb(self) -> Item:
        verbs = [name for name in VERBS if getattr(self, name)]
        if len(verbs) != 1:
            raise ValueError(
                f"exactly one of {', '.join(VERBS)} is expected; found {verbs or 'none'}"
            )
        typed = {
            "staged",
            "replace_healthy",
            "abandon",
            "during",
            "kill_at",
            "exit_code",
        } & self.model_fields_set
        if typed and self.type is None:
            raise ValueError(f"{', '.join(sorted(typed))} belongs to `type`")
        if self.on and self.do is None:
            raise ValueError("`on` belongs to `do`")
        return self

    @property
    def act(self) -> Act:
        return Act(do=self.do or "", on=self.on)


class Scenario(_Model):
    """A whole scenario, as read from YAML."""

    scenario: Slug
    title: str
    story: str = Field(description="what the operator goes through, in two or three sentences")
    needs: Needs = Needs()
    prepare: tuple[Act, ...] = Field((), description="done before the backup")
    meanwhile: tuple[Act, ...] = Field((), description="done right after the backup")
    damage: tuple[Act, ...] = Field((), description="done after the backup: the disaster")
    restore: tuple[Item, ...] = Field(min_length=1)
    prove: tuple[str, ...] = Field(min_length=1, description="what must hold afterwards")
    afterwards: tuple[Item, ...] = Field((), description="more acts, not counted in the RTO")
    not_tested: tuple[str, ...] = ()

    @property
    def restores(self) -> bool:
        """Whether a restore is meant to end well in it, so that it has an RTO and an RPO."""
        return any(
            item.type in ("restore", "resume") and not item.kill_at and item.exit_code == 0
            for item in self.restore
        )

    @property
    def staged(self) -> bool:
        return any(item.staged for item in self.restore)


def chosen(selector: Selector, nodes: tuple[SiteNode, ...]) -> tuple[SiteNode, ...]:
    """The hosts that a selector means; etcd's members, but for `spares`."""
    members = tuple(node for node in nodes if "etcd" in node.roles)
    spares = tuple(node for node in nodes if "spare" in node.roles)
    ways: Mapping[Selector, tuple[SiteNode, ...]] = {
        "first": members[:1],
        "second": members[1:2],
        "last": members[-1:],
        "majority": members[: len(members) // 2 + 1],
        "all": members,
        "spares": spares,
        "nobody": (),
    }
    return ways[selector]


def shipped() -> dict[str, Path]:
    """Name -> file of the scenarios that come with drctl."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def catalogue() -> dict[str, Scenario]:
    """All shipped scenarios."""
    return {name: load(name) for name in shipped()}


def load(name_or_file: str) -> Scenario:
    """Read one scenario, shipped or a file. UsageError where there is neither; InvalidInput with
    every error, its file and line."""
    known = shipped()
    path = known.get(name_or_file, Path(name_or_file))
    if not path.is_file():
        raise UsageError(
            f"no scenario {name_or_file!r}{suggestion(name_or_file, known)}",
            hint="drctl drill list",
        )
    document = read_yaml(path)
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        raise _invalid(document, faults_from_validation(error, document, Scenario)) from error
    if faults := tuple(_unknown_words(scenario, document)):
        raise _invalid(document, faults)
    return scenario


def _invalid(document: Document, faults: tuple[Fault, ...]) -> InvalidInput:
    return InvalidInput(f"{document.path}: invalid scenario", faults=faults)


def _unknown_words(scenario: Scenario, document: Document) -> list[Fault]:
    """Kinds and proofs that drctl does not know, each where it stands."""
    faults = []
    if scenario.scenario != document.path.stem:
        message = f"a scenario must have its file's name, {document.path.stem!r}"
        faults.append(document.fault(("scenario",), message))
    for part in ("prepare", "meanwhile", "damage", "restore", "afterwards"):
        for number, item in enumerate(getattr(scenario, part)):
            place = (part, number)
            acts = [item.do, *(held.do for held in getattr(item, "during", ()))]
            faults += [
                document.fault(place, f"no such kind: {kind!r}{suggestion(kind, KINDS)}")
                for kind in acts
                if kind and kind not in KINDS
            ]
            faults += _unknown_proofs(getattr(item, "prove", ()), document, place)
    return [*faults, *_unknown_proofs(scenario.prove, document, ("prove",))]


def _unknown_proofs(
    names: tuple[str, ...], document: Document, place: tuple[str | int, ...]
) -> list[Fault]:
    known = {*PROOFS, *BUNDLES}
    return [
        document.fault(place, f"no such proof: {name!r}{suggestion(name, known)}")
        for name in names
        if name not in known
    ]
