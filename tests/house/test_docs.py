"""The documents say what is: commands that exist, layers that hold, an example that works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from drctl.cli import cli
from drctl.cli.common import Options
from tests.house.rules import FLOOR, WINGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Every `drctl ...` line of a document's code blocks, without its comment."""
    lines = re.findall(r"^    (drctl [^#\n]+)", text, re.MULTILINE)
    return [line.strip() for line in lines]


def test_the_readme_has_commands_to_check() -> None:
    assert len(commands(README)) >= 8


GUIDES = ("README.md", "docs/operating.md", "docs/drills.md")


@pytest.mark.parametrize(
    "line", [line for page in GUIDES for line in commands((ROOT / page).read_text("utf-8"))]
)
def test_every_command_of_a_guide_can_be_typed(line: str) -> None:
    can_be_typed(line)


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!http)([^)#]*)(#[^)]*)?\)", page.read_text("utf-8"))
        for path, part in links:
            target = page.parent / path if path else page
            assert target.is_file(), f"{page.name}: {path}"
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings]
            assert not part or part[1:] in anchors, f"{page.name}: {path}{part}"


def test_every_module_that_a_document_runs_is_there() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile"):
        for name in re.findall(r"python -m ((?:drctl|tests)[\w.]*)", page.read_text("utf-8")):
            place = ROOT / name.rstrip(".").replace(".", "/")
            there = place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
            assert there, f"{page.name}: {name}"


def can_be_typed(line: str) -> None:
    """Fails where the command line does not take `line`."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, obj=Options())
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found, f"no command {name!r}: {line}"
        command = found
    command.make_context("drctl", words, parent=context)


@pytest.mark.parametrize("typed", [["drill"], ["drill", "run"]])
def test_drill_alone_is_drill_run_with_its_options(typed: list[str]) -> None:
    refused = CliRunner().invoke(cli, [*typed, "--driver", "nowhere"])
    assert refused.exit_code == 2
    assert "'nowhere' is not one of 'local', 'docker'" in refused.output
    assert "list" in CliRunner().invoke(cli, ["drill", "--help"]).output


def test_every_command_is_in_the_reference() -> None:
    reference = README[README.index("## Reference") :]
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert f"`{name}" in reference, f"README's reference lacks {name}"
        if isinstance(command, click.Group):
            for part in command.list_commands(context):
                assert part in reference, f"README's reference lacks {name} {part}"


def test_the_map_shows_the_wings_that_the_tests_hold() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = re.search(r"^    the floor < (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert drawn and drawn[0].count("\n") <= 3, "the order of imports fits on two lines"
    rows = [tuple(row.strip().split(", ")) for row in " ".join(drawn[1].split()).split(" < ")]
    assert rows == [tuple(part for part in row if part != "__main__") for row in WINGS]


def test_the_map_has_a_line_for_each_wing_and_each_module_of_the_floor() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    wings = {part for row in WINGS for part in row} - {"__main__"}
    assert [wing for wing in sorted(wings) if not any(f"`{wing}/`" in row for row in rows)] == []
    (floor,) = (line for line in text.splitlines() if line.startswith("| the floor |"))
    assert [name for row in FLOOR for name in row if f"`{name}`" not in floor] == []


def test_the_example_and_the_shipped_runbooks_are_valid(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(cli, ["inventory", "validate", str(ROOT / "inventory.example.yaml")]).exit_code == 0
    listed = json.loads(run(cli, ["runbook", "list", "--output", "json"]).output)
    for book in listed:
        mine = tmp_path / f"{book['name']}.yaml"
        mine.write_text(run(cli, ["runbook", "show", book["name"]]).output, encoding="utf-8")
        assert run(cli, ["runbook", "validate", str(mine)]).exit_code == 0


def test_every_test_that_a_document_names_is_there() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        named = re.findall(r"`(tests/[a-z_/]+\.py)", page.read_text(encoding="utf-8"))
        missing = [name for name in named if not (ROOT / name).is_file()]
        assert missing == [], page.name


def test_what_a_message_sends_people_to_is_there() -> None:
    """`records.not_believed` names a page and a part of it."""
    assert "### A node that lied" in (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
