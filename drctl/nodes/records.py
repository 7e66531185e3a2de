"""What one node keeps of a run, typed and bounded as it is read (`drctl.nodes.files`). Nothing here
is believed for another host (`drctl.nodes.agreement` says what several nodes must say alike).

A node keeps under its work_dir `owner` (which run, epoch and controller it belongs to), and for
each run a manifest, the record of its end, and of every job what was observed before it
(`templates/job`). Pure but for `ask`, which sends a script that only reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from drctl import __version__
from drctl.answer import is_run_id, parse
from drctl.errors import ConnectionLost, DrctlError, Refused, StepFailed, Unreachable
from drctl.journal.runstate import FORMAT
from drctl.nodes.files import (
    Count,
    Ending,
    Manifest,
    Owner,
    ShellName,
    Started,
    Text,
    Version,
    first_fault,
)
from drctl.nodes.history import History, read_history
from drctl.render import render_script
from drctl.transport import Transport

ASK_SECONDS = 60.0
MOST_JOBS = 2000  # of one run on one node: each becomes an event of a journal that does not know it
WRITTEN_BY = "its manifest was written by drctl "
_JOB = re.compile(r"(?P<step>[A-Za-z0-9][A-Za-z0-9._-]{0,199})-(?P<attempt>[0-9]{1,6})")


class _Version(BaseModel):
    """Of a manifest, whatever else is in it: who wrote it."""

    format: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    drctl: Version


P = TypeVar("P", Manifest, Ending)
_SEEN = TypeAdapter[dict[str, str]](dict[ShellName, Text])
_STATUS = TypeAdapter[int](Annotated[int, Field(ge=0, le=255)])
_SECONDS = TypeAdapter[int](Count)


@dataclass(frozen=True)
class JobRecord:
    """A job that was started on a node; `seen` is what was observed before it."""

    step: str
    attempt: int
    epoch: int
    direction: str
    at: str
    seen: dict[str, str]
    status: int | None  # None: it runs still, or its end was never written


@dataclass(frozen=True)
class NodeRecord:
    """What one node keeps of one run. `now` and `last` are seconds by the node's own clock."""

    owner: Owner | None = None
    manifest: Manifest | None = None
    ending: Ending | None = None
    jobs: tuple[JobRecord, ...] = ()
    history: History = field(default_factory=History)
    now: int = 0
    last: int = 0

    def belongs_to(self, run: str) -> bool:
        return self.owner is not None and self.owner.run == run


@dataclass(frozen=True)
class Found:
    """What the nodes keep of one run; why some did not answer; and what is wrong with what others
    said, which is believed of nobody."""

    nodes: Mapping[str, NodeRecord]
    silent: Mapping[str, str] = field(default_factory=dict)
    unbelieved: Mapping[str, str] = field(default_factory=dict)

    def but(self, unbelieved: Mapping[str, str], silent: Mapping[str, str]) -> Found:
        """The same, where the first are not trusted and the second were not asked."""
        nodes = {host: node for host, node in self.nodes.items() if host not in unbelieved}
        return Found(nodes, {**self.silent, **silent}, {**self.unbelieved, **unbelieved})


@dataclass(frozen=True)
class Heard:
    """What each host answered; why others did not; and what went wrong with the rest."""

    texts: Mapping[str, str]
    silent: Mapping[str, str]
    failed: Mapping[str, str]


def ask(
    transport: Transport,
    work_dirs: Mapping[str, str],
    script: str,
    run: str = "",
    *,
    parallel: int = 8,
) -> Heard:
    """Have every host run a script that only reads what it keeps."""
    silent: dict[str, str] = {}
    failed: dict[str, str] = {}

    def question(host: str) -> str:
        env = {"DRCTL_WORK": work_dirs[host], "DRCTL_HOST": host, "DRCTL_RUN": run}
        try:
            told = transport.run(host, render_script(script), env, deadline=ASK_SECONDS)
        except (Unreachable, ConnectionLost) as error:
            silent[host] = error.message
            return ""
        except StepFailed as error:  # it said more than anybody may
            failed[host] = error.message
            return ""
        if not told.ok:
            failed[host] = f"{work_dirs[host]} cannot be read: {told.stderr.strip()[-300:]}"
        return told.stdout

    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(work_dirs)))) as pool:
        told = dict(zip(work_dirs, pool.map(question, work_dirs), strict=True))
    texts = {h: text for h, text in told.items() if h not in silent and h not in failed}
    return Heard(texts, silent, failed)


