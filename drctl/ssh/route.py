"""Which way to a host: its address, user, keys and jump hosts, from inventory and ssh_config."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from paramiko.config import SSHConfigDict

from drctl.errors import InvalidInput
from drctl.ssh.known_hosts import lookup_name
from drctl.ssh.sshconfig import SshSettings


class HostLike(Protocol):
    """What SSH needs of `drctl.inventory.Host`. None means: ssh_config decides."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def key(self) -> Path | None: ...
    @property
    def jump(self) -> str | None: ...
    @property
    def become(self) -> str: ...


@dataclass(frozen=True)
class Endpoint:
    """One SSH server on the way, everything resolved."""

    label: str  # the inventory's name, or the jump host as it was written
    hostname: str
    port: int
    user: str
    identities: tuple[Path, ...]
    identities_only: bool
    use_agent: bool
    known_hosts: tuple[Path, ...]
    known_as: str  # the name to look for in known_hosts
    lax: str  # the value of StrictHostKeyChecking if it asks for less than drctl grants

    def __str__(self) -> str:
        at = lookup_name(self.hostname, self.port)
        return at if self.label == self.hostname else f"{self.label} ({at})"


Route = tuple[Endpoint, ...]
"""Jump hosts in the order in which they are passed, the host itself last."""

_SPEC = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?"
)
_HOSTNAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\$-]*")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"


class Router:
    """Finds the route to each host of an inventory."""

    def __init__(
        self, hosts: Mapping[str, HostLike], settings: SshSettings, known_hosts: Path | None
    ) -> None:
        self._hosts = hosts
        self._settings = settings
        self._extra_known = known_hosts

    def route(self, name: str, _seen: tuple[str, ...] = ()) -> Route:
        """The way to the inventory's host `name`; InvalidInput where there can be none."""
        if name not in self._hosts:
            raise InvalidInput(f"host {name!r} is not in the inventory")
        host = self._hosts[name]
        options = self._settings.of(host.address)
        end = self._endpoint(name, options, host.user, host.port, host.key)
        if host.jump and host.jump != name and host.jump in self._hosts:
            return (*self.route(host.jump, _passed(_seen, name)), end)
        jump = host.jump if host.jump and host.jump != name else options.get("proxyjump")
        return (*self._hops(jump, options, end, _passed(_seen, name)), end)

    def _hops(
        self, jump: str | None, options: SSHConfigDict, end: Endpoint, seen: tuple[str, ...]
    ) -> Route:
        if jump is None and options.get("proxycommand"):
            raise InvalidInput(
                f"ssh_config gives {end.label} a ProxyCommand, which drctl does not run: "
                "nothing could vouch for what it does",
                host=end.label,
                hint="use ProxyJump in ssh_config, or `jump:` in the inventory",
            )
        specs = [s.strip() for s in (jump or "none").split(",")]
        if [s.lower() for s in specs] == ["none"]:
            return ()
        hops: Route = ()
        for spec in specs:
            hops = self._hop(spec, hops, end, seen)
        return hops

    def _hop(self, spec: str, before: Route, end: Endpoint, seen: tuple[str, ...]) -> Route:
        parsed = _SPEC.fullmatch(spec.removeprefix("ssh://"))
        if parsed is None:
            raise InvalidInput(f"jump host {spec!r} is not [user@]address[:port]", host=end.label)
        address = parsed["v6"] or parsed["host"]
        options = self._settings.of(address)
        port = int(parsed["port"]) if parsed["port"] else None
        hop = self._endpoint(spec, options, parsed["user"], port, None)
        if (hop.hostname, hop.port) == (end.hostname, end.port):
            return before  # "Host *" with a ProxyJump also covers the jump host itself
        if not before:  # only the first hop may itself need another one, as with OpenSSH
            before = self._hops(options.get("proxyjump"), options, hop, _passed(seen, spec))
        return (*before, hop)

    def _endpoint(
        self,
        label: str,
        options: SSHConfigDict,
        user: str | None,
        port: int | None,
        key: Path | None,
    ) -> Endpoint:
        hostname = _allowed(_HOSTNAME, options["hostname"], "host name", label)
        number = port or _port(options.get("port", "22"), label)
        strict = options.get("stricthostkeychecking", "ask").lower()
        agent = options.get("identityagent", "").lower() != "none"
        alias = options.get("hostkeyalias")
        return Endpoint(
            label=label,
            hostname=hostname,
            port=number,
            user=_allowed(_USER, user or options.get("user") or getpass.getuser(), "user", label),
            identities=_identities(key, options),
            identities_only=options.get("identitiesonly", "no").lower() == "yes",
            use_agent=agent,
            known_hosts=self._known_hosts_files(options),
            known_as=alias.lower() if alias else lookup_name(hostname, number),
            lax=strict if strict in ("no", "off", "accept-new") else "",
        )

    def _known_hosts_files(self, options: SSHConfigDict) -> tuple[Path, ...]:
        user = options.get("userknownhostsfile", _USER_KNOWN_HOSTS)
        system = options.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS)
        names = [n for n in f"{user} {system}".replace('"', "").split() if n.lower() != "none"]
        home = str(Path.home())
        files = [Path(n.replace("%d", home)).expanduser() for n in names]
        return (self._extra_known, *files) if self._extra_known else tuple(files)


def _identities(key: Path | None, options: SSHConfigDict) -> tuple[Path, ...]:
    if key:
        return (key.expanduser(),)
    files = options.get("identityfile")
    if files:
        return tuple(Path(f).expanduser() for f in files if f.lower() != "none")
    return tuple(p for n in _DEFAULT_KEYS if (p := Path.home() / ".ssh" / n).exists())


def _passed(seen: tuple[str, ...], name: str) -> tuple[str, ...]:
    if name in seen:
        raise InvalidInput(f"jump hosts form a loop: {' -> '.join((*seen, name))}", host=seen[0])
    return (*seen, name)


def _port(text: str, label: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise InvalidInput(f"ssh_config gives port {text!r}", host=label)


def _allowed(pattern: re.Pattern[str], value: str, what: str, label: str) -> str:
    """`value`, or InvalidInput: no leading "-", no blanks, no shell characters."""
    if pattern.fullmatch(value):
        return value
    raise InvalidInput(f"{value!r} is not a usable {what}", host=label)
