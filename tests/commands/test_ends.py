"""Every command that takes `--output json`, and every way in which it may end badly: one JSON
document on stdout, and a documented exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from drctl.asked import wants_json
from drctl.cli import cli
from drctl.cli.common import Options
from drctl.errors import DrctlError
from drctl.transport import CommandResult
from tests.house.when_it_fails import classes
from tests.support.bench import Bench, Ended

DOCUMENTED = {0, *(kind.exit_code for kind in classes())}


def reporting(
    group: click.Group = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command with `--output`, by the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from reporting(command, (*words, name))
        elif any("--output" in param.opts for param in command.params):
            yield (*words, name), command


COMMANDS = dict(reporting())
NAMES = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
LABS = {("lab", "up"), ("drill", "run"), ("lab", "status")}  # these would make a lab, or want one


def given(words: tuple[str, ...], bench: Bench, **instead: Any) -> list[str]:
    """What the command asks for, well meant, but for `instead` by parameter name."""
    values: dict[str, Any] = {
        "inventory": bench.inventory,
        "snapshot": bench.snapshot,
        "folder": bench.folder / "to",
        "file": bench.inventory,
        "hosts": "h1",
        "runbook": "verify" if words == ("run",) else None,
        **instead,
    }
    if words == ("trust",):
        values["hosts"] = None
    found: list[str] = []
    for param in COMMANDS[words].params:
        name = param.name or ""
        if values.get(name) is None or (name == "run" and name not in instead):
            continue
        value = str(values[name])
        found += [param.opts[0], value] if isinstance(param, click.Option) else [value]
    return found


def one_document(ended: Ended) -> Any:
    """What is on stdout, which is one document."""
    assert "Traceback" not in ended.err, ended.err
    assert ended.exit in DOCUMENTED
    return json.loads(ended.out)


def an_error(ended: Ended, exit: int) -> dict[str, Any]:
    document = one_document(ended)
    assert set(document) <= {"error", "situation"}, document
    told: dict[str, Any] = document["error"]
    assert set(told) == {"code", "exit", "message", "host", "hint"}
    assert told["exit"] == ended.exit == exit, ended
    return told


def test_the_table_has_the_commands() -> None:
    assert {("restore",), ("status",), ("backup",), ("runs", "show"), ("drill", "run")} < set(
        COMMANDS
    )


@NAMES
@pytest.mark.parametrize("before", [True, False])
def test_a_command_line_that_cannot_be_read(
    words: tuple[str, ...], before: bool, bench: Bench
) -> None:
    asked = ["--output", "json"]
    line = [*asked, "--no-such"] if before else ["--no-such", *asked]
    told = an_error(bench.drctl(*words, *line), 2)
    assert "--no-such" in told["message"] and told["hint"].endswith("--help")


@NAMES
def test_an_output_that_does_not_exist(words: tuple[str, ...], bench: Bench) -> None:
    ended = bench.drctl(*words, *given(words, bench), "--output", "xml")
    assert ended.exit == 2
    assert ended.out == "" and "'xml' is not one of 'text', 'json'" in ended.err


@NAMES
@pytest.mark.parametrize(
    ("thrown", "exit"), [(KeyboardInterrupt(), 10), (click.Abort(), 10), (ValueError("no"), 1)]
)
def test_what_ends_a_command_in_the_middle(
    words: tuple[str, ...],
    thrown: BaseException,
    exit: int,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def throws(*_: object, **__: object) -> None:
        raise thrown

    monkeypatch.setattr(COMMANDS[words], "callback", throws)
    ended = bench.drctl(*words, *given(words, bench), "--output=json")
    document = json.loads(ended.out)
    assert document["error"]["exit"] == ended.exit == exit
    assert ("Traceback" in ended.err) == (exit == 1)


PATHS = [
    (words, param.name)
    for words, command in COMMANDS.items()
    for param in command.params
    if isinstance(param.type, click.Path) and words not in LABS
]


@pytest.mark.parametrize("odd", ["nothing", "null", "folder", "below a file", "bytes"])
@pytest.mark.parametrize(("words", "name"), PATHS, ids=str)
def test_a_path_that_cannot_be_used(
    words: tuple[str, ...], name: str, odd: str, bench: Bench
) -> None:
    bench.rig.silent = {"h1"}
    bench.rig.handlers["backup/save"] = lambda *_: CommandResult(1, "", "no space left")
    bench.rig.handlers["backup/remove"] = lambda *_: ""
    noise = bench.folder / "noise"
    noise.write_bytes(bytes(range(256)) * 8)
    paths = {
        "nothing": bench.folder / "is" / "not" / "there",
        "null": Path("/dev/null"),
        "folder": bench.folder,
        "below a file": noise / "x",
        "bytes": noise,
    }
    line = given(words, bench, **{name: paths[odd]})
    one_document(bench.drctl(*words, *line, "--output", "json"))


def test_a_document_is_not_followed_by_another(bench: Bench) -> None:
    """`drill run` fails after its document is out."""

    @click.command("both")
    @click.pass_obj
    def both(_options: Options) -> None:
        from drctl.ui.console import print_json

        print_json({"a": 1})
        raise DrctlError("afterwards")

    cli.add_command(both)
    try:
        ended = bench.drctl("both", "--output", "json")
        assert ended.exit == 2  # it has no such option
        bench.controller = lambda **_: None  # type: ignore[method-assign,assignment]  # never made
        cli.commands["both"].params = COMMANDS["status",].params[-1:]
        ended = bench.drctl("both", "--output", "json")
    finally:
        del cli.commands["both"]
    assert json.loads(ended.out) == {"a": 1}
    assert ended.exit == 1 and "error: afterwards" in ended.err


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("status --output json", True),
        ("status --output=json", True),
        ("status --output text --output json", True),
        ("status --output json --output text", False),
        ("status --output xml", False),
        ("status --output", False),
        ("run -- --output json", False),
        ("", False),
    ],
)
def test_what_a_command_line_asks_for(line: str, wanted: bool) -> None:
    assert wants_json(line.split()) is wanted
