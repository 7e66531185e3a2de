"""The marks of an inventory that `drctl inventory discover` wrote: what it could not find is a
question, as a comment above its key; where nothing works without the answer the value is a `?`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drctl.yamlfile import Document, KeyPath

QUESTION = "QUESTION: "
UNKNOWN = "?"
"""Stands for a value that has to be known and is not."""


def unanswered(document: Document, text: str) -> dict[KeyPath, str]:
    """Each value that is a `?` -> the question above it, and what to do."""
    asked = _asked(text)
    found = {}
    for path in _unknown(document.data, ()):
        questions = " ".join(asked.get(document.line(path), ()))
        what = f"open question: {questions}" if questions else "not known yet"
        found[path] = f"{what} (write the answer in place of the '?')"
    return found


def to_answer(document: Document, text: str) -> list[tuple[int, str]]:
    """(line, question) of those that can be left: what they are about has a value, or a default."""
    blocking = {document.line(path) for path in _unknown(document.data, ())}
    return [
        (line, f"open question: {question} (remove the comment once it is answered)")
        for line, questions in _asked(text).items()
        if line not in blocking
        for question in questions
    ]


def _asked(text: str) -> Mapping[int, list[str]]:
    """Line -> the questions in the comments above it."""
    asked: dict[int, list[str]] = {}
    waiting: list[str] = []
    number = 0
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.strip()
        if comment.startswith(f"# {QUESTION}"):
            waiting.append(comment.removeprefix(f"# {QUESTION}"))
        elif waiting and not comment.startswith("#"):
            asked[number] = waiting
            waiting = []
    if waiting:
        asked[number] = waiting
    return asked


def _unknown(data: Any, path: KeyPath) -> Iterator[KeyPath]:
    if data == UNKNOWN:
        yield path
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _unknown(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from _unknown(value, (*path, number))
