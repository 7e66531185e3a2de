"""ssh_config files: paramiko's parser, plus the `Include` that it lacks."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from paramiko.config import SSHConfig, SSHConfigDict
from paramiko.ssh_exception import SSHException

from drctl.errors import InvalidInput

_SYSTEM = Path("/etc/ssh/ssh_config")
_WORD = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*\S)\s*$")
_MATCH_WORDS = {"all", "canonical", "final", "host", "originalhost", "user", "localuser", "exec"}
_MAX_DEPTH = 16  # OpenSSH's own limit


class SshSettings:
    """The settings that ssh_config gives to a host; the first value found wins."""

    def __init__(self, path: Path | None = None) -> None:
        """Read `path` alone (as `ssh -F` does), or else the user's and the system's file."""
        self._files = (path,) if path else (Path("~/.ssh/config").expanduser(), _SYSTEM)
        lines = [line for file in self._files for line in ("Host *", *_read(file, file.parent))]
        try:
            self._config = SSHConfig.from_text("\n".join(lines))
        except (SSHException, ValueError) as e:
            raise InvalidInput(f"{self._where} cannot be understood: {e}") from e

    @property
    def _where(self) -> str:
        return " and ".join(str(f) for f in self._files)

    def of(self, name: str) -> SSHConfigDict:
        """The settings for the alias or address `name`, keys in lower case."""
        try:
            return self._config.lookup(name)
        except (SSHException, ValueError, KeyError) as e:
            raise InvalidInput(f"{self._where} cannot be applied to {name}: {e}") from e


def _read(file: Path, base: Path, depth: int = 0, header: str = "Host *") -> Iterator[str]:
    """The lines of `file` with every `Include` replaced by what it names."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        word = _WORD.match(line)
        key = word[1].lower() if word else ""
        if word and key == "include":
            yield from _include(word[2], base, depth, header)
            yield header  # what follows belongs to the block that held the Include
            continue
        if word and key in ("host", "match"):
            line = header = _block(line, word[2], key)
        yield line


def _include(value: str, base: Path, depth: int, header: str) -> Iterator[str]:
    if depth >= _MAX_DEPTH:
        raise InvalidInput(f"ssh_config files include each other too deeply: {value}")
    for pattern in value.replace('"', "").split():
        # An absolute or ~ pattern stands alone; a relative one is looked up beside the first file.
        for name in sorted(glob.glob(str(base / Path(pattern).expanduser()))):  # noqa: PTH207 - Path.glob refuses absolute patterns
            yield header
            yield from _read(Path(name), base, depth + 1, header)


def _block(line: str, value: str, key: str) -> str:
    # Paramiko takes an unknown Match criterion (localnetwork, tagged, …) for one that holds.
    # Such a block is left out instead.
    if key == "host":
        return line
    words = re.findall(r'(?:"[^"]*"|\S)+', value)
    criteria, expect_argument = set(), False
    for word in words:
        if not expect_argument:
            criteria.add(word.lstrip("!").lower())
        takes = word.lstrip("!").lower() not in ("all", "canonical", "final")
        expect_argument = not expect_argument and takes
    return line if criteria <= _MATCH_WORDS else "Host drctl-unsupported-match"
