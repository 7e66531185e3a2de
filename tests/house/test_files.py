"""What no file of the project may hold, and how long one may become."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.house.files import committed
from tests.house.imports import sources

LONGEST_MODULE = 350  # lines
LONGEST_FUNCTION = 55
MEDIAN_FUNCTION = 10

# Put together here, so that this file does not hold them either.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("deb", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("crates", "io"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("registry", "hub", "docker", "com"),
    )
]
_MARK = re.compile(r"#\s*(noqa|type:\s*ignore|pragma)\b(?P<rest>.*)$")


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile("|".join(map(re.escape, REGISTRY_HOSTS)), re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in committed()
        for match in hosts.finditer(path.read_bytes().decode(errors="replace"))
    ]
    assert found == []


def test_the_search_sees_the_files_it_should() -> None:
    seen = {str(path.relative_to(ROOT)) for path in committed()}
    assert {"pyproject.toml", "Makefile", ".ci/run", "tests/house/test_files.py"} <= seen
    assert not any("__pycache__" in name or name.startswith((".git/", ".venv/")) for name in seen)


def test_no_module_is_too_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path, _ in sources(ROOT / "drctl")
        if (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_functions_are_short() -> None:
    sizes = dict(_functions())
    assert {where: size for where, size in sizes.items() if size > LONGEST_FUNCTION} == {}
    assert statistics.median(sizes.values()) < MEDIAN_FUNCTION


def test_every_exception_from_a_check_says_why() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _python_files()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (mark := _MARK.search(line)) and not _has_reason(mark["rest"])
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("import x  # no" + "qa: F401  # the plugin registers itself", True),
        ("import x  # no" + "qa: F401", False),
        ("f()  # type: " + "ignore[call-arg]  # the stubs lag behind", True),
        ("f()  # type: " + "ignore[call-arg]", False),
        ("import x  # no" + "qa: F401 - the plugin registers itself", True),
    ],
)
def test_a_reason_is_told_from_none(line: str, good: bool) -> None:
    mark = _MARK.search(line)
    assert mark and _has_reason(mark["rest"]) is good


def _has_reason(rest: str) -> bool:
    """`rest` is what follows the mark: its codes, then a dash or a hash and some words."""
    return re.search(r"\s(#|-)\s*\w+", rest) is not None


def _python_files() -> list[Path]:
    return [path for path in committed() if path.suffix == ".py"]


def _functions() -> Iterator[tuple[str, int]]:
    for path, tree in sources(ROOT / "drctl"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield where, (node.end_lineno or node.lineno) - node.lineno + 1
