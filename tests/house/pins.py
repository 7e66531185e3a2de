"""Writes requirements.txt: versions as `pip freeze` prints them, with the hashes of their files.

    python -m tests.house.pins < FROZEN > requirements.txt

What drctl is built with and runs on comes first: the container image takes that part alone. The
files are those that the package index (the one that pip is set up for) has for the Pythons and
machines below, so that each of them gets one, and no machine a file that was not there before.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from tests.house import ROOT

PYTHONS = range(11, 15)  # 3.11 to 3.14
MACHINES = ("x86_64", "aarch64")
HEADER = """\
# The exact files that the project is tested with; `pip install --require-hashes` takes no others.
# To make it again, with an empty venv NEW made by the oldest Python that is supported (3.11):
#   NEW/bin/pip install hatchling editables
#   NEW/bin/pip install --no-build-isolation '.[lab,dev]'
#   NEW/bin/pip freeze | grep -v '^drctl' | .venv/bin/python -m tests.house.pins > new
#   mv new requirements.txt && make clean test
"""
REST = "# The lab's and the developers' from here on; the Dockerfile leaves them out."
JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691


def hashes(version: Version, files: Iterable[Mapping[str, Any]]) -> list[str]:
    """The hashes of those files of an index's answer that are wheels of `version` for us."""
    wheels = (file for file in files if not file.get("yanked") and _is_ours(version, file))
    return sorted({wheel["hashes"]["sha256"] for wheel in wheels})


def _is_ours(version: Version, file: Mapping[str, Any]) -> bool:
    try:
        _, made_for, _, tags = parse_wheel_filename(file["filename"])
    except InvalidWheelFilename:  # what has to be built runs code of its own here
        return False
    return made_for == version and any(map(_fits, tags))


def _fits(tag: Tag) -> bool:
    linux = tag.platform.startswith(("manylinux", "musllinux"))
    if tag.platform != "any" and not (linux and tag.platform.endswith(MACHINES)):
        return False
    kind, minor = re.fullmatch(r"([a-z]+)3?(\d*)", tag.interpreter).groups()  # type: ignore[union-attr]  # every tag does
    if tag.abi == "abi3":
        return kind == "cp" and int(minor) <= PYTHONS[-1]
    if tag.abi == "none":
        return tag.interpreter == "py3" or (kind in ("cp", "py") and int(minor or 0) in PYTHONS)
    return tag.interpreter == tag.abi and kind == "cp" and int(minor) in PYTHONS


def needed() -> set[str]:
    """The names of all that drctl is built with and runs on, as this environment has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"], *project["build-system"]["requires"], "editables"]
    found: set[str] = set()
    while lines:
        requirement = Requirement(lines.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (not requirement.marker or requirement.marker.evaluate()):
            found.add(name)
            lines += importlib.metadata.requires(name) or []
    return found


def ordered(frozen: Iterable[str]) -> list[str]:
    """Lines of `name==version`: first what is needed, then REST and the others."""
    first = needed()
    lines = [line.strip() for line in frozen]
    ours = [canonicalize_name(line.partition("==")[0]) in first for line in lines]
    return [
        *(line for line, is_ours in zip(lines, ours, strict=True) if is_ours),
        REST,
        *(line for line, is_ours in zip(lines, ours, strict=True) if not is_ours),
    ]


def pinned(frozen: Iterable[str]) -> Iterator[str]:
    """The lines of requirements.txt for lines of `name==version`."""
    index = _index()
    for line in ordered(frozen):
        if line == REST:
            yield line
            continue
        name, _, version = line.strip().partition("==")
        found = hashes(Version(version), _files(index, canonicalize_name(name)))
        if not found:
            raise SystemExit(f"the index has no wheel of {name} {version} for us")
        yield " \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{h}" for h in found)])


def _files(index: str, name: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{index}/{name}/", headers={"Accept": JSON})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files: list[dict[str, Any]] = json.load(answer)["files"]
    return files


def _index() -> str:
    """Where pip looks: as it is set up here, or else its default, which its own help names."""
    told = _pip("config", "get", "global.index-url").strip()
    if not told:
        default = re.search(r"--index-url.*?\(default\s+(\S+?)\)", _pip("install", "--help"), re.S)
        told = default[1] if default else ""
    return told.rstrip("/")


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


if __name__ == "__main__":
    print(HEADER + "\n".join(pinned(sys.stdin)))