def read_nodes(
    transport: Transport, work_dirs: Mapping[str, str], run: str, *, parallel: int = 8
) -> Found:
    """Ask every host what it keeps of `run`."""
    heard = ask(transport, work_dirs, "node/records", run, parallel=parallel)
    nodes, unbelieved = {}, dict(heard.failed)
    for host, text in heard.texts.items():
        try:
            nodes[host] = read_record(run, text)
        except ValueError as error:
            unbelieved[host] = str(error)
    return Found(nodes, heard.silent, unbelieved)


def not_believed(run: str, unbelieved: Mapping[str, str], inventory: str) -> DrctlError:
    """The refusal that names the hosts whose records cannot be, and the ways out; without an
    `inventory` there is no journal yet by which to roll the run back."""
    first, *more = unbelieved
    lines = [f"its records of run {run} are not trusted: {unbelieved[first]}"]
    lines += [f"{host}: same here: {unbelieved[host]}" for host in more]
    if all(why.startswith(WRITTEN_BY) for why in unbelieved.values()):
        check = "use that version for this run; if only this node says so, check it: a damaged disk"
    else:
        check = "check that node: a damaged disk"
    without = " ".join(f"--without {host}" for host in unbelieved)
    back = f"drctl rollback {run} --inventory {inventory} {without}"
    others = f", or roll back on the other hosts: {back}" if inventory else ""
    return Refused(
        "\n".join(lines),
        host=first,
        hint=f"{check}, or an intruder? Fix it and run the same command again{others}. After an "
        'intrusion, see what to rotate: docs/security.md, "A node that lied"',
    )


def read_record(run: str, text: str) -> NodeRecord:
    """Parse templates/node/records. Raises ValueError, which says what does not fit: a missing
    observation would make an undo do the wrong thing."""
    files: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        files.setdefault(name, []).append(rest)
    folder = f"{run}/jobs/"
    jobs = sorted({name.split("/")[2] for name in files if name.startswith(folder)})
    if len(jobs) > MOST_JOBS:
        raise ValueError(f"it reports {len(jobs)} jobs")
    try:
        return NodeRecord(
            owner=read_owner(files.get("owner", [])),
            manifest=_document(Manifest, run, files.get(f"{run}/manifest.json")),
            ending=_document(Ending, run, files.get(f"{run}/record.json")),
            jobs=tuple(_job(name, folder + name, files) for name in jobs),
            history=read_history(files.get("history", ())),
            now=_number(_SECONDS, files.get("now")) or 0,
            last=_number(_SECONDS, files.get("last")) or 0,
        )
    except ValidationError as error:
        raise ValueError(f"its {error.title.lower()}: {first_fault(error)}") from error


def run_ids(text: str) -> set[str]:
    """The runs that templates/node/runs names; what cannot be the name of one is left out."""
    told = (line.removeprefix("run:") for line in text.splitlines() if line.startswith("run:"))
    return {run for run in told if is_run_id(run)}


def read_owner(lines: list[str]) -> Owner | None:
    """The lines of the file `owner`; None where there are none. Raises ValidationError."""
    return Owner.model_validate(dict(parse("\n".join(lines)))) if lines else None


def _document(kind: type[P], run: str, lines: list[str] | None) -> P | None:
    if not lines:
        return None
    text = "\n".join(lines)
    if kind is Manifest:
        _refuse_other_version(text)
    document = kind.model_validate_json(text)
    if document.run != run:
        raise ValueError(f"the {kind.__name__.lower()} of run {run} names run {document.run}")
    return document


def _refuse_other_version(text: str) -> None:
    """Raises ValueError for the manifest of a drctl whose runs this one cannot continue."""
    try:
        found = _Version.model_validate_json(text)
    except ValidationError:
        return  # what is wrong with it is said by who reads it whole
    if found.format != FORMAT:
        raise ValueError(
            f"{WRITTEN_BY}{found.drctl} (format {found.format}); drctl {__version__} reads {FORMAT}"
        )


def _number(shape: TypeAdapter[int], lines: list[str] | None) -> int | None:
    text = "".join(lines or ())
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError("a number is not a number")
    return shape.validate_python(int(text))


def _seen(job: str, text: str) -> dict[str, str]:
    try:
        return _SEEN.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(f"a job ({job}) has no valid observation: {first_fault(error)}") from None


def _job(name: str, folder: str, files: Mapping[str, list[str]]) -> JobRecord:
    named = _JOB.fullmatch(name)
    if named is None:
        raise ValueError("a job has a name that belongs to no step")
    started = files.get(f"{folder}/started")
    if not started:
        raise ValueError(f"the job {name} has no record of its start")
    known = Started.model_validate(dict(parse("\n".join(started[:-1]))))
    return JobRecord(
        step=named["step"],
        attempt=int(named["attempt"]),
        epoch=known.epoch,
        direction=known.direction,
        at=known.at,
        seen=_seen(name, started[-1]),
        status=_number(_STATUS, files.get(f"{folder}/status")),
    )
