"""Values out of other tools' files, held to what an inventory allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from drctl.discovery.told import Told
from drctl.errors import Fault
from drctl.inventory.fields import Address, Jump, LocalPath, Port, User

_KINDS: dict[str, TypeAdapter[Any]] = {
    "address": TypeAdapter(Address),
    "user": TypeAdapter(User),
    "key": TypeAdapter(LocalPath),
    "jump": TypeAdapter(Jump),
    "port": TypeAdapter(Port),
}


class Checked:
    """Checks for one file; what is wrong goes to its list of faults."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults

    def told(self, kind: str, value: str, source: str, line: int = 0) -> Told[str] | None:
        """The text with its source, or None and a fault."""
        return Told(value, source) if self._fits(kind, value, source, line) else None

    def port(self, value: str | int | object, source: str, line: int = 0) -> Told[int] | None:
        """A port, which may be written as text."""
        text = str(value)
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
        return Told(number, source) if self._fits("port", number, source, line) else None

    def _fits(self, kind: str, value: object, source: str, line: int) -> bool:
        why = wrong(kind, value)
        if why:
            name = source.rpartition(": ")[2]
            self._faults.append(Fault(f"{name}: {why}", str(self._path), line))
        return not why


def wrong(kind: str, value: object) -> str:
    """Why this cannot be a host's address, user, key, jump or port; "" where it can."""
    try:
        _KINDS[kind].validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return str(first.get("ctx", {}).get("error") or first["msg"]).lower()
    return ""
