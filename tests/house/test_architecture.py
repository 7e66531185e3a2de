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
    for name in ("etcd", "kube", "plan", "journal", "engine", "runs", "lab", "cli"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text('"""Words."""\n')
    for name in ("__init__.py", "errors.py", "transport.py"):
        (package / name).write_text('"""Words."""\n')
    (package / "plan/one.py").write_text(GOOD)
    (package / "lab/one.py").write_text("import sys\nif __name__ == '__main__':\n    sys.exit(0)\n")
    (package / "cli/one.py").write_text("import click, sys\nimport drctl.runs.one\nsys.exit(0)\n")
    return package


def test_a_good_house_has_no_violations(house: Path) -> None:
    assert violations(house) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("plan/one.py", "import drctl.engine.walk", "plan/one.py:1: plan imports engine"),
        ("plan/one.py", "from drctl.ssh import X", "plan imports ssh"),
        ("plan/one.py", "from drctl import runs", "plan imports runs"),
        ("plan/one.py", "from .. import lab", "plan imports lab"),
        ("etcd/bolt.py", "from ..kube import x", "etcd imports kube"),
        (
            "etcd/bolt.py",
            "def late():\n    from drctl.plan.model import x",
            "bolt.py:2: etcd imports plan",
        ),
        (
            "etcd/bolt.py",
            "importlib.import_module('drctl.runs.execute')",
            "etcd imports runs",
        ),
        ("etcd/bolt.py", "import subprocess", "etcd is pure and imports subprocess"),
        ("etcd/bolt.py", "from urllib import request", "etcd is pure and imports urllib"),
        ("engine/one.py", "from drctl import etcd", "engine imports etcd"),
        ("engine/one.py", "text = 'ask Etcd'", "engine/one.py:1: speaks of etcd"),
        ("journal/one.py", "import drctl.engine.jobs", "journal imports engine"),
        (
            "plan/one.py",
            "if TYPE_CHECKING:\n    import paramiko",
            "plan imports paramiko",
        ),
        ("plan/one.py", "import yaml.nodes", "plan imports yaml"),
        ("runs/one.py", "import requests", "requests has no owner"),
        ("surprise.py", "", "surprise: has no place in LAYERS"),
        ("plan.py", "", "plan.py: a module that stands in no wing"),
        ("etcd/one.py", "from drctl.etcd import two", "etcd.one > drctl.etcd.two > drctl.etcd.one"),
        ("__init__.py", "from drctl.errors import X", "the package itself imports errors"),
        (
            "runs/one.py",
            "import sys\ndef stop():\n    sys.exit(1)",
            "runs/one.py:3: ends the process",
        ),
        ("runs/one.py", "raise SystemExit", "runs/one.py:1: ends the process"),
        ("runs/one.py", "print('x')", "runs/one.py:1: calls print"),
        ("cli/one.py", "import click\nclick.echo('x', err=True)", "cli/one.py:2: calls click.echo"),
        ("cli/one.py", "import sys\nsys.stdout.write('x')", "cli/one.py:2: calls sys.stdout.write"),
        ("cli/one.py", "import sys\nsys.stderr.buffer.write(b'')", "calls sys.stderr.buffer.write"),
        ("runs/one.py", "from rich.console import Console", "runs imports rich"),
    ],
)
def test_a_broken_house_is_told_what_and_where(
    house: Path, file: str, source: str, complaint: str
) -> None:
    (house / "etcd" / "two.py").write_text("from drctl.etcd.one import something\n")
    (house / file).write_text(source + "\n")
    found = violations(house)
    assert len(found) >= 1 and any(complaint in each for each in found), found
