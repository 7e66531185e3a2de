"""The wheel holds all that an operator needs, and works where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from drctl import __version__
from tests.house import ROOT

pytestmark = pytest.mark.slow

SHIPPED = ("runbooks", "templates")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout with the build backend of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    _python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_every_runbook_and_template_and_no_test(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in SHIPPED:
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert files, f"{folder}/ is empty"
        assert {f"drctl/{path.relative_to(ROOT)}" for path in files} <= names
    assert "drctl/inventory.example.yaml" in names
    assert not [name for name in names if name.startswith("tests")]


def test_an_installed_drctl_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    python = _installed(wheel, tmp_path / "venv")
    where = _python("-c", "import drctl; print(drctl.__file__)", cwd=tmp_path, python=python)
    assert where.startswith(str(tmp_path))
    drctl = python.parent / "drctl"
    version = subprocess.run([drctl, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert version.returncode == 0 and __version__ in version.stdout, version
    listed = subprocess.run(
        [drctl, "runbook", "list"], capture_output=True, text=True, cwd=tmp_path
    )
    assert listed.returncode == 0 and "restore" in listed.stdout, listed


def _installed(wheel: Path, folder: Path) -> Path:
    """The Python of a new venv with the wheel in it. What drctl depends on is borrowed from this
    environment by its path, so that nothing is downloaded."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", str(wheel))
    _python("-m", "pip", "--python", str(python), *install, cwd=folder)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _python(*arguments: str, cwd: Path, python: Path | None = None) -> str:
    ended = subprocess.run(
        [python or sys.executable, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout
