"""What a command does not use is not imported."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from drctl.cli import PLACES, cli


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--version"], "paramiko pydantic jinja2 docker"),
        (["runs", "list"], "paramiko docker drctl.inventory"),
        (["inventory", "validate", "--help"], "paramiko docker drctl.discovery"),
        (["preflight", "--help"], "docker drctl.lab drctl.drill"),
    ],
)
def test_what_is_not_used_is_not_imported(words: list[str], heavy: str) -> None:
    work = (
        "import sys\nfrom drctl.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(*(n for n in {heavy.split()} if n in sys.modules), file=sys.stderr)"
    )
    told = subprocess.run(
        [sys.executable, "-c", work, *words], capture_output=True, text=True, check=True
    )
    assert told.stdout and told.stderr.strip() == ""


def test_every_command_is_where_it_is_said_to_be() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None and command.name == name
    assert {*PLACES} <= {*cli.list_commands(context)}
    assert cli.get_command(context, "nothing") is None
