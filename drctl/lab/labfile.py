"""lab.json, the record in a lab's directory: which driver made the lab, and what it needs to find
everything again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from drctl.errors import Refused

STATE_FILE = "lab.json"


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
        raise damaged(directory, "no object")
    return raw


def damaged(directory: Path, why: object) -> Refused:
    """The error of a record that cannot be used."""
    return Refused(
        f"{directory / STATE_FILE} is damaged: {why}",
        hint=f"look for its processes and containers, then remove {directory} yourself",
    )


def write(directory: Path, body: dict[str, Any]) -> None:
    """Replace the record; a reader sees the old or the new one, never half of it."""
    path = directory / STATE_FILE
    part = path.with_suffix(".part")
    part.write_text(json.dumps(body, indent=2) + "\n")
    part.replace(path)


def claim(directory: Path) -> None:
    """Make `directory` ours. Two `up` at the same time: only one gets past here."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(directory / STATE_FILE, os.O_CREAT | os.O_EXCL, 0o600))
