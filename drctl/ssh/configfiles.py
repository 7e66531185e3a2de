"""ssh_config files read without an OpenSSH client, by its rules (readconf.c of OpenSSH 9).

Read are the settings that drctl follows. What only a client can judge (`Match exec` runs a
command, `Match localnetwork` looks at interfaces) is refused where it would decide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from drctl.errors import InvalidInput
from drctl.ssh import names
from drctl.ssh.confline import Mistake, criteria, value_of, words
from drctl.ssh.patterns import in_list, matches

_MAX_DEPTH = 16  # OpenSSH's own limit
_LINE = re.compile(r'[ \t]*([^\s"=]+)[ \t\r]*=?[ \t\r]*(.*)', re.DOTALL)


@dataclass(frozen=True)
class Source:
    """A file that reading begins with."""

    path: Path
    of_user: bool = True  # its relative Includes lie in ~/.ssh, not in /etc/ssh
    ours_only: bool = False  # refused where others can write it
    required: bool = False


def standard(path: Path | None) -> tuple[Source, ...]:
    """`path` alone, as with `ssh -F`, or else the user's and the system's file."""
    if path:
        return (Source(path, required=True),)
    user = Source(names.home() / ".ssh" / "config", ours_only=True)
    return (user, Source(Path("/etc/ssh/ssh_config"), of_user=False))


class ConfigFiles:
    """Reads ssh_config; the first value found wins."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def read(self, alias: str, user: str | None, port: int | None) -> dict[str, list[str]]:
        """See `drctl.ssh.sshconfig.Reader`."""
        given = {"user": [user] if user else [], "port": [str(port)] if port else []}
        first = _Pass(alias, alias, {keyword: value for keyword, value in given.items() if value})
        first.through(self._sources)
        host = first.hostname()
        host = names.numeric(host) or host.lower()
        found = {**first.found, "hostname": [host]}
        if first.wants_final or found.get("canonicalizehostname", ["no"]) != ["no"]:
            final = _Pass(alias, host, found, final=True)
            final.through(self._sources)
            found = final.found
        return _without_loop(found)


