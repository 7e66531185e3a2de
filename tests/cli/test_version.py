"""`drctl --version`, and the places that a version is written in."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

from drctl import __version__
from drctl.cli import cli
from tests.house import ROOT


def test_the_version_says_where_runbooks_and_templates_come_from() -> None:
    told = CliRunner().invoke(cli, ["--version"])
    assert told.exit_code == 0
    first, *places = told.output.splitlines()
    assert first == f"drctl {__version__}"
    shown = dict(line.removesuffix(" (a checkout)").split(maxsplit=1) for line in places)
    assert {name: Path(path) for name, path in shown.items()} == {
        "runbooks": ROOT / "runbooks",
        "templates": ROOT / "templates",
    }


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    entries = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert __version__ in entries[:2], "the newest entry, or the one below [Unreleased]"
