"""What the modules of a package import, read from their source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One import: the part of the package where it stands, and the dotted name that it names."""

    part: str  # "etcd" for drctl/etcd/bolt.py and for drctl/etcd.py
    name: str  # "drctl.errors.InvalidInput", "yaml"
    where: str  # "drctl/etcd/bolt.py:12"


def imports_of(package: Path) -> list[Import]:
    """Every import in `package`, also those inside functions and under TYPE_CHECKING."""
    return [
        Import(part_of(path, package), name, f"{path.relative_to(package.parent)}:{line}")
        for path, tree in sources(package)
        for name, line in _names(tree, path.relative_to(package.parent))
    ]


def sources(package: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Each source file with its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        yield path, ast.parse(path.read_text(), str(path))


def part_of(path: Path, package: Path) -> str:
    """The first name under the package; empty for the package's own __init__.py."""
    first = path.relative_to(package).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def module_of(path: Path, package: Path) -> str:
    """The dotted name of the module in `path`."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(tree: ast.Module, path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, path)
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _imports(node.func):
            yield from (
                (argument.value, node.lineno)
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def _base(node: ast.ImportFrom, path: Path) -> str:
    """`from ..x import y` in drctl/etcd/bolt.py is an import from drctl.x."""
    above = path.parts[: len(path.parts) - node.level] if node.level else ()
    return ".".join([*above, *([node.module] if node.module else [])])


def _imports(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    return name in ("import_module", "__import__")
