"""Text on its way out of the program: nothing from outside works a terminal or hides on a page.

What Python calls not printable (control characters, C1 as well; marks that turn the direction of
writing or have no width; lone surrogates; spaces that look like others) is shown as an escape.
Only `drctl.ui.console` and `drctl.render` call this; nobody else writes to a terminal or a page.
"""

from __future__ import annotations

import json
import re

_OURS = "\n\t"
_NOT_ASCII_LETTERS = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """`text` with every character that does not show escaped as in Python; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _OURS else _escape(c) for c in text)


def one_line(text: str) -> str:
    """The same for what was one line where it came from, as a table's cell: it stays one."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def json_text(document: object) -> str:
    """`document` as JSON that a terminal can show and every parser reads back as it was."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    return _NOT_ASCII_LETTERS.sub(_shown_in_json, text)


def _shown_in_json(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable() or character == "\n":  # json has escaped those within a string
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(rf"\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
