"""What is installed for CI and development is known to the last byte."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house import ROOT
from tests.house.pins import HEADER, REST, hashes, needed

_LINE = re.compile(r"([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def _pins() -> dict[str, Version]:
    return _read(
        (ROOT / "requirements.txt").read_text().removeprefix(HEADER).replace(REST + "\n", "")
    )


def _read(text: str) -> dict[str, Version]:
    assert _LINE.sub("", text) == "", "something stands there without a version or a hash"
    return {canonicalize_name(found[1]): Version(found[2]) for found in _LINE.finditer(text)}


def test_everything_that_is_wanted_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    pins = _pins()
    for line in [*wanted, *(line for lines in optional for line in lines)]:
        requirement = Requirement(line)
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{line}: {pin} is pinned"


def test_what_the_image_takes_is_all_that_drctl_needs() -> None:
    first, _, _ = (
        (ROOT / "requirements.txt").read_text().removeprefix(HEADER).partition(REST + "\n")
    )
    assert set(_read(first)) == needed()
    assert f"/^{REST}$/," in (ROOT / "Dockerfile").read_text()


def test_pip_takes_nothing_without_a_hash() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    calls = [line for line in makefile.splitlines() if re.search(r"\$\(PIP\)|pip install", line)]
    compared = [line for line in calls if "$(BENCH_VENV)" in line]
    definition, *installs = [line for line in calls if line not in compared]
    assert definition.startswith("PIP ") and len(installs) == 2
    for call in installs:
        hashed = {"--require-hashes", "--only-binary"} <= set(call.split())
        assert hashed or {"--no-index", "--no-deps", "--no-build-isolation"} <= set(call.split())
    # What drctl is only compared with has a venv of its own: exact versions, nothing built here.
    (call,) = compared
    assert "--only-binary" in call.split()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert groups["bench"] and all("==" in line for line in groups["bench"])


def _file(name: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "hashes": {"sha256": name}, **more}


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("x-1.0-py3-none-any.whl", True),
        ("x-1.0-py2.py3-none-any.whl", True),
        ("x-1.0-py2-none-any.whl", False),
        ("x-1.0.tar.gz", False),
        ("x-1.0.1-py3-none-any.whl", False),
        ("x-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("x-1.0-cp314-cp314-musllinux_1_2_aarch64.whl", True),
        ("x-1.0-cp314-cp314t-manylinux_2_17_x86_64.whl", False),
        ("x-1.0-cp310-cp310-manylinux_2_17_x86_64.whl", False),
        ("x-1.0-cp39-abi3-manylinux_2_28_aarch64.whl", True),
        ("x-1.0-cp315-abi3-manylinux_2_28_aarch64.whl", False),
        ("x-1.0-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl", False),
        ("x-1.0-cp312-cp312-win_amd64.whl", False),
        ("x-1.0-cp312-cp312-macosx_11_0_arm64.whl", False),
        ("x-1.0-py3-none-manylinux2014_s390x.whl", False),
        ("x-1.0-py3-none-manylinux1_x86_64.whl", True),
    ],
)
def test_hashes_are_those_of_our_machines(name: str, taken: bool) -> None:
    assert hashes(Version("1.0"), [_file(name)]) == ([name] if taken else [])
    assert hashes(Version("1.0"), [_file(name, yanked="broken")]) == []
