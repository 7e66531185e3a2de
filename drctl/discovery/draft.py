"""An inventory that is being written: its values, and beside each where it was read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drctl.answer import shown
from drctl.inventory.questions import QUESTION, UNKNOWN
from drctl.yamlfile import KeyPath

_SOURCE = 160  # characters of a comment
# What YAML reads as this very text, wherever it stands; anything else is quoted.
_PLAIN = re.compile(
    r"[0-9]+(?:\.[0-9]+){3}|[A-Za-z_/~][A-Za-z0-9_./@+~-]*(?::[A-Za-z0-9_./@+~-]+)*"
)
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}


@dataclass
class Draft:
    """`data` is an inventory as it is written. By path: `sources` are the comments behind values,
    `questions` those above a key. `seen` are values left to the layout, which the nodes have as
    well. `blocking` counts the questions without whose answer the file cannot be used."""

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[KeyPath, str] = field(default_factory=dict)
    questions: dict[KeyPath, list[str]] = field(default_factory=dict)
    seen: dict[KeyPath, str] = field(default_factory=dict)
    blocking: int = 0

    def put(self, path: KeyPath, value: Any, source: str = "") -> None:
        """Set a value, and its parents with it."""
        at = self._parent(path)
        at[path[-1]] = value
        if source:
            self.sources[path] = source

    def ask(self, path: KeyPath, question: str, *, blocking: bool = False) -> None:
        """A marked question, at the key that it is about. A `blocking` one has a value behind it
        that `drctl inventory validate` refuses."""
        self._parent(path)
        self.questions.setdefault(path, []).append(question)
        if blocking:
            self.blocking += 1
            self.put(path, UNKNOWN)

    def note(self, path: KeyPath, value: Any, source: str) -> None:
        """A value that was read and that the layout supplies: shown, not set."""
        self._parent(path)
        self.seen[path] = f"{path[-1]}: {_inline(value)}  # {_one_line(source)}"

    def _parent(self, path: KeyPath) -> dict[Any, Any]:
        at: dict[Any, Any] = self.data
        for key in path[:-1]:
            at = at.setdefault(key, {})
        return at

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(where, question), in the order of the file."""
        return [
            (".".join(map(str, path)), question)
            for path, questions in self.questions.items()
            for question in questions
        ]

    def text(self, head: Iterable[str] = ()) -> str:
        """The file, with `head` as comments at its top."""
        lines = [f"# {_one_line(line)}".rstrip() for line in head]
        return "\n".join([*lines, *self._mapping(self.data, ())]) + "\n"

    # -- writing ----------------------------------------------------------------------------------

    def _mapping(self, data: Mapping[Any, Any], path: KeyPath) -> Iterator[str]:
        indent = "  " * len(path)
        keys = [*data, *(p[-1] for p in self._only_noted(path) if p[-1] not in data)]
        for key in keys:
            here = (*path, key)
            if not path and isinstance(data.get(key), dict):
                yield ""
            for question in self.questions.get(here, ()):
                yield f"{indent}# {QUESTION}{_one_line(question, 400)}"
            if here in self.seen:
                yield f"{indent}# {self.seen[here]}"
            if key in data:
                yield from self._entry(key, data[key], here, indent)

    def _only_noted(self, path: KeyPath) -> list[KeyPath]:
        """Questions and seen values at keys below `path`, with or without a value."""
        return list(dict.fromkeys(p for p in [*self.questions, *self.seen] if p[:-1] == path))

    def _entry(self, key: Any, value: Any, here: KeyPath, indent: str) -> Iterator[str]:
        comment = f"  # {_one_line(self.sources[here])}" if here in self.sources else ""
        below = self._has_below(here)
        if isinstance(value, dict) and (value or below):
            nothing = not value  # a mapping of comments only is none: it must still be one
            yield f"{indent}{_scalar(key)}:{' {}' if nothing else ''}{comment}"
            yield from self._mapping(value, here)
        elif isinstance(value, list | tuple) and below:
            yield f"{indent}{_scalar(key)}:{comment}"
            for number, item in enumerate(value):
                own = self.sources.get((*here, number), "")
                behind = f"  # {_one_line(own)}" if own else ""
                yield f"{indent}  - {_inline(item)}{behind}"
        else:
            yield f"{indent}{_scalar(key)}: {_inline(value)}{comment}"

    def _has_below(self, path: KeyPath) -> bool:
        noted = [*self.sources, *self.questions, *self.seen]
        return any(len(p) > len(path) and p[: len(path)] == path for p in noted)


def _one_line(text: str, most: int = _SOURCE) -> str:
    """A comment ends with its line, so it has none but its own."""
    return shown(text, most)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(k)}: {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """A scalar that YAML reads back as what it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=True)
