"""The records of drills as reports: the page beside each record, and the history of all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from drctl.drill import record
from drctl.drill.record import DrillRecord
from drctl.drill.times import utc_now
from drctl.errors import InvalidInput, Refused
from drctl.evidence.drill import drill_evidence, point
from drctl.evidence.drillpage import drill_page
from drctl.lab.labs import Say


def records(state_dir: Path, say: Say) -> list[DrillRecord]:
    """All records that can be read, oldest first; `say` hears of those that cannot."""
    found = []
    for path in sorted(record.folder(state_dir).glob("*.json")):
        try:
            found.append(record.load(path))
        except InvalidInput as error:
            say(f"warning: {error}")
    return sorted(found, key=lambda made: (made.started, made.drill))


def chosen(state_dir: Path, drill: str | None, say: Say) -> DrillRecord:
    """The drill of that id, by default the latest; Refused where there is none."""
    found = [made for made in records(state_dir, say) if drill in (None, made.drill)]
    if not found:
        if drill:
            raise Refused(f"no drill {drill!r}", hint="drctl drill history")
        raise Refused(f"no drills yet in {record.folder(state_dir)}", hint="drctl drill run")
    return found[-1]


def document(made: DrillRecord, state_dir: Path, say: Say) -> dict[str, Any]:
    """The record with all that follows from it and from the drills before it."""
    drills = [each.document() for each in records(state_dir, say)]
    return drill_evidence(made.document(), drills, made_at=utc_now())


def write_page(made: DrillRecord, state_dir: Path, say: Say) -> Path:
    """The page beside the record, for the same eyes."""
    path = record.folder(state_dir) / f"{made.drill}.html"
    page = drill_page(document(made, state_dir, say))
    made_by_us = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(made_by_us, "w", encoding="utf-8") as file:
        file.write(page)
    return path


def history(state_dir: Path, say: Say) -> list[dict[str, Any]]:
    """Every drill in a line, oldest first."""
    return [point(made.document()) for made in records(state_dir, say)]
