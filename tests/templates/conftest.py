"""The shells, each in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.templates.shells import Shell


@pytest.fixture(params=["dash", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path / "shell")


@pytest.fixture
def dash(tmp_path: Path) -> Shell:
    """For what depends on the file system and not on the shell."""
    return Shell("dash", tmp_path / "shell")
