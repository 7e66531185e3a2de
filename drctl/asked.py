"""What a command line asks for, told before it is parsed. Imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Sequence


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, even one that cannot be read to its end."""
    said = ""
    for word, after in zip(arguments, [*arguments[1:], ""], strict=False):
        if word == "--":
            break
        if word == "--output":
            said = after
        elif word.startswith("--output="):
            said = word.removeprefix("--output=")
    return said == "json"
