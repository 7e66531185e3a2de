"""What a node remembers of all runs that changed it: `WORK_DIR/history`, read back. Pure.

One line for each claim of a run and for each time it gave the node back, the newest last, written
by `templates/job/history.sh.j2` under the node's lock:

    seq at run kind who journal head_seq head_hash previous

`head_*` is the newest event of the controller's journal at that moment, by number and hash, which
anchors that journal outside its own machine. `previous` is the sha256 of the line before, so that a
line taken out or changed shows. A node keeps its last 200 lines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

LINES = 200
NO_HASH = "0" * 64
CLAIMS = {"forward": "changed", "undo": "taking-back", "clean": "cleaning"}
"""What a claim intends, by the session's direction."""
ENDS = {name: name.replace(" ", "-") for name in ("done", "rolled-back", "cleaned", "not begun")}
KEPT = "kept"  # released, and the run is there what it was before this session
KINDS = frozenset((*CLAIMS.values(), *ENDS.values(), KEPT))
CHANGES, TAKEN_BACK = CLAIMS["forward"], frozenset((ENDS["rolled-back"], ENDS["not begun"]))
_LINE = re.compile(
    r"(?P<seq>[1-9][0-9]{0,8}) (?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"
    r" (?P<run>[A-Za-z0-9][A-Za-z0-9._-]{0,79}) (?P<kind>[a-z-]{1,11})"
    r" (?P<who>[A-Za-z0-9_][A-Za-z0-9._@-]{0,79}) (?P<journal>[a-z0-9]{1,32})"
    r" (?P<head_seq>[0-9]{1,9}) (?P<head_hash>[0-9a-f]{64}) (?P<previous>[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Entry:
    """One line: `run`, controlled by `who` with the journal `journal`, was here."""

    seq: int
    at: str
    run: str
    kind: str
    who: str
    journal: str
    head: tuple[int, str]


@dataclass(frozen=True)
class History:
    """What a node told. Where `problem` is not "" nothing of it is believed."""

    entries: tuple[Entry, ...] = ()
    problem: str = ""

    @property
    def last(self) -> int:
        """The number of the newest line; 0 where there is none."""
        return self.entries[-1].seq if self.entries else 0

    @property
    def whole(self) -> bool:
        """Whether nothing of it was folded away."""
        return not self.entries or self.entries[0].seq == 1

    def of(self, run: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.run == run)

    def standing(self) -> dict[str, Entry]:
        """Each run whose change was not rolled back, with the line where that change began."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            if entry.kind == CHANGES:
                found.setdefault(entry.run, entry)
            elif entry.kind in TAKEN_BACK:
                found.pop(entry.run, None)
        return found

    def follower(self, run: str, *, changed: bool) -> Entry | None:
        """The newest run whose change stands here and came after that of `run`; None where none
        did. `changed`: by its journal `run` changed this node, so that a history without it has
        lost it, and whatever stands there now came later."""
        standing = self.standing()
        if run in standing:
            since = standing.pop(run).seq
        elif changed and not self.of(run):
            since = 0
        else:
            return None
        later = [entry for entry in standing.values() if entry.seq > since]
        return max(later, key=lambda entry: entry.seq, default=None)


def read_history(lines: Iterable[str]) -> History:
    """What the last LINES of `lines` add up to; never raises. One that was cut short is none."""
    given = list(lines)[-LINES:]
    entries: list[Entry] = []
    before = ""
    for number, line in enumerate(given, 1):
        found = _LINE.fullmatch(line)
        if found is None or found["kind"] not in KINDS:
            if number == len(given):
                break
            return History(problem=f"line {number} of its history cannot be read")
        entry = Entry(
            int(found["seq"]),
            found["at"],
            found["run"],
            found["kind"],
            found["who"],
            found["journal"],
            (int(found["head_seq"]), found["head_hash"]),
        )
        follows = entry.seq == entries[-1].seq + 1 if entries else True
        if not follows or ((entries or entry.seq == 1) and found["previous"] != line_hash(before)):
            return History(problem=f"line {number} of its history does not match the others")
        entries.append(entry)
        before = line
    return History(tuple(entries))


def line_hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def line_of(run: str, kind: str, who: str, journal: str, head: tuple[int, str]) -> str:
    """The middle of a line; the node puts its number, the time and the hash to it."""
    name = re.sub(r"^[^A-Za-z0-9]|[^A-Za-z0-9._@-]", "_", who)[:80] or "_"
    seq, digest = head
    return f"{run} {kind} {name} {journal or 'none'} {seq} {digest or NO_HASH}"


def ending(state: str) -> str:
    """The kind of line with which a run gives a node back that ended as `state`."""
    return ENDS.get(state, KEPT)
