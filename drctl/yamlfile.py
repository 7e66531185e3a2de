"""Reads YAML so that every error in it has a line: the sole owner of pyyaml.

Stricter and plainer than YAML allows. Duplicate keys are errors (pyyaml silently keeps the last
one); aliases, merge keys, tags and several documents in one file are refused in words; a scalar is
a number only where YAML 1.2's core says so, so `no`, `12:30` and `2024-01-01` stay what they look
like. Keys are always text.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drctl.errors import Fault, InvalidInput
from drctl.textfile import read_text, unusable

DEPTH_LIMIT = 32  # levels of nesting; deeper is no inventory and would exhaust the composer

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A file's content as plain Python, which remembers on which line each key stands."""

    data: dict[str, Any]
    path: Path
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        """The 1-based line of the key or list item at `path`, or of its nearest ancestor."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def fault(self, path: KeyPath, message: str) -> Fault:
        """An error at `path` of this file."""
        return Fault(message, str(self.path), self.line(path), dotted(path))


def dotted(path: KeyPath) -> str:
    """`hosts.etcd-1.address`, `groups.etcd[0]`: a path the way people write it."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def suggestion(word: str, known: Collection[str]) -> str:
    """`, did you mean 'address'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.65)
    return f", did you mean {near[0]!r}?" if near else ""


def read_yaml(path: str | Path) -> Document:
    """Read a file whose top level is a mapping. Raises InvalidInput with every error found."""
    document, faults = scan_yaml(path)
    if faults:
        raise InvalidInput(f"{path}: invalid YAML", faults=tuple(faults))
    return document


@dataclass(frozen=True)
class Sealed:
    """A value that is not read: under a tag that the caller lets stand."""

    tag: str


def scan_yaml(path: str | Path, *, sealed: Collection[str] = ()) -> tuple[Document, list[Fault]]:
    """Like `read_yaml`, but hands back the mistakes that leave something to go on with.

    For callers that report these together with what they find themselves. Of two equal keys the
    first one counts. A scalar under a tag in `sealed` becomes `Sealed`. Raises InvalidInput where
    nothing can be read at all.
    """
    path = Path(path)
    return _scan(read_text(path, "YAML"), path, sealed)


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The same of a text that is at hand, called `name`. Raises InvalidInput for any error."""
    document, faults = _scan(text, Path(name))
    if faults:
        raise InvalidInput(f"{name}: invalid YAML", faults=tuple(faults))
    return document.data


def _scan(text: str, path: Path, sealed: Collection[str] = ()) -> tuple[Document, list[Fault]]:
    try:
        _refuse_unsupported(text, path, sealed)
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _syntax_error(error, text, path) from None
    if not isinstance(node, yaml.MappingNode):
        what = "is empty" if node is None else "must be a mapping at the top level"
        raise _unusable(path, 1, f"the file {what}")
    builder = _Builder(str(path), sealed)
    data = builder.mapping(node, ())
    builder.lines[()] = node.start_mark.line + 1
    return Document(data, path, builder.lines), builder.faults


def _unusable(path: Path, line: int, message: str) -> InvalidInput:
    return unusable(path, line, message, "YAML")


def _syntax_error(error: Exception, text: str, path: Path) -> InvalidInput:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "cannot be parsed"
        return _unusable(path, mark.line + 1 if mark else 1, f"not valid YAML: {problem}")
    line, what = 1, "a meaningless escape or directive"
    if isinstance(error, yaml.reader.ReaderError):
        line, what = text.count("\n", 0, error.position) + 1, "a character that YAML does not allow"
    return _unusable(path, line, f"not valid YAML: {what}")


class _Loader(yaml.SafeLoader):
    """Safe, and with the implicit types of YAML 1.2's core only."""


_SCALARS: dict[str, tuple[str, str, Callable[[str], Any]]] = {  # pattern, first letters, meaning
    "null": (r"(?:~|null|Null|NULL|)\Z", "~nN", lambda _: None),
    "bool": (r"(?i:true|false)\Z", "tTfF", lambda text: text.lower() == "true"),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,17})\Z", "-+0123456789", int),
    "float": (r"[-+]?[0-9]{1,17}\.[0-9]{1,17}\Z", "-+0123456789", float),
}
_Loader.yaml_implicit_resolvers = {}  # forget YAML 1.1's, where `no` is false and 12:30 is 750
for _tag, (_pattern, _first, _) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), [*_first, ""])


def _refuse_unsupported(text: str, path: Path, sealed: Collection[str]) -> None:
    """Refuse what would expand, recurse or construct, before anything is composed."""
    documents = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.ScalarEvent) and event.tag in sealed:
            continue
        message = _unsupported(event, documents, depth)
        if message:
            raise _unusable(path, event.start_mark.line + 1 if event.start_mark else 1, message)


def _unsupported(event: yaml.Event, documents: int, depth: int) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return f"the alias '*{event.anchor}' is not supported: write the value out"
    tag = getattr(event, "tag", None)
    if tag is not None:
        return f"the tag {tag!r} is not supported: leave it out"
    if documents > 1:
        return "a second document ('---') in one file is not supported"
    return f"nested more than {DEPTH_LIMIT} levels deep" if depth > DEPTH_LIMIT else None


class _Builder:
    """Turns composed nodes into plain Python, noting lines and errors on the way."""

    def __init__(self, file: str, sealed: Collection[str]) -> None:
        self.file = file
        self.sealed = sealed
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[Fault] = []

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in result:
                first = self.lines[here]
                self._fault(key_node, here, f"duplicate key {key!r}, first given on line {first}")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            result[key] = self._value(value_node, here)
        return result

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, path, "a key must be plain text")
            return None
        if node.value == "<<" and node.style is None:
            self._fault(node, path, "the merge key '<<' is not supported: write the keys out")
            return None
        return self._clean(node, path)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*path, n)) for n, child in enumerate(node.value)]
        if node.tag in self.sealed:
            return Sealed(node.tag)
        text = self._clean(node, path)
        return _SCALARS[node.tag][2](text) if node.tag in _SCALARS else text

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _clean(self, node: yaml.Node, path: KeyPath) -> str:
        """The scalar's text; control characters could forge a terminal's or a shell's lines."""
        text = str(node.value)
        controls = {char for char in text if unicodedata.category(char) in {"Cc", "Cs"}} - {*"\n\t"}
        clean = "".join(char for char in text if char not in controls)
        if clean != text:
            self._fault(node, path, "contains a control character")
        return clean

    def _fault(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self.faults.append(Fault(message, self.file, node.start_mark.line + 1, dotted(path)))


def shown(value: Any) -> str:
    """A value as a message may quote it: short, and collections by their kind only."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
