"""Whoever can write the state directory: changes what a journal says and makes its chain anew, as
nothing in the file itself can show."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from drctl.journal.chain import chain_hash

Body = dict[str, Any]


def forge(state: Path, run: str, change: Callable[[str, Body], Body]) -> None:
    """Give each event of the run's journal the body that `change` makes of its kind and body."""
    (path,) = state.rglob(f"{run}/journal.sqlite")
    with closing(sqlite3.connect(path)) as db, db:
        last = ""
        for seq, at, kind, body in db.execute("SELECT seq, at, kind, body FROM events").fetchall():
            text = json.dumps(change(kind, json.loads(body)), sort_keys=True, ensure_ascii=False)
            last = chain_hash(last, seq, at, kind, text)
            db.execute("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (text, last, seq))


def another_name(kind: str, body: Body) -> Body:
    """Who ran, and how it was confirmed."""
    changed = {"session": {"who": "mallory@laptop"}, "confirmed": {"how": "typed 'sim'"}}
    return {**body, **changed.get(kind, {})}
