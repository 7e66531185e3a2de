"""The inventory that fits what was seen, and what is left to ask."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from drctl.answer import shown
from drctl.discovery.absent import absent_members
from drctl.discovery.composed import Composer
from drctl.discovery.doubts import doubts
from drctl.discovery.draft import Draft
from drctl.discovery.known import Known
from drctl.discovery.services import Services, layouts
from drctl.errors import InvalidInput
from drctl.inventory import Inventory, load_inventory
from drctl.inventory.model import InventoryFile
from drctl.inventory.presets import PRESETS
from drctl.inventory.questions import UNKNOWN
from drctl.yamlfaults import error_path

HEAD = (
    "Written by `drctl inventory discover`. Behind each value: where it was read.",
    "A comment `the layout's` shows what was seen and needs no line of its own.",
)


@dataclass(frozen=True)
class Discovered:
    """The text; its questions as (path, question); why it cannot be used yet, as faults."""

    text: str
    questions: tuple[tuple[str, str], ...]
    faults: tuple[str, ...]
    layout: str


def discovered(known: Known) -> Discovered:
    """Of the layouts that may be meant, the one that leaves least to say."""
    draft = best_draft(known)
    asked = draft.asked
    head = [*HEAD]
    if asked:
        head.append(f"Questions that are open: {len(asked)} (look for QUESTION).")
    text = draft.text(head)
    return Discovered(text, tuple(asked), _faults(text), draft.data["layout"])


def best_draft(known: Known) -> Draft:
    """The draft in the layout that leaves least to say."""
    drafts = [_draft(known, name) for name in layouts([*known.looked])]
    draft = min(drafts, key=lambda draft: (draft.blocking, _weight(draft)))
    _hold(draft)
    return draft


def _draft(known: Known, layout: str) -> Draft:
    composer = Composer(known, layout, PRESETS[layout])
    composer.head()
    composer.hosts()
    composer.groups()
    composer.etcd()
    absent_members(composer)
    Services(composer).compose()
    doubts(composer)
    return composer.draft


def _weight(draft: Draft) -> int:
    """How much has to be said beyond hosts and groups."""
    return sum(
        1 for path in draft.sources if path[0] not in ("hosts", "groups", "defaults", "cluster")
    )


def _hold(draft: Draft) -> None:
    """A value that an inventory cannot take becomes a question."""
    for _ in range(8):
        try:
            InventoryFile.model_validate(draft.data)
            return
        except ValidationError as error:
            fresh = False
            for detail in error.errors(include_url=False):
                path = error_path(detail, draft.data)
                value = detail["input"]
                if value != UNKNOWN and path and isinstance(value, str | int):
                    why = str(detail.get("ctx", {}).get("error") or detail["msg"])
                    question = f"was read as {shown(str(value))!r}: {why}"
                    path = path[:-1] if isinstance(path[-1], int) else path
                    draft.ask(path, question, blocking=True)
                    fresh = True
            if not fresh:
                return


def loaded(text: str) -> Inventory:
    """The inventory that the text is. Raises InvalidInput."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.yaml"
        path.write_text(text, encoding="utf-8")
        return load_inventory(path)


def _faults(text: str) -> tuple[str, ...]:
    """What `drctl inventory validate` will say of it."""
    try:
        loaded(text)
    except InvalidInput as error:
        return tuple(
            str(fault).removeprefix(fault.file).removeprefix(":") for fault in error.faults
        )
    return ()
