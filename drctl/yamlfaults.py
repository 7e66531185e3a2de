"""What pydantic finds in a document, in plain words, each with its file, line and path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from drctl.errors import Fault
from drctl.yamlfile import Document, KeyPath, shown, suggestion


def faults_from_validation(
    exc: ValidationError, document: Document, model: type[BaseModel] | None = None
) -> tuple[Fault, ...]:
    """Each error pydantic found, in plain words with file, line and dotted path.

    `model` is what was validated: with it, an unknown key is answered with the nearest known one.
    Branches of a union that all failed at one place become one fault.
    """
    found: dict[KeyPath, list[str]] = {}
    for error in exc.errors(include_url=False):
        path = error_path(error, document.data)
        messages = found.setdefault(path, [])
        message = _plain(error, path, model)
        if message not in messages:
            messages.append(message)
    faults = (document.fault(path, ", or ".join(words)) for path, words in found.items())
    return tuple(sorted(faults, key=lambda fault: fault.line))


def error_path(error: Mapping[str, Any], data: Any) -> KeyPath:
    """Where in `data` pydantic's error stands: its `loc` without the names of union branches."""
    loc = tuple(error["loc"])
    if error["type"] != "missing":
        return max(_walks(loc, data), key=lambda walk: (walk[-1:] == loc[-1:], len(walk)))
    parents = _walks(loc[:-1], data)
    return (*max(parents, key=lambda walk: (isinstance(_at(data, walk), dict), len(walk))), loc[-1])


def _at(data: Any, path: KeyPath) -> Any:
    return _at(data[path[0]], path[1:]) if path else data


def _walks(loc: KeyPath, data: Any) -> Iterator[KeyPath]:
    """Every way to read `loc` as a path into `data`, leaving parts out that lead nowhere."""
    if not loc:
        yield ()
        return
    head, rest = loc[0], loc[1:]
    if _holds(data, head):
        yield from ((head, *walk) for walk in _walks(rest, data[head]))
        if not rest:
            return
    yield from _walks(rest, data)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _plain(error: Mapping[str, Any], path: KeyPath, model: type[BaseModel] | None) -> str:
    kind = error["type"].removesuffix("_type").removesuffix("_parsing")
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1]) if model else ()
        key = str(error["loc"][-1])
        return f"unknown key {key!r}{suggestion(key, known)}"
    if kind == "missing":
        return f"the key {error['loc'][-1]!r} is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in {"literal_error", "enum"}:
        near = suggestion(str(error["input"]), re.findall(r"'([^']*)'", context["expected"]))
        return f"must be {context['expected']}, not {shown(error['input'])}{near}"
    if kind in _WANTED:
        quote = kind == "string" and isinstance(error["input"], bool | int | float)
        wanted = f"must be {_WANTED[kind].format(**context)}, not {shown(error['input'])}"
        return f"{wanted}: put it in quotes" if quote else wanted
    return str(error["msg"][:1].lower() + error["msg"][1:])


_WANTED = {
    "string": "text",
    "int": "a whole number",
    "int_from_float": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
    "none_required": "empty",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
}


def _known_keys(model: type[BaseModel], path: KeyPath) -> set[str]:
    """The keys that `model` knows at `path`, over all branches of its unions."""
    kinds: set[Any] = set(_flat(model))
    for part in path:
        kinds = {inner for kind in kinds for inner in _inside(kind, part)}
    return {name for kind in kinds if _is_model(kind) for name in _fields(kind)}


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    if _is_model(kind):
        yield from _flat(_fields(kind).get(str(part)))
    elif get_args(kind):
        yield from _flat(get_args(kind)[-1 if get_args(kind)[-1] is not ... else 0])


def _flat(kind: Any) -> Iterator[Any]:
    """The plain types in an annotation: through unions and Annotated, not into containers."""
    if _is_model(kind) or get_origin(kind) in {dict, list, tuple}:
        yield kind
        return
    for inner in get_args(kind):
        yield from _flat(inner)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
