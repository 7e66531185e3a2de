"""What `ansible_ssh_common_args` says of the way to a host: a jump host, a key, a port, a user.

Nothing of it is run. A ProxyCommand is understood where it is the usual `ssh -W %h:%p JUMP`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

_OPTION = re.compile(r"\s*(\w+)\s*[=\s]\s*(.*?)\s*")
_WITH_VALUE = {"-J": "proxyjump", "-i": "identityfile", "-p": "port", "-l": "user"}
_TAKES_VALUE = frozenset("BbcDEeFIiJLlmOopQRSWw")
# Decide nothing that drctl does not decide by itself, and more strictly.
_OF_NO_USE = {
    "controlmaster", "controlpath", "controlpersist", "serveraliveinterval", "serveralivecountmax",
    "connecttimeout", "connectionattempts", "loglevel", "compression", "tcpkeepalive",
    "batchmode", "forwardagent", "preferredauthentications", "identitiesonly", "forwardx11",
}  # fmt: skip
_KEYS = {"stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile"}


@dataclass
class Way:
    """What was understood; `open` is what was not, `notes` what drctl does otherwise."""

    jump: str | None = None
    key: str | None = None
    port: str | None = None
    user: str | None = None
    open: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def way(text: str) -> Way:
    """The arguments, one by one."""
    found = Way()
    try:
        words = shlex.split(text)
    except ValueError as error:
        found.open.append(f"ssh arguments that cannot be read ({error})")
        return found
    for name, value in _options(words):
        _take(found, name, value)
    return found


def _options(words: list[str]) -> list[tuple[str, str]]:
    """(name, value) of each option, `-o Name=value` among them."""
    found: list[tuple[str, str]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, value = word[:2], word[2:]
        if word.startswith("-") and flag[1:] in _TAKES_VALUE:
            value = value or (rest.pop(0) if rest else "")
            if flag == "-o":
                option = _OPTION.fullmatch(value)
                found.append((option[1].lower(), option[2]) if option else (value, ""))
            else:
                found.append((_WITH_VALUE.get(flag, flag), value))
        else:
            found.append((word, ""))
    return found


def _take(found: Way, name: str, value: str) -> None:
    if name == "proxyjump":
        found.jump = None if value.lower() == "none" else value
    elif name == "proxycommand":
        _proxy_command(found, value)
    elif name in ("identityfile", "port", "user"):
        setattr(found, "key" if name == "identityfile" else name, value)
    elif name in _KEYS:
        found.notes.append("it relaxes the check of host keys; drctl always checks them")
    elif name not in _OF_NO_USE and name not in ("-q", "-A", "-4", "-C", "-T"):
        found.open.append(f"the ssh option {name[:40]!r}")


def _proxy_command(found: Way, command: str) -> None:
    """`ssh -W %h:%p [-q] [-p PORT] [user@]HOST` is a jump host; anything else a program."""
    if command.lower() == "none":
        return
    try:
        program, *words = shlex.split(command)
    except ValueError:
        program, words = "", []
    options = _options(words)
    jump = {name: value for name, value in options if value}
    plain = [name for name, value in options if not value and name != "-q"]
    forwards = jump.pop("-W", "") in ("%h:%p", "[%h]:%p")
    for name in [*_OF_NO_USE, *_KEYS]:
        jump.pop(name, None)
    unknown = set(jump) - {"port", "user", "identityfile"}
    if program.rpartition("/")[2] != "ssh" or not forwards or len(plain) != 1 or unknown:
        found.open.append("a ProxyCommand, which drctl does not run")
        return
    if "identityfile" in jump:
        found.open.append(f"the jump host's key, {jump['identityfile'][:80]!r}")
    host = plain[0]
    user = f"{jump['user']}@" if "user" in jump and "@" not in host else ""
    port = f":{jump['port']}" if jump.get("port", "22") != "22" else ""
    found.jump = f"{user}{host}{port}"
