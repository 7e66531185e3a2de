"""YAML as drctl reads it: strict, in plain words, and with a line for everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drctl.errors import InvalidInput
from drctl.textfile import SIZE_LIMIT
from drctl.yamlfaults import faults_from_validation
from drctl.yamlfile import Document, read_yaml, scan_yaml

NESTED = "a:\n  b:\n  - x\n  - c: 1\n    d: 2\n"


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "f.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("a",), 1),
        (("a", "b"), 2),
        (("a", "b", 0), 3),
        (("a", "b", 1), 4),
        (("a", "b", 1, "d"), 5),
        (("a", "b", 1, "missing", "deeper"), 4),
        (("nowhere",), 1),
    ],
)
def test_every_key_and_item_has_a_line(
    tmp_path: Path, path: tuple[str | int, ...], line: int
) -> None:
    assert read_yaml(_write(tmp_path, NESTED)).line(path) == line


def test_the_root_stands_where_its_first_key_does(tmp_path: Path) -> None:
    assert read_yaml(_write(tmp_path, "# comment\n\na: 1\n")).line(()) == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("0600", "0600"),
        ("1_000", "1_000"),
        ("9" * 30, "9" * 30),
        (".nan", ".nan"),
        ("-7", -7),
        ("3.5", 3.5),
        ("'3.5'", "3.5"),
        ("", None),
        ("~", None),
        ("null", None),
        ('""', ""),
        ("[1, {x: }]", [1, {"x": None}]),
    ],
)
def test_scalars_are_what_they_look_like(tmp_path: Path, text: str, value: Any) -> None:
    assert read_yaml(_write(tmp_path, f"k: {text}\n")).data == {"k": value}


def test_keys_are_text(tmp_path: Path) -> None:
    assert read_yaml(_write(tmp_path, "1: a\ntrue: b\nnull: c\n")).data == {
        "1": "a",
        "true": "b",
        "null": "c",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\nb: 2\n", 2, "not valid YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML: found character '\\t'"),
        ("a: &x 1\nb: *x\n", 2, "the alias '*x' is not supported"),
        ("a: *undefined\n", 1, "the alias '*undefined'"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "the tag 'tag:yaml.org,2002:python/"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested more than 32 levels deep"),
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- a\n", 1, "must be a mapping"),
        ("just text\n", 1, "must be a mapping"),
        (b"a: 1\nb: \xff\xfe\n", 2, "not UTF-8"),
        ("a: 1\nb: \x07\n", 2, "a character that YAML does not allow"),
        ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", 1, "not valid YAML"),
        ('a: 1\nb: "x\\e[31m"\n', 2, "contains a control character"),
        ('a: "\\uD800"\n', 1, "contains a control character"),
        ("a: 1\n? [x]\n: 1\n", 2, "a key must be plain text"),
        ("a: 1\n<<: {b: 1}\n", 2, "the merge key '<<'"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str | bytes, line: int, words: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(InvalidInput) as caught:
        read_yaml(path)
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == (str(path), line)
    assert words in fault.message


def test_every_duplicate_key_is_found(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  c: 1\n  c: 2\n  d:\n  - {e: 1, e: 2}\na: 2\na: 3\n"
    path = _write(tmp_path, text)
    with pytest.raises(InvalidInput) as caught:
        read_yaml(path)
    assert [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults] == [
        "4: b.c: duplicate key 'c', first given on line 3",
        "6: b.d[0].e: duplicate key 'e', first given on line 6",
        "7: a: duplicate key 'a', first given on line 1",
        "8: a: duplicate key 'a', first given on line 1",
    ]


def test_scanning_goes_on_with_the_first_of_two_keys(tmp_path: Path) -> None:
    document, faults = scan_yaml(_write(tmp_path, "a: 1\na: 2\n"))
    assert document.data == {"a": 1}
    assert len(faults) == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml", "nul\0"):
        with pytest.raises(InvalidInput, match="cannot read"):
            read_yaml(path)


def test_size_limit(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="larger than"):
        read_yaml(_write(tmp_path, b"#" * (SIZE_LIMIT + 1)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(), st.text().map(lambda t: t.encode("utf-8", "replace"))))
@example(b"? \n")
@example(b"a: !<\n")
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    path = _write(tmp_path, raw)
    try:
        assert isinstance(read_yaml(path).data, dict)
    except InvalidInput as error:
        assert str(path) in str(error)


# --- pydantic's findings ------------------------------------------------------------------------


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Leaf(Closed):
    word: str = "w"
    count: Annotated[int, Field(ge=1, le=9)] = 1
    kind: Literal["red", "green"] = "red"


class Tree(Closed):
    leaves: list[Leaf] = []
    named: dict[str, Leaf] = {}
    either: str | list[Leaf] = ""
    flag: bool = False
    needed: int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("neded: 1", ["1: needed: the key 'needed' is missing",
                      "1: neded: unknown key 'neded', did you mean 'needed'?"]),
        ("needed: 1\nqqq: 1", ["2: qqq: unknown key 'qqq'"]),
        ("needed: x", ["1: needed: must be a whole number, not 'x'"]),
        ("needed: 1.5", ["1: needed: must be a whole number, not 1.5"]),
        ("needed: 1\nflag: 7", ["2: flag: must be true or false, not 7"]),
        ("needed: 1\nleaves: x", ["2: leaves: must be a list, not 'x'"]),
        ("needed: 1\nnamed: [x]", ["2: named: must be a mapping, not a list"]),
        ("needed: 1\nnamed:\n  a: 1", ["3: named.a: must be a mapping, not 1"]),
        ("needed: 1\nnamed:\n  a:\n    wrd: x",
         ["4: named.a.wrd: unknown key 'wrd', did you mean 'word'?"]),
        ("needed: 1\nleaves:\n- word: x\n- {word: 5}",
         ["4: leaves[1].word: must be text, not 5: put it in quotes"]),
        ("needed: 1\nleaves:\n- count: 0\n- count: 10",
         ["3: leaves[0].count: must be at least 1, not 0",
          "4: leaves[1].count: must be at most 9, not 10"]),
        ("needed: 1\nleaves:\n- kind: gren",
         ["3: leaves[0].kind: must be 'red' or 'green', not 'gren', did you mean 'green'?"]),
        ("needed: 1\neither: 5",
         ["2: either: must be text, not 5: put it in quotes, or must be a list, not 5"]),
    ],
)  # fmt: skip
def test_pydantic_in_plain_words(tmp_path: Path, text: str, expected: list[str]) -> None:
    document = read_yaml(_write(tmp_path, text))
    assert _faults(document, Tree) == expected


def test_an_unknown_key_inside_a_union_is_named_where_it_stands(tmp_path: Path) -> None:
    document = read_yaml(_write(tmp_path, "needed: 1\neither:\n- wrd: x\n"))
    assert "3: either[0].wrd: unknown key 'wrd', did you mean 'word'?" in _faults(document, Tree)


class Cat(Closed):
    pet: Literal["cat"]
    cat: str = "a key of the same name as the tag"
    lives: int = 9


class Dog(Closed):
    pet: Literal["dog"]


class Owner(Closed):
    animal: Annotated[Cat | Dog, Field(discriminator="pet")]


def test_the_tag_of_a_union_is_not_taken_for_a_key(tmp_path: Path) -> None:
    document = read_yaml(_write(tmp_path, "animal:\n  pet: cat\n  cat: x\n  lives: many\n"))
    assert _faults(document, Owner) == [
        "4: animal.lives: must be a whole number, not 'many'",
    ]


def _faults(document: Document, model: type[BaseModel]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(document.data)
    faults = faults_from_validation(caught.value, document, model)
    return [str(fault).removeprefix(f"{document.path}:") for fault in faults]
