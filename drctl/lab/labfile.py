"""lab.json, the record in a lab's directory: which driver made the lab, and what it needs to find
everything again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from drctl.errors import Refused

STATE_FILE = "lab.json"
_PART = "lab.part"


def read(directory: Path) -> dict[str, Any] | None:
    """What the record holds, None where there is none.

    Refused when it is there and unreadable: whose processes and machines these are is then unknown.
    """
    path = directory / STATE_FILE
    try:
        raw = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise damaged(directory, error) from error
    if not isinstance(raw, dict):
        raise damaged(directory, "not a JSON object")
    return raw


def damaged(directory: Path, why: object) -> Refused:
    """The error of a record that cannot be used."""
    return Refused(
        f"{directory / STATE_FILE} is damaged: {why}",
        hint=f"look for its processes and containers, stop them, then remove {directory} yourself",
    )


def write(directory: Path, body: dict[str, Any]) -> None:
    """Replace the record; a reader sees the old or the new one, never half of it."""
    part = directory / _PART
    part.write_text(_text(body))
    part.replace(directory / STATE_FILE)


def claim(directory: Path, body: dict[str, Any]) -> None:
    """Make `directory` ours by its first record. Of two `up` at the same time only one gets past
    here (FileExistsError for the other); who is killed in here leaves a whole record or none."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = directory / f"{os.getpid()}-{_PART}"
    part.write_text(_text(body))
    try:
        os.link(part, directory / STATE_FILE)
    finally:
        part.unlink()


def vacant(directory: Path) -> bool:
    """Whether a lab may be made there: nothing, or what a process killed in `claim` left."""
    if not directory.exists():
        return True
    if not directory.is_dir():
        return False
    return all(path.name.endswith(_PART) for path in directory.iterdir())


def remove(directory: Path) -> None:
    """Remove the directory, the record last: who is killed in here can be followed by another."""
    for path in directory.iterdir():
        if path.name == STATE_FILE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (directory / STATE_FILE).unlink()
    directory.rmdir()


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=2) + "\n"
