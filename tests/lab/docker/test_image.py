"""drctl's own container image: built from this checkout, it restores the loopback lab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drctl import __version__
from drctl.errors import Refused
from drctl.lab.docker import images
from drctl.lab.layout import Lab
from tests.house import ROOT
from tests.house.pins import REST
from tests.lab.docker.engine import unavailable
from tests.lab.test_restore import prove_restored, write_later
from tests.support.operator import Operator

pytestmark = pytest.mark.lab

TAG = "drctl-image-test"
CONTEXT = ("Dockerfile", ".dockerignore", "requirements.txt", "pyproject.toml", "README.md")
FOLDERS = ("drctl", "runbooks", "templates")
PYTHON = "3.11"  # Debian bookworm's, which is what the base image is made of
SECONDS = 900


@pytest.fixture(scope="module")
def lab(own_lab: Lab) -> Lab:
    return own_lab


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.fixture(scope="module")
def image(docker_client: object, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of the image, built on the lab's own Debian: no registry is asked for one. The
    packages are fetched here, where pip is set up, and pass by their hashes inside."""
    if not shutil.which("docker"):
        unavailable("no docker command")
    try:
        base = images.base(print)
    except Refused as error:
        unavailable(str(error))
    context = tmp_path_factory.mktemp("image")
    for name in (*CONTEXT, "inventory.example.yaml"):
        shutil.copy(ROOT / name, context)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, context / name)
    _fetch(context)
    built = run(
        *("docker", "build", "--tag", TAG, "--build-arg", f"BASE={base}"),
        *("--build-arg", "PIP_NO_INDEX=1", context),
    )
    assert built.returncode == 0, f"{built.stdout[-3000:]}\n{built.stderr[-3000:]}"
    return TAG


def _fetch(context: Path) -> None:
    needed = context / "needed.txt"
    needed.write_text((context / "requirements.txt").read_text().partition(REST)[0])
    fetched = run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", PYTHON),
        *("-r", needed, "-d", context / "wheels"),
    )
    if fetched.returncode:
        unavailable(f"the image's packages cannot be fetched: {fetched.stderr[-1000:]}")


def contained(
    image: str, lab: Lab, operator: Operator, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A command in a container, as docs/container.md has it typed."""
    mounts = [lab.directory, operator.state, Path("/etc/passwd")]
    return run(
        *("docker", "run", "--rm", "--init", "--network", "host"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *(part for path in mounts for part in ("-v", f"{path}:{path}")),
        *("-e", f"DRCTL_STATE_DIR={operator.state}", image, *arguments),
    )


def test_it_says_what_is_in_it_and_runs_as_nobody_in_particular(image: str) -> None:
    told = run("docker", "run", "--rm", "--network", "none", image, "--version")
    assert told.stdout.splitlines()[0] == f"drctl {__version__}", told.stderr
    assert told.stdout.count("(the installed package)") == 2
    who = run("docker", "run", "--rm", "--network", "none", "--entrypoint", "id", image, "-un")
    assert who.stdout.strip() == "drctl"


def test_it_restores_the_loopback_lab(
    image: str, lab: Lab, operator: Operator, saved: dict[str, bytes], snapshot: Path
) -> None:
    write_later(lab)
    shutil.copy(snapshot, operator.state / "snapshot.db")
    given = ("--snapshot", str(operator.state / "snapshot.db"), *operator.on)
    restored = contained(image, lab, operator, "restore", *given, "--replace-healthy", "--yes")
    assert restored.returncode == 0, restored.stderr
    prove_restored(lab, operator, saved)
    status = contained(image, lab, operator, "status", *operator.on)
    assert status.returncode == 0 and status.stdout.count("True") >= len(lab.hosts), status
