"""systemd's units, as `systemctl show` prints them (systemctl(1), systemd.exec(5)). Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drctl.reading.evidence import assignments

_ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")
_FILE = re.compile(r"(.+) \(ignore_errors=(?:yes|no)\)")
_SPAN = re.compile(r"([0-9]{1,10})(ms|us|s|min|h|d|w)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Unit:
    """A unit as systemd has read it. `commands` are its ExecStart= lines; of `environment` only
    ETCD_* is known; `start_seconds` is None for "infinity"."""

    name: str
    found: bool
    active: bool
    pid: int
    commands: tuple[str, ...]
    environment: str
    environment_files: tuple[str, ...]
    file: str
    drop_ins: tuple[str, ...]
    user: str
    working_directory: str
    start_seconds: float | None
    edited: bool  # on disk, and not yet read by systemd


def read_units(shown: str) -> tuple[Unit, ...]:
    """Blocks of `Key=value` lines, with a blank line between two units."""
    return tuple(_unit(block) for block in re.split(r"\n\s*\n", shown) if "Id=" in block)


def _unit(block: str) -> Unit:
    lines = [line.partition("=") for line in block.splitlines()]

    def all_of(key: str) -> list[str]:
        return [value for name, _, value in lines if name == key]

    def one(key: str) -> str:
        return (all_of(key) or [""])[-1]

    files = (_FILE.fullmatch(value) for value in all_of("EnvironmentFiles"))
    pid = one("MainPID")
    return Unit(
        name=one("Id"),
        found=one("LoadState") not in ("not-found", "masked", ""),
        active=one("ActiveState") in ("active", "activating", "reloading"),
        pid=int(pid) if re.fullmatch("[0-9]{1,10}", pid) else 0,
        commands=tuple(found for value in all_of("ExecStart") for found in _ARGV.findall(value)),
        environment="\n".join(one("Environment").split()),
        environment_files=tuple(found[1] for found in files if found),
        file=one("FragmentPath"),
        drop_ins=tuple(one("DropInPaths").split()),
        user=one("User"),
        working_directory=one("WorkingDirectory").lstrip("!-"),
        start_seconds=seconds(one("TimeoutStartUSec")),
        edited=one("NeedDaemonReload") == "yes",
    )


def seconds(span: str) -> float | None:
    """`1min 30s` in seconds; None for infinity, and for what is no span."""
    parts = _SPAN.findall(span)
    if not parts or _SPAN.sub("", span).strip():
        return None
    return float(sum(int(number) * _SECONDS[unit] for number, unit in parts))


def arguments(command: str, program: str, environment: dict[str, str]) -> list[str] | None:
    """What `program` is given where a unit's `command` starts it, itself or through a shell or
    env; variables are filled in where `environment` has them, and an argument with another one is
    left out. None where the command does not name the program."""
    for words in _readings(command):
        for at, word in enumerate(words):
            if word.rpartition("/")[2] == program:
                return list(_filled(words[at + 1 :], environment))
    return None


def _readings(command: str) -> Iterator[list[str]]:
    """The command's words; then those within its arguments, for `sh -c '…'`."""
    words = _split(command)
    yield words
    yield _split(" ".join(word for word in words))
    yield _split(command.replace('"', " ").replace("'", " "))


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _filled(words: Sequence[str], environment: dict[str, str]) -> Iterator[str]:
    for word in words:
        whole = re.fullmatch(r"\$\{?([A-Z][A-Z0-9_]*)\}?", word)
        if whole:
            yield from _split(environment.get(whole[1], ""))
            continue
        text = re.sub(r"\$\{?([A-Z][A-Z0-9_]*)\}?", lambda m: environment.get(m[1], m[0]), word)
        if "$" not in text:
            yield text


def environment_of(unit: Unit, files: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """{ETCD_* variable: (value, where)}; a file beats the unit's own lines (systemd.exec)."""
    found = {
        name: (value, f"Environment= of {unit.name}")
        for name, value in assignments(unit.environment).items()
    }
    for path in unit.environment_files:
        found |= {name: (value, path) for name, value in files.get(path, {}).items()}
    return found