def _without_loop(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """What ssh refuses too: a host that is its own jump host."""
    user = found.get("user", [names.local_user()])[0]
    end = (found["hostname"][0], int(found.get("port", ["22"])[0]), user)
    for last in names.jumps(found.get("proxyjump", ["none"])[0])[-1:]:
        if (last.address, last.port or 22, last.user or user) == end:
            raise InvalidInput(f"ssh_config has a jump host loop via {last}")
    return found


@dataclass
class _Block:
    """Where a line stands: whether its Host or Match block applies."""

    active: bool = True


@dataclass
class _Pass:
    """One reading of all files for one host."""

    alias: str
    host: str  # what `Host` is compared with
    found: dict[str, list[str]]
    final: bool = False
    wants_final: bool = field(default=False, init=False)

    def through(self, sources: Sequence[Source]) -> None:
        for source in sources:
            text = _text(source)
            if text is not None:
                self._file(source, text, _Block(), False, 0)

    def hostname(self) -> str:
        """The name or address to connect to, as far as it is known yet."""
        found = self.found.get("hostname")
        if self.final or not found:
            return self.host
        return names.expanded(found[0], {"h": self.host}, variables=False)

    def _file(self, source: Source, text: str, block: _Block, never: bool, depth: int) -> None:
        """Read one file; `never`: it is included where nothing applies, so nothing in it does."""
        if depth > _MAX_DEPTH:
            raise InvalidInput(f"ssh_config files include each other too deeply: {source.path}")
        for number, line in enumerate(text.split("\n"), start=1):
            try:
                self._line(source, line, block, never, depth)
            except Mistake as e:
                raise InvalidInput(f"{source.path} line {number}: {e}") from e

    def _line(self, source: Source, line: str, block: _Block, never: bool, depth: int) -> None:
        parsed = _LINE.fullmatch(line.rstrip(" \t\r\f"))
        if parsed is None or parsed[1].startswith("#"):
            return
        keyword, rest = parsed[1].lower(), parsed[2]
        if not rest:
            raise Mistake(f"no argument after keyword {keyword!r}")
        arguments = words(rest)
        if keyword == "host":
            block.active = not never and _host_applies(arguments, self.host)
        elif keyword == "match":
            block.active = self._match_applies(rest, never) and not never
        elif keyword == "include":
            self._include(source, arguments, block, depth)
        else:
            self._setting(keyword, arguments, rest, block.active)

    def _setting(self, keyword: str, arguments: list[str], rest: str, active: bool) -> None:
        value = value_of(keyword, arguments, rest)
        if value is None or not active:
            return
        if keyword == "identityfile":
            self.found.setdefault(keyword, []).append(value)
        elif keyword == "proxyjump" and value != "none" and "proxycommand" in self.found:
            return  # of the two ways, the first one that is named
        else:
            self.found.setdefault(keyword, [value])
            if keyword == "proxyjump" and value != "none":
                self.found.setdefault("proxycommand", ["none"])

    def _include(self, source: Source, arguments: list[str], block: _Block, depth: int) -> None:
        for argument in arguments:
            for path in _included(source, argument):
                inner = Source(path, source.of_user, ours_only=True)
                text = _text(inner)
                if text is not None:
                    # A block of its own: what is said there ends with the file.
                    self._file(inner, text, _Block(block.active), not block.active, depth + 1)

    def _match_applies(self, rest: str, never: bool) -> bool:
        result, count = True, 0
        for negated, criterion, argument in criteria(rest):
            if criterion == "all":
                if count > 1:
                    raise Mistake("'all' cannot be combined with other Match attributes")
                return result and not negated
            count += 1
            self.wants_final |= criterion == "final"
            if (result and not never) or criterion in ("canonical", "final"):
                result &= self._holds(criterion, argument) != negated
        if not count:
            raise Mistake("one or more attributes required for Match")
        return result

    def _holds(self, criterion: str, argument: str) -> bool:
        if criterion in ("canonical", "final"):
            return self.final
        if criterion in ("host", "originalhost"):
            name = self.hostname() if criterion == "host" else self.alias
            return in_list(name.lower(), argument.lower())
        if criterion == "user":
            return in_list(self.found.get("user", [names.local_user()])[0], argument)
        if criterion == "localuser":
            return in_list(names.local_user(), argument)
        raise Mistake(
            f"only an OpenSSH client can evaluate `Match {criterion}`: install one (8.8 or "
            "newer), or remove the block"
        )


def _host_applies(patterns: list[str], host: str) -> bool:
    applies = False
    for pattern in patterns:
        if not pattern:
            raise Mistake("keyword host empty argument")
        if matches(host, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            applies = True
    return applies


def _included(source: Source, argument: str) -> Iterator[Path]:
    if not argument or (argument.startswith("~") and not source.of_user):
        raise Mistake(f"bad include path {argument!r}")
    base = names.home() / ".ssh" if source.of_user else Path("/etc/ssh")
    pattern = str(base / names.tilde(argument))
    yield from map(Path, sorted(glob(pattern)))  # noqa: PTH207 - Path.glob refuses absolute patterns


def _text(source: Source) -> str | None:
    """What stands in a file; None where there is none."""
    try:
        with source.path.open("rb") as file:
            about = os.fstat(file.fileno())
            text = file.read()
    except FileNotFoundError:
        if source.required:
            raise InvalidInput(f"no such ssh_config: {source.path}") from None
        return None
    except IsADirectoryError:
        return None
    except OSError as e:
        raise InvalidInput(f"{source.path} cannot be read: {e.strerror}") from e
    if source.ours_only and (about.st_uid not in (0, os.getuid()) or about.st_mode & 0o022):
        raise InvalidInput(
            f"{source.path} is writable by others, who could then choose which hosts are trusted",
            hint=f"chmod go-w {source.path}, and chown it",
        )
    if b"\0" in text:
        raise InvalidInput(f"{source.path} is not a text file")
    return text.decode("utf-8", "surrogateescape")
