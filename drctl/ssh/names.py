"""Names and paths on the way to a host: which are let in, and how ssh completes them."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drctl.errors import InvalidInput

_HOSTNAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\$-]*")
_KNOWN_AS = re.compile(r"[A-Za-z0-9_:\[][A-Za-z0-9_.:%@/+\[\]-]*")
_JUMP = re.compile(
    r"(?:(?P<user>.+)@)?(?:\[(?P<bracketed>[^\]@]+)\]|(?P<host>[^:\[\]@]+))(?::(?P<port>\d+))?"
)
_TOKEN = re.compile(r"%(.?)|\$\{([^}]*)\}", re.DOTALL)


def hostname(text: str) -> str:
    """`text`, or InvalidInput: no leading "-", no blanks, no shell characters."""
    return _allowed(_HOSTNAME, text, "host name")


def username(text: str) -> str:
    """`text`, or InvalidInput, as with `hostname`."""
    return _allowed(_USER, text, "user")


def known_as(text: str) -> str:
    """A name for known_hosts, fit to be written into a line of it; or InvalidInput."""
    return _allowed(_KNOWN_AS, text, "HostKeyAlias")


def port(text: str) -> int:
    """A port as ssh_config and the inventory write it."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise InvalidInput(f"no such port: {text!r}")


def _allowed(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text):
        return text
    raise InvalidInput(f"{text!r} is not a usable {what}")


@dataclass(frozen=True)
class JumpHost:
    """A jump host as ProxyJump and the inventory write it: [user@]address[:port]."""

    address: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        user = f"{self.user}@" if self.user else ""
        return f"{user}{address}:{self.port}" if self.port else f"{user}{address}"


def jumps(text: str) -> tuple[JumpHost, ...]:
    """The jump hosts that `text` names, the first to be passed first; `none` names none."""
    parts = [part.strip() for part in text.split(",")]
    return () if [part.lower() for part in parts] == ["none"] else tuple(map(_jump, parts))


def _jump(text: str) -> JumpHost:
    parsed = _JUMP.fullmatch(text.removeprefix("ssh://"))
    if parsed is None:
        raise InvalidInput(f"jump host {text!r} is not [user@]address[:port]")
    number = port(parsed["port"]) if parsed["port"] else None
    return JumpHost(parsed["bracketed"] or parsed["host"], parsed["user"], number)


def local_user() -> str:
    """Who runs drctl, as ssh sees it: by number, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return getpass.getuser()


def home() -> Path:
    """That user's home as ssh sees it: the user database's, not $HOME."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def numeric(name: str) -> str | None:
    """The usual form of an address, None for a name. Asks no resolver."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return socket.getnameinfo(found[0][4], socket.NI_NUMERICHOST)[0]
    except (OSError, UnicodeError):
        return None


def expanded(text: str, tokens: Mapping[str, str], *, variables: bool = True) -> str:
    """`text` with its ssh_config tokens (%h …) and environment variables (${NAME}) filled in."""

    def value(match: re.Match[str]) -> str:
        token, variable = match.groups()
        if variable is not None and not variables:
            return match.group()
        found = os.environ.get(variable) if variable else {"%": "%", **tokens}.get(token)
        if found is None:
            raise InvalidInput(f"unknown token {match.group()!r} in ssh_config: {text!r}")
        return found

    return _TOKEN.sub(value, text)


def tilde(text: str) -> str:
    """`text` with a `~` or `~user` at its beginning filled in."""
    if text == "~" or text.startswith("~/"):
        return f"{home()}{text[1:]}"
    try:
        return str(Path(text).expanduser())
    except RuntimeError as e:  # no such user
        raise InvalidInput(f"bad path in ssh_config, {text!r}: {e}") from e


def path(text: str, tokens: Mapping[str, str]) -> Path:
    """A path of ssh_config: `~`, tokens and environment variables filled in."""
    return literal_path(expanded(tilde(text), tokens))


def literal_path(text: str) -> Path:
    """A path as it stands there, or InvalidInput where it cannot be shown."""
    if text.isprintable():
        return Path(text)
    raise InvalidInput(f"unprintable path in ssh_config: {text!r}")
