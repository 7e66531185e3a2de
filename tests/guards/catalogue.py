"""The protections of guards.yaml, and how one is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "guards.yaml"


@dataclass(frozen=True)
class Guard:
    """`edits` are (old, new) texts of `file`; `tests` the fast tests that should notice."""

    name: str
    keeps: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]

    def without(self, text: str) -> str:
        """`text` of the file with the protection taken away; ValueError where that cannot be."""
        for old, new in self.edits:
            found = text.count(old)
            if found != 1:
                raise ValueError(f"guard {self.name}: {found} times in {self.file}: {old}")
            text = text.replace(old, new)
        return text

    @property
    def removal(self) -> str:
        """What is done to the file, in one line."""
        return "; ".join(f"{_short(old)} → {_short(new) or 'nothing'}" for old, new in self.edits)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}…"


def guards() -> tuple[Guard, ...]:
    """All of them, in the order of the file."""
    return tuple(_guard(entry) for entry in yaml.safe_load(FILE.read_text(encoding="utf-8")))


def _guard(entry: dict[str, Any]) -> Guard:
    edits = entry.get("edits") or [{"old": entry["old"], "new": entry["new"]}]
    return Guard(
        name=entry["name"],
        keeps=entry["keeps"],
        file=entry["file"],
        edits=tuple((edit["old"], edit["new"]) for edit in edits),
        tests=tuple(entry["tests"]),
    )
