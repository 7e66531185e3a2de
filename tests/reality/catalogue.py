"""The rows: one thing that is wrong each, how to make it so, and by which words step 1 tells it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "rows"
LABS = ("local", "systemd", "static-pod")
"""In the order in which they are raised; a lab's rows are in the file of its name."""
COMMANDS = {
    "preflight": ("preflight", "--snapshot", "{snapshot}"),
    "try": ("preflight", "--try", "--snapshot", "{snapshot}"),
    "diff": ("inventory", "diff", "--snapshot", "{snapshot}"),
    "backup": ("backup", "--to", "{folder}"),
    "dry-run": ("restore", "--snapshot", "{snapshot}", "--replace-healthy", "--dry-run"),
}
"""What an operator types; `--inventory` is added."""


@dataclass(frozen=True)
class Row:
    """`make` and `mend` are shell for `host`, by the lab's own way and after the lab's words
    (`shell/LAB.sh`); `here` is shell for the operator's machine, where $OUT is the snapshot that is
    then given; `inventory` replaces one text, which occurs once, by another, and so do the others
    in `also`. `says` are parts of one line of what drctl prints, with <host>, <address>, <data> and
    <line> filled in: the inventory's file and the line on which `line` stands."""

    id: str
    lab: str
    wrong: str
    exit: int
    says: tuple[str, ...]
    reality: str = ""  # the row of the notes from which this product's issues come
    host: str = "node-2"
    make: str = ""
    mend: str = ""
    power: str = ""  # "off": that host
    here: str = ""
    inventory: tuple[tuple[str, str], ...] = ()
    line: str = ""
    command: str = "preflight"
    imitation: str = ""  # what is not the real thing
    sample: bool = False  # tried in CI too
    waits: str = ""  # for what: not tried yet

    @property
    def changes(self) -> str:
        """What is changed: the machine, the snapshot or the inventory alone."""
        if self.make or self.power:
            return "machine"
        return "snapshot" if self.here else "inventory"


def rows() -> list[Row]:
    """Every row, in the order in which the table has them."""
    return [
        _row(lab, raw)
        for lab in LABS
        for raw in yaml.safe_load((FOLDER / f"{lab}.yaml").read_text(encoding="utf-8"))
    ]


def _row(lab: str, raw: dict[str, Any]) -> Row:
    known = {field.name for field in fields(Row)}
    if strange := set(raw) - known:
        raise ValueError(f"{raw.get('id')}: no such field: {', '.join(sorted(strange))}")
    for name in ("says", "inventory"):
        raw[name] = tuple(
            tuple(each) if isinstance(each, list) else each for each in raw.get(name, ())
        )
    return Row(lab=lab, **raw)
