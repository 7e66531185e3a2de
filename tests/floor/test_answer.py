"""An answer is read whole or not at all, and each value by what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drctl.answer import CHARACTERS, LINES, VALUE, Answer, AnswerError, is_run_id, parse, shown
from drctl.runs.beginning import new_run_id

READERS: dict[str, Callable[[Answer], object]] = {
    "number": lambda a: a.number("x"),
    "number_or_none": lambda a: a.number_or_none("x"),
    "hexadecimal": lambda a: a.hexadecimal("x", 16, 64),
    "run": lambda a: a.run("x"),
    "identifier": lambda a: a.identifier("x"),
    "one_of": lambda a: a.one_of("x", "", "/a/b"),
    "owner": lambda a: a.owner("x"),
    "mode": lambda a: a.mode("x"),
    "words": lambda a: a.words("x"),
    "text": lambda a: a.text("x"),
}


def test_lines() -> None:
    answer = parse('banner\nstage=/a b=c \n\nj=[{"a":"="}]\r\nempty=\nready.x=ok\n9=x\n', "m1")
    assert answer.host == "m1"
    assert dict(answer) == {
        "stage": "/a b=c", "j": '[{"a":"="}]', "empty": "", "ready.x": "ok",
    }  # fmt: skip
    assert parse("tools= a  b ").words("tools") == ("a", "b")
    assert parse("").words("tools") == ()
    assert parse("\tx\t=\ty z\t")["x"] == "y z"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("now=1\nnow=1\n", "now is given twice"),
        ("a=1\nnow=2\nx=\nnow=3", "now is given twice"),
        ("a=x\0y", "the control character 0x00"),
        ("a=\x1b]0;title\x07", "the control character 0x1b"),
        ("a=x\ry", "the control character 0x0d"),
        ("banner \x9b31m\na=1", "the control character 0x9b"),
        ("a=1\u2028b=2", "the control character 0x2028"),
        ("a=\ud800", "the control character 0xd800"),
        ("a=" + "x" * (VALUE + 1), f"a has {VALUE + 1} characters"),
        ("x" * (CHARACTERS + 1), f"it has {CHARACTERS + 1} characters"),
        ("\n" * LINES, f"it has {LINES + 1} lines"),
    ],
)
def test_a_garbled_answer_is_none(text: str, reason: str) -> None:
    with pytest.raises(AnswerError) as caught:
        parse(text, "m1")
    assert caught.value.host == "m1" and caught.value.exit_code == 5
    assert reason in caught.value.message
    assert caught.value.message.isprintable() and len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("reader", "said", "meant"),
    [
        ("number", "0", 0),
        ("number", str((1 << 63) - 1), (1 << 63) - 1),
        ("number_or_none", "", None),
        ("hexadecimal", "c1bd19622b534587", "c1bd19622b534587"),
        ("hexadecimal", "", ""),
        ("run", "20261124-031502-0a1b2c", "20261124-031502-0a1b2c"),
        ("run", "", ""),
        ("identifier", "0a-B", "0a-B"),
        ("one_of", "/a/b", "/a/b"),
        ("owner", "0:65534", "0:65534"),
        ("mode", "700", "700"),
        ("mode", "2750", "2750"),
        ("words", "a /b=c", ("a", "/b=c")),
        ("text", "x\ty \u202e" + "z" * 400, "x y ?" + "z" * 295 + "…"),
    ],
)
def test_what_is_meant(reader: str, said: str, meant: object) -> None:
    assert READERS[reader](Answer("m1", {"x": said})) == meant


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ("number", ""),
        ("number", "-1"),
        ("number", "1.0"),
        ("number", "1_000"),
        ("number", "٣"),  # a digit, elsewhere
        ("number", str(1 << 63)),
        ("number", "9" * 5000),
        ("number_or_none", "nan"),
        ("hexadecimal", "c1bd19622b53458"),
        ("hexadecimal", "C1BD19622B534587"),
        ("hexadecimal", "c1bd19622b53458g"),
        ("run", "../../etc"),
        ("run", "20261124-031502-0a1b2c/.."),
        ("run", "20261124-031502-0a1b2c\n"),
        ("run", "check"),
        ("identifier", "a/b"),
        ("identifier", "$(id)"),
        ("identifier", "a" * 65),
        ("one_of", "/a/b/"),
        ("one_of", "/a/b/../c"),
        ("owner", "root:root"),
        ("owner", "0"),
        ("owner", "0:0 /etc"),
        ("owner", "12345678901:0"),
        ("mode", "70"),
        ("mode", "47555"),
        ("mode", "178"),
        ("mode", "77"),
        ("mode", "00700"),
        ("words", "a \x7f"),
        ("words", "ü"),
        ("words", " ".join(["x"] * 1001)),
    ],
)
def test_what_is_not(reader: str, said: str) -> None:
    with pytest.raises(AnswerError) as caught:
        READERS[reader](Answer("m1", {"x": said}))
    assert caught.value.host == "m1" and caught.value.message.isprintable()
    assert "x is " in caught.value.message and len(caught.value.message) < 300


def test_run_ids_are_those_that_are_made() -> None:
    assert is_run_id(new_run_id())
    assert not is_run_id("20261124-031502-0a1b2c\n")


@given(st.text() | st.binary().map(lambda b: b.decode("utf-8", "replace")))
def test_whatever_is_said_is_read_or_refused(text: str) -> None:
    for said in (text, f"x={text}"):
        try:
            answer = parse(said, "m1")
        except AnswerError as error:
            assert error.message.isprintable()
            continue
        for reader in READERS.values():
            try:
                reader(answer)
            except AnswerError as error:
                assert error.host == "m1" and error.message.isprintable()
    assert shown(text).isprintable() and len(shown(text)) <= 81
    assert re.fullmatch(r"[!-~ ]*", " ".join(_words(text)))


def _words(text: str) -> tuple[str, ...]:
    try:
        return parse(f"x={text}").words("x")
    except AnswerError:
        return ()
