"""Which flags a lab's programs know. They come and go between releases, and a program that does
not know one does not start: so each is asked by `--help`, whatever its version says.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from drctl.answer import shown
from drctl.errors import InvalidInput

_FLAG = re.compile(r"^\s+(?:-\w, )?--([a-z0-9][a-z0-9-]*)", re.MULTILINE)
_LINE = re.compile(r"\s+--([a-z0-9][a-z0-9-]*)(?:=.*)? \\")
_SECONDS = 60.0


@cache
def known(program: Path, *verbs: str) -> frozenset[str]:
    """The long flags that `program VERBS --help` names, without dashes; InvalidInput where it
    names none."""
    try:
        told = subprocess.run(
            [program, *verbs, "--help"], capture_output=True, text=True, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"{program} --help does not run on this machine: {error}") from error
    found = frozenset(_FLAG.findall(told.stdout + told.stderr))
    if not found:
        said = shown(told.stdout + told.stderr) or "nothing"
        raise InvalidInput(
            f"{' '.join((str(program), *verbs))} --help names no flags: it says {said}",
            hint="use the directory of a release's own programs",
        )
    return found


def fitted(unit: str, program: Path) -> str:
    """The unit without the lines for flags that the program does not know.

    The last flag, on which no further line follows, stays: it must be one that all releases have.
    """
    kept = []
    for line in unit.splitlines(keepends=True):
        flag = _LINE.fullmatch(line.rstrip("\n"))
        if flag is None or flag[1] in known(program):
            kept.append(line)
    return "".join(kept)
