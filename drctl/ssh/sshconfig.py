"""What ssh_config says of a host.

Where an OpenSSH client is installed it is asked (`ssh -G`), so that drctl trusts whom ssh trusts;
where there is none, drctl reads the files itself, by the same rules (tests/ssh/test_sshconfig.py
compares the two). Either way the user's files are those of the user database's home, as with ssh,
and no name is looked up.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drctl.errors import InvalidInput
from drctl.ssh import names
from drctl.ssh.configfiles import ConfigFiles, standard
from drctl.ssh.names import JumpHost
from drctl.ssh.sshclient import SshClient, find_client

Answers = Mapping[str, Sequence[str]]
"""Keyword in lower case -> its values, as `ssh -G` prints them; what is not set may be left out."""


class Reader(Protocol):
    """Who knows what ssh_config says."""

    def read(self, alias: str, user: str | None, port: int | None) -> Answers:
        """What `ssh -G -l user -p port alias` answers."""


@dataclass(frozen=True)
class HostSettings:
    """The settings of one host, everything filled in."""

    hostname: str
    port: int
    user: str
    identities: tuple[Path, ...]
    identities_only: bool
    use_agent: bool
    known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    lax: str  # the value of StrictHostKeyChecking if it asks for less than drctl grants
    jumps: tuple[JumpHost, ...]
    proxy_command: bool


_LAX = {"false": "no", "no": "no", "off": "no", "accept-new": "accept-new"}
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_DEFAULT_KEYS = {f"~/.ssh/{name}" for name in _USUAL_KEYS}


class SshSettings:
    """The settings that ssh_config gives to hosts; each host is read once."""

    def __init__(self, path: Path | None = None, reader: Reader | None = None) -> None:
        """Read `path` alone (as `ssh -F` does), or else the user's and the system's file."""
        self._path = path
        self._reader = reader
        self._lock = threading.Lock()
        self._asking: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._known: dict[object, HostSettings] = {}

    def of(self, alias: str, user: str | None = None, port: int | None = None) -> HostSettings:
        """The settings for the alias or address; `user` and `port` are given, not for them to say.

        Nothing that could be an option, or shell, reaches a reader.
        """
        names.hostname(alias)
        if user is not None:
            names.username(user)
        asked = (alias, user, port)
        with self._lock:
            asking = self._asking[asked]
        with asking:  # several hosts behind one jump host ask for it at once
            if asked not in self._known:
                self._known[asked] = settings(alias, self._who().read(alias, user, port))
            return self._known[asked]

    def _who(self) -> Reader:
        with self._lock:
            if self._reader is None:
                program = find_client()
                self._reader = (
                    SshClient(program, self._path) if program else ConfigFiles(standard(self._path))
                )
            return self._reader


def settings(alias: str, answers: Answers) -> HostSettings:
    """What a reader said of `alias`, each value checked."""
    hostname = names.hostname(_one(answers, "hostname", alias))
    user = names.username(_one(answers, "user", names.local_user()))
    port = names.port(_one(answers, "port", "22"))
    alias_of_key = _one(answers, "hostkeyalias", "").lower()
    key_alias = names.known_as(alias_of_key) if alias_of_key else None
    strict = _one(answers, "stricthostkeychecking", "ask").lower()
    tokens = _tokens(alias, hostname, port, user, key_alias)
    jumps = names.jumps(_one(answers, "proxyjump", "none"))
    proxy_command = _one(answers, "proxycommand", "none").lower() != "none"
    _needs_no_resolver(answers, hostname, direct=not jumps and not proxy_command)
    _revokes_nothing_unseen(answers)
    return HostSettings(
        hostname=hostname,
        port=port,
        user=user,
        identities=_identities(answers.get("identityfile", ()), tokens),
        identities_only=_one(answers, "identitiesonly", "no").lower() in ("yes", "true"),
        use_agent=_one(answers, "identityagent", "").lower() != "none",
        known_hosts=_known_hosts(answers, tokens),
        host_key_alias=key_alias,
        lax=_LAX.get(strict, ""),
        jumps=jumps,
        proxy_command=proxy_command,
    )


def _one(answers: Answers, keyword: str, default: str) -> str:
    values = answers.get(keyword)
    return values[0] if values else default


def _tokens(
    alias: str, hostname: str, port: int, user: str, key_alias: str | None
) -> dict[str, str]:
    machine = socket.gethostname()
    return {
        "d": str(names.home()),
        "h": hostname,
        "i": str(os.getuid()),
        "k": key_alias or alias,
        "L": machine.partition(".")[0],
        "l": machine,
        "n": alias,
        "p": str(port),
        "r": user,
        "u": names.local_user(),
    }


def _identities(files: Sequence[str], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    if not files or set(files) >= _DEFAULT_KEYS:  # ssh names its defaults where nothing is set
        usual = (names.home() / ".ssh" / name for name in _USUAL_KEYS)
        return tuple(key for key in usual if key.exists())
    named = (names.path(file, tokens) for file in files if file.lower() != "none")
    return tuple(dict.fromkeys(named))


def _known_hosts(answers: Answers, tokens: Mapping[str, str]) -> tuple[Path, ...]:
    user = _one(answers, "userknownhostsfile", _USER_KNOWN_HOSTS).split()
    system = _one(answers, "globalknownhostsfile", _SYSTEM_KNOWN_HOSTS).split()
    files = [names.path(file, tokens) for file in user if file.lower() != "none"]
    files += [names.literal_path(file) for file in system if file.lower() != "none"]
    for file in files:
        if not file.is_absolute():
            raise InvalidInput(
                f"ssh_config names the known_hosts file {str(file)!r}, which is not an absolute "
                "path",
                hint="write an absolute path without spaces: ssh -G does not quote them",
            )
    return tuple(files)


def _revokes_nothing_unseen(answers: Answers) -> None:
    """Refuse a list of revoked keys (it may be a binary KRL), which ssh would look at."""
    file = _one(answers, "revokedhostkeys", "none")
    if file.lower() != "none":
        raise InvalidInput(
            f"ssh_config sets RevokedHostKeys {file!r}, which drctl does not read",
            hint="put those keys into a known_hosts file as @revoked lines, and remove "
            "RevokedHostKeys for these hosts",
        )


def _needs_no_resolver(answers: Answers, hostname: str, *, direct: bool) -> None:
    """Refuse a name that CanonicalizeHostname would complete by asking DNS: the answer would
    choose the settings and the host key."""
    wanted = _one(answers, "canonicalizehostname", "no").lower()
    if wanted not in ("always", *(("yes", "true") if direct else ())) or names.numeric(hostname):
        return
    dots = hostname.count(".")
    if hostname.endswith(".") or dots <= int(_one(answers, "canonicalizemaxdots", "1")):
        raise InvalidInput(
            f"ssh_config completes {hostname} by DNS (CanonicalizeHostname), which drctl does not "
            "do",
            hint="write the address or the full name: `address` in the inventory, or HostName",
        )
