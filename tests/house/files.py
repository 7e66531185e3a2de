"""The files that a commit would hold, also where there is no git (an unpacked copy, CI's)."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.house import ROOT


def committed() -> Iterator[Path]:
    """Every file of the checkout that .gitignore does not name."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split() if line]
    yield from _below(ROOT, [".git", *ignored])


def _below(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _below(path, ignored)
        elif path.is_file():
            yield path
