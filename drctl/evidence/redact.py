"""Nothing secret in a report: what an operator gave by `--var`, and a run's token, are given by
name only, and removed from every text (an error may repeat what a command said)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from shlex import quote
from typing import Any

SHORTEST = 6  # characters; a shorter value cannot be told from the text around it
HIDDEN = "‹hidden›"

_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.S), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/._~=-]{8,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(r"(?i)([\w-]*(?:password|passwd|secret|token|api[_-]?key))(\s*[=:]\s*)\S+"),
        rf"\1\2{HIDDEN}",
    ),
)

Redact = Callable[[Any], Any]


def secret_names(plan: Mapping[str, Any]) -> set[str]:
    """The names of a recorded plan's values that no report shows."""
    made = {name for name, kind in plan.get("new_values", {}).items() if kind == "token"}
    return made | set(plan.get("options", {}).get("vars", {}))


def redactor(secrets: Mapping[str, Any]) -> Redact:
    """A function that takes these values out of any plain data: `‹NAME›` stands where one was.
    What looks like a password, a token or a private key goes too."""
    known = {(text, f"‹{name}›") for name, value in secrets.items() for text in _texts(value)}
    # As typed: a short value is known by its name before it.
    known |= {(f"{name}={quote(str(v))}", f"{name}=‹{name}›") for name, v in secrets.items()}
    longest_first = sorted(known, key=lambda pair: (-len(pair[0]), pair))

    def text(given: str) -> str:
        for secret, instead in longest_first:
            given = given.replace(secret, instead)
        for pattern, instead in _PATTERNS:
            given = pattern.sub(instead, given)
        return given

    def redact(data: Any) -> Any:
        if isinstance(data, str):
            return text(data)
        if isinstance(data, Mapping):
            return {key: redact(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [redact(value) for value in data]
        return data

    return redact


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str) and len(value) >= SHORTEST:
        yield from {value, quote(value)}
