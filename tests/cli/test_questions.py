"""Questions on terminals that are there, gone, or seen by nobody; and what a result that
could not be written ends with. Real pseudo-terminals and pipes."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO

import click
import pytest

from drctl.cli.common import Options, ask, can_ask, confirmed, hidden_answer
from drctl.cli.ends import status_of
from drctl.errors import Aborted, NotProven
from drctl.ui.console import print_json
from drctl.ui.streams import Unbroken, unbroken

Terminal = tuple[int, IO[str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """(its far side, standard input)."""
    far, near = pty.openpty()
    with os.fdopen(near, "r+b", buffering=0) as raw:
        file = io.TextIOWrapper(raw, write_through=True)
        monkeypatch.setattr(sys, "stdin", file)
        yield far, file
    with suppress(OSError):  # a test has closed it
        os.close(far)


QUESTIONS = [lambda: ask("text", "prod"), lambda: confirmed("sure?")]


def test_a_yes(terminal: Terminal) -> None:
    far, _ = terminal
    with unbroken():
        os.write(far, b"prod\n")
        assert ask("text", "prod") == "typed 'prod'"
        os.write(far, b"nope\n")
        assert ask("text", "prod") is None
        os.write(far, b"y\n")
        assert confirmed("sure?")


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_terminal_that_is_gone(terminal: Terminal, question: Callable[[], object]) -> None:
    far, _ = terminal
    with unbroken(), pytest.raises((Aborted, click.Abort)):
        os.close(far)
        question()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_nobody_sees(
    terminal: Terminal, question: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error is a pipe that nobody reads any more, and somebody types."""
    far, _ = terminal
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        with unbroken(), pytest.raises(Aborted, match="nobody sees the question"):
            os.write(far, b"prod\ny\n" if question is QUESTIONS[0] else b"y\n")
            question()


def test_nobody_types_a_secret_that_nobody_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "typed")
    with unbroken(), pytest.raises(Aborted, match="nobody sees"):
        hidden_answer("secret")


@pytest.mark.parametrize("stdin", [None, io.StringIO("prod\n")])
def test_without_a_terminal_nobody_is_asked(stdin: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert not can_ask()
    with pytest.raises(Aborted, match="no terminal to ask on"):
        ask("text", "prod")


def full(monkeypatch: pytest.MonkeyPatch) -> IO[str]:
    file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    monkeypatch.setattr(sys, "stdout", file)
    return file


@pytest.mark.parametrize(("json", "fails", "status"), [(True, False, 11), (True, True, 9)])
def test_a_result_that_could_not_be_written(
    json: bool,
    fails: bool,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        print_json({"a": 1})
        if fails:
            raise NotProven("not well")

    with full(monkeypatch), unbroken() as (out, _):
        assert status_of(work, Options(json=json), out) == status
    said = capsys.readouterr().err
    assert "could not be written to standard output: No space left" in said
    assert ("error: not well" in said) == fails


def test_an_error_that_could_not_be_written_as_json_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise NotProven("not well")

    with full(monkeypatch), unbroken() as (out, _):
        assert status_of(work, Options(json=True), out) == 9
    assert "error: not well" in capsys.readouterr().err


def test_nobody_misses_what_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with unbroken() as (out, _):
            assert status_of(lambda: print_json({"a": 1}), Options(json=True), out) == 0


def test_one_document_only() -> None:
    out = Unbroken(io.StringIO())
    assert not out.begun
    out.write("\n")
    assert not out.begun
    out.write("{}\n")
    assert out.begun
