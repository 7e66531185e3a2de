"""Reads an inventory and reports every error in it at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drctl.errors import Fault, InvalidInput
from drctl.inventory.checks import find_faults, find_warnings
from drctl.inventory.model import InventoryFile
from drctl.inventory.questions import to_answer, unanswered
from drctl.inventory.resolve import resolve
from drctl.inventory.resolved import Inventory
from drctl.inventory.subject import Complaint, Subject
from drctl.textfile import read_text
from drctl.yamlfaults import error_path, faults_from_validation
from drctl.yamlfile import Document, KeyPath, dotted, scan_yaml

# for keys that the rest cannot be looked at without; kubeasz asks least of an inventory
_STAND_INS: dict[str, Any] = {"cluster": "unnamed", "layout": "kubeasz"}
_ROUNDS = 8  # of leaving out what cannot be used; each finds what the one before uncovered


def load_inventory(path: str | Path) -> Inventory:
    """Read, check and resolve an inventory.

    Raises InvalidInput with every error in the file: those of single values, those that only show
    between values, and each `?` of `drctl inventory discover`, with its question. `warnings` of the
    result are worth showing to the operator.
    """
    document, faults = scan_yaml(path)
    text = read_text(Path(path), "YAML")
    questions = unanswered(document, text)
    try:
        file = InventoryFile.model_validate(document.data)
    except ValidationError as error:
        faults += faults_from_validation(error, document, InventoryFile)
        faults += _faults_of_the_rest(error, document)
        raise _invalid(document, _with_questions(faults, document, questions)) from None
    subject = _subject(file, document)
    faults += _as_faults(find_faults(subject), document)
    if faults or questions:
        raise _invalid(document, _with_questions(faults, document, questions))
    warnings = _as_faults(find_warnings(subject), document)
    warnings += [Fault(said, str(document.path), line) for line, said in to_answer(document, text)]
    lines = {dotted(path): line for path, line in document.lines.items()}
    told = {"warnings": tuple(map(str, warnings)), "lines": lines}
    return subject.inventory.model_copy(update=told)


def inventory_of(hosts: Mapping[str, Any], known_hosts: Path | None) -> Inventory:
    """An inventory that has nothing but hosts, written as in a file: the way to machines of which
    nothing else is known yet. Relative paths start where we are. Raises InvalidInput."""
    data = {"cluster": "unnamed", "hosts": dict(hosts), "groups": {"all-of-them": tuple(hosts)}}
    try:
        file = InventoryFile.model_validate(data)
    except ValidationError as error:
        document = Document(data, Path("the command line"), {})
        raise _invalid(document, [*faults_from_validation(error, document)]) from None
    inventory = resolve(file, Path.cwd() / "inventory.yaml")
    return inventory.model_copy(update={"known_hosts": known_hosts})


def inventory_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of an inventory, for editors."""
    schema = InventoryFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _subject(
    file: InventoryFile, document: Document, left_out: frozenset[KeyPath] = frozenset()
) -> Subject:
    return Subject(
        file,
        resolve(file, document.path),
        hosts=frozenset(document.data["hosts"]),
        groups=frozenset(document.data["groups"]),
        left_out=left_out,
    )


def _as_faults(findings: Iterable[Complaint], document: Document) -> list[Fault]:
    return [document.fault(path, message) for path, message in findings]


def _with_questions(
    faults: Iterable[Fault], document: Document, questions: Mapping[KeyPath, str]
) -> list[Fault]:
    """What is wrong with a value that is not known yet is its question, and nothing else."""
    asked = [document.fault(path, message) for path, message in questions.items()]
    at = {fault.path for fault in asked}
    return [*(fault for fault in faults if fault.path not in at), *asked]


def _invalid(document: Document, faults: list[Fault]) -> InvalidInput:
    ordered = tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line))
    count = "1 error" if len(ordered) == 1 else f"{len(ordered)} errors"
    return InvalidInput(
        f"{document.path}: invalid inventory: {count}",
        faults=ordered,
        hint=f"fix it, then check it: drctl inventory validate {document.path}",
    )


# --- going on after a mistake -------------------------------------------------------------------


def _faults_of_the_rest(error: ValidationError, document: Document) -> list[Fault]:
    """The cross-checks' findings on what remains once the unusable values are left out."""
    data = copy.deepcopy(document.data)
    left_out: set[KeyPath] = set()
    for _ in range(_ROUNDS):
        left_out |= _leave_out(error, data)
        if not {"hosts", "groups"} <= data.keys():
            break  # there is nothing that the rest could be checked against
        try:
            file = InventoryFile.model_validate(data)
        except ValidationError as again:
            error = again
            continue
        findings = find_faults(_subject(file, document, frozenset(left_out)))
        return _as_faults((f for f in findings if not _follows(f[0], left_out)), document)
    return []


def _follows(path: KeyPath, left_out: set[KeyPath]) -> bool:
    """Whether a finding may not be an error of its own, but come from what was left out."""
    return any(
        path[: len(gone)] == gone or (gone[: len(path)] == path and path[0] != "hosts")
        for gone in left_out
    )


def _leave_out(error: ValidationError, data: dict[str, Any]) -> set[KeyPath]:
    """Remove from `data` what pydantic complains about; say what went, by its path."""
    paths = {_removable(detail, data) for detail in error.errors(include_url=False)}
    for path in sorted(paths, key=_last_first, reverse=True):
        _remove(data, path)
    return paths


def _removable(detail: Any, data: dict[str, Any]) -> KeyPath:
    path = error_path(detail, data)
    return path[:-1] if detail["type"] == "missing" and len(path) > 1 else path


def _last_first(path: KeyPath) -> tuple[tuple[bool, int | str], ...]:
    return tuple((isinstance(part, str), part) for part in path)


def _remove(data: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        data = data[part]
    if len(path) == 1 and path[0] in _STAND_INS:
        data[path[0]] = _STAND_INS[str(path[0])]
    elif _holds_key(data, path[-1]):
        del data[path[-1]]


def _holds_key(data: Any, part: str | int) -> bool:
    return isinstance(data, list) or part in data
