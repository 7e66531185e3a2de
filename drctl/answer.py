"""What a node answers: `name=value` lines, read here and nowhere else.

Nothing that a node says is believed. The whole answer is bounded, and has no control characters but
newline and tab; a name stands in it once (twice means that two scripts' outputs were mixed, or
that someone wants two readers to read two things); a value that is to go anywhere is asked for by
what it must be, and is else an `AnswerError` that names the host and what it said. It is believed
for that host only: what is made of several hosts' answers stands in a table (`etcd.values`).

Lines of any other shape (banners, blank lines) and names that nobody asks for are left out. An
empty value means "looked, found none"; a missing name means "not looked".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drctl.errors import StepFailed

CHARACTERS, LINES, VALUE = 1 << 20, 10_000, 1 << 18
"""The most that an answer may have: characters, lines, and characters of one value."""
RUN_ID = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"  # as beginning.new_run_id makes it
INT64, UINT64 = (1 << 63) - 1, (1 << 64) - 1
LOOK = "check that host: drctl's own scripts never answer like this"
SHOWN = 80  # characters of a value that a message shows

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=(.*)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DIGITS = re.compile(r"[0-9]{1,20}")
_ID = r"[0-9]{1,10}"  # of a user or a group
_WORD = re.compile(r"[!-~]{1,4096}")


class AnswerError(StepFailed, ValueError):
    """An answer that does not mean what it should."""

    def __init__(self, message: str, *, host: str | None = None) -> None:
        super().__init__(f"invalid answer: {message}", host=host, hint=LOOK)
        self.reason = message


def shown(text: str, most: int = SHOWN) -> str:
    """`text` for people: one short line, with a `?` for whatever is not printable."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text[: 4 * most].split()))
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[:most]}…"


def is_run_id(text: str) -> bool:
    """Whether `text` is a run's id, as `beginning.new_run_id` makes them."""
    return re.fullmatch(RUN_ID, text) is not None


def parse_number(text: str, *, most: int = INT64) -> int:
    """Decimal digits, 0 to `most`. Raises AnswerError."""
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise AnswerError(f"{shown(text)!r} is not a number up to {most}")
    return int(text)


@dataclass(frozen=True)
class Answer(Mapping[str, str]):
    """What `host` answered. As a mapping it gives what was said, bounded but else unread: for the
    journal, and to see whether a name is there. Whatever goes further is asked for by its kind."""

    host: str
    said: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.said[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.said)

    def __len__(self) -> int:
        return len(self.said)

    def _wrong(self, name: str, what: str) -> AnswerError:
        said = f"is {shown(self.said[name])!r}" if name in self.said else "is missing"
        return AnswerError(f"{name} {said}, not {what}", host=self.host)

    def text(self, name: str, default: str = "", *, most: int = 300) -> str:
        """What it says, for people: printable and short. `default` where it says nothing."""
        return shown(self.said.get(name, ""), most) or default

    def number(self, name: str, *, most: int = INT64) -> int:
        """Decimal digits, 0 to `most`."""
        try:
            return parse_number(self.said.get(name, ""), most=most)
        except AnswerError:
            raise self._wrong(name, f"a number up to {most}") from None

    def number_or_none(self, name: str, *, most: int = INT64) -> int | None:
        """The same; None where it found none, or did not look."""
        return self.number(name, most=most) if self.said.get(name) else None

    def hexadecimal(self, name: str, *digits: int) -> str:
        """An id or a digest of so many hexadecimal digits, in lower case; "" where it has none."""
        said = self.said.get(name, "")
        if said and (len(said) not in digits or not re.fullmatch("[0-9a-f]+", said)):
            raise self._wrong(name, f"{' or '.join(map(str, digits))} hexadecimal digits")
        return said

    def run(self, name: str) -> str:
        """A run's id; "" for none."""
        said = self.said.get(name, "")
        if said and not is_run_id(said):
            raise self._wrong(name, "a run's id")
        return said

    def identifier(self, name: str) -> str:
        """Letters, digits and dashes, as a machine's id has them; "" for none."""
        said = self.said.get(name, "")
        if said and not re.fullmatch("[0-9A-Za-z-]{1,64}", said):
            raise self._wrong(name, "letters, digits and dashes, 64 at most")
        return said

    def one_of(self, name: str, *choices: str) -> str:
        """One of few words, or of the paths that the plan allows."""
        said = self.said.get(name, "")
        if said not in choices:
            raise self._wrong(name, " or ".join(map(repr, choices)))
        return said

    def owner(self, name: str) -> str:
        """`uid:gid`; "" for none."""
        said = self.said.get(name, "")
        if said and not re.fullmatch(f"{_ID}:{_ID}", said):
            raise self._wrong(name, "a numeric user and group")
        return said

    def mode(self, name: str) -> str:
        """A directory's permissions, in octal digits; "" for none."""
        said = self.said.get(name, "")
        if said and not re.fullmatch("[0-7]{3,4}", said):
            raise self._wrong(name, "a mode like 700")
        return said

    def words(self, name: str, *, most: int = 1000) -> tuple[str, ...]:
        """Words of printable ASCII, parted by spaces; none where it is missing."""
        found = tuple(self.said.get(name, "").split())
        if len(found) > most or not all(map(_WORD.fullmatch, found)):
            raise self._wrong(name, f"at most {most} plain words")
        return found

    def pieces(self, name: str, *, most: int = 20) -> tuple[bytes, ...]:
        """Bytes in base64, parted by spaces, as certificates travel; none where it is missing."""
        found = self.said.get(name, "").split()
        try:
            if len(found) <= most:
                return tuple(base64.b64decode(piece, validate=True) for piece in found)
        except (binascii.Error, ValueError):
            pass
        raise self._wrong(name, f"at most {most} pieces of base64")


def parse(text: str, host: str = "") -> Answer:
    """What `host` answered. Raises AnswerError where it is too much, garbled, or says one thing
    twice."""
    fields: dict[str, str] = {}
    if len(text) > CHARACTERS:
        raise AnswerError(f"it has {len(text)} characters", host=host or None)
    text = text.replace("\r\n", "\n")
    if strange := _CONTROL.search(text):
        near = text[max(0, strange.start() - 30) : strange.end() + 30]
        what = f"it has the control character {ord(strange[0]):#04x}, in {shown(near)!r}"
        raise AnswerError(what, host=host or None)
    lines = text.split("\n")
    if len(lines) > LINES:
        raise AnswerError(f"it has {len(lines)} lines", host=host or None)
    for line in lines:
        if not (found := _LINE.fullmatch(line.strip(" \t"))):
            continue
        name, value = found[1], found[2].strip(" \t")
        if len(value) > VALUE:
            raise AnswerError(f"{shown(name)} has {len(value)} characters", host=host or None)
        if name in fields:
            raise AnswerError(f"{shown(name)} is given twice", host=host or None)
        fields[name] = value
    return Answer(host, fields)
