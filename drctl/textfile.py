"""Reads a text file that somebody wrote: bounded, UTF-8, and every refusal with its line."""

from __future__ import annotations

from pathlib import Path

from drctl.errors import Fault, InvalidInput

SIZE_LIMIT = 1024 * 1024  # bytes; an inventory of a thousand hosts has a tenth of it


def read_text(path: Path, what: str) -> str:
    """The file's text. Raises InvalidInput where it cannot be read, is no UTF-8 or has more than
    SIZE_LIMIT bytes; `what` says what it should be: "YAML"."""
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot read {path}: {reason.lower()}") from None
    if len(raw) > SIZE_LIMIT:
        raise InvalidInput(f"{path} is larger than {SIZE_LIMIT} bytes: is it the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise unusable(path, line, "not UTF-8 text: is it the right file?", what) from None


def unusable(path: Path, line: int, message: str, what: str) -> InvalidInput:
    """The refusal of a file as a whole."""
    return InvalidInput(f"{path}: invalid {what}", faults=(Fault(message, str(path), line),))
