"""The import order and the owners hold for drctl/, and these rules find what breaks them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import ROOT
from tests.house.rules import LAYERS, bans, violations


def test_drctl_keeps_the_rules() -> None:
    assert violations(ROOT / "drctl") == []


def test_every_part_has_one_place() -> None:
    parts = [part for row in LAYERS for part in row]
    assert len(parts) == len(set(parts))


def test_no_two_parts_may_import_each_other() -> None:
    parts = [part for row in LAYERS for part in row]
    free = [
        (one, other)
        for one in parts
        for other in parts
        if one < other and not {(one, other), (other, one)} & bans()
    ]
    assert free == []


GOOD = """
from drctl.errors import InvalidInput
from drctl import transport
import drctl.verdict
import json, pydantic
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small package that keeps the rules."""
    package = tmp_path / "drctl"
    (package / "etcd").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "etcd/__init__.py", "transport.py", "cli.py"):
        (package / name).write_text('"""Words."""\n')
    (package / "plan.py").write_text(GOOD)
    (package / "lab.py").write_text("import sys\nif __name__ == '__main__':\n    sys.exit(0)\n")
    (package / "cli.py").write_text("import click, sys\nimport drctl.app\nsys.exit(0)\n")
    return package


def test_a_good_house_has_no_violations(house: Path) -> None:
    assert violations(house) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("plan.py", "import drctl.engine", "plan.py:1: plan imports engine"),
        ("plan.py", "from drctl.ssh import X", "plan imports ssh"),
        ("plan.py", "from drctl import app", "plan imports app"),
        ("plan.py", "from . import lab", "plan imports lab"),
        ("etcd/bolt.py", "from ..kube import x", "etcd imports kube"),
        (
            "etcd/bolt.py",
            "def late():\n    from drctl.plan import x",
            "bolt.py:2: etcd imports plan",
        ),
        (
            "etcd/bolt.py",
            "importlib.import_module('drctl.app')",
            "etcd imports app",
        ),
        ("etcd/bolt.py", "import subprocess", "etcd is pure and imports subprocess"),
        ("etcd/bolt.py", "from urllib import request", "etcd is pure and imports urllib"),
        ("engine.py", "from drctl import etcd", "engine imports etcd"),
        ("engine.py", "text = 'ask Etcd'", "engine.py:1: speaks of etcd"),
        ("journal.py", "import drctl.jobs", "journal imports jobs"),
        ("plan.py", "if TYPE_CHECKING:\n    import paramiko", "plan.py:2: plan imports paramiko"),
        ("plan.py", "import yaml.nodes", "plan imports yaml"),
        ("app.py", "import requests", "requests has no owner"),
        ("surprise.py", "", "surprise: has no place in LAYERS"),
        ("__init__.py", "from drctl.errors import X", "the package itself imports errors"),
        ("app.py", "import sys\ndef stop():\n    sys.exit(1)", "app.py:3: ends the process"),
        ("app.py", "raise SystemExit", "app.py:1: ends the process"),
        ("app.py", "print('x')", "app.py:1: calls print"),
        ("cli.py", "import click\nclick.echo('x', err=True)", "cli.py:2: calls click.echo"),
        ("cli.py", "import sys\nsys.stdout.write('x')", "cli.py:2: calls sys.stdout.write"),
        ("cli.py", "import sys\nsys.stderr.buffer.write(b'')", "calls sys.stderr.buffer.write"),
        ("app.py", "from rich.console import Console", "app imports rich"),
    ],
)
def test_a_broken_house_is_told_what_and_where(
    house: Path, file: str, source: str, complaint: str
) -> None:
    (house / file).write_text(source + "\n")
    found = violations(house)
    assert len(found) >= 1 and any(complaint in each for each in found), found
