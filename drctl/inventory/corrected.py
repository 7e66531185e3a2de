"""An inventory with some of its values corrected, and everything else as it was written, comments
included: the one owner of ruamel.yaml."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

Change = tuple[tuple[str, ...], Any, bool]
"""A key's path, its value, and whether it is to be added to the list that stands there."""


def _null(representer: Any, _: None) -> Any:
    """As people write it: ruamel.yaml would leave the place empty."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def corrected(path: Path, changes: Iterable[Change]) -> str:
    """The text of the inventory at `path`, which must be a valid one, with `changes` made."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # long lines stay long lines
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    document = yaml.load(path.read_text(encoding="utf-8-sig"))
    for keys, value, append in changes:
        section = document
        for key in keys[:-1]:
            if not isinstance(section.get(key), dict):
                section[key] = CommentedMap()
            section = section[key]
        if append:
            before = section.get(keys[-1]) or []
            listed = before if isinstance(before, list) else [before]
            if value not in listed:
                listed.append(value)
            section[keys[-1]] = listed
        else:
            section[keys[-1]] = value
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()
