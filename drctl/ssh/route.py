"""Which way to a host: its address, user, keys and jump hosts, from inventory and ssh_config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drctl.errors import InvalidInput
from drctl.ssh import names
from drctl.ssh.known_hosts import lookup_name
from drctl.ssh.names import JumpHost
from drctl.ssh.sshconfig import HostSettings, SshSettings


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

Jumps = tuple[JumpHost, ...]


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
        with _about(name):
            settings = self._settings.of(host.address, host.user, host.port)
        end = self._endpoint(name, settings, host.key)
        seen = _passed(_seen, name)
        if host.jump is None or host.jump == name:
            return (*self._hops(None, settings, end, seen), end)
        if host.jump in self._hosts:
            return (*self.route(host.jump, seen), end)
        with _about(name):
            given = names.jumps(host.jump)
        return (*self._hops(given, settings, end, seen), end)

    def _hops(
        self, given: Jumps | None, settings: HostSettings, end: Endpoint, seen: tuple[str, ...]
    ) -> Route:
        """The jump hosts before `end`: those that are `given`, or else those of ssh_config."""
        if given is None and settings.proxy_command:
            raise InvalidInput(
                f"ssh_config gives {end.label} a ProxyCommand, which drctl does not run: it "
                "cannot check what that command does",
                host=end.label,
                hint="use ProxyJump in ssh_config, or `jump:` in the inventory",
            )
        hops: Route = ()
        for jump in settings.jumps if given is None else given:
            hops = self._hop(jump, hops, end, seen)
        return hops

    def _hop(self, jump: JumpHost, before: Route, end: Endpoint, seen: tuple[str, ...]) -> Route:
        with _about(end.label):
            settings = self._settings.of(jump.address, jump.user, jump.port)
        hop = self._endpoint(str(jump), settings, None)
        if (hop.hostname, hop.port) == (end.hostname, end.port):
            return before  # "Host *" with a ProxyJump also covers the jump host itself
        if not before:  # only the first hop may itself need another one, as with OpenSSH
            before = self._hops(None, settings, hop, _passed(seen, str(jump)))
        return (*before, hop)

    def _endpoint(self, label: str, settings: HostSettings, key: Path | None) -> Endpoint:
        extra = (self._extra_known,) if self._extra_known else ()
        alias = settings.host_key_alias
        return Endpoint(
            label=label,
            hostname=settings.hostname,
            port=settings.port,
            user=settings.user,
            identities=(key.expanduser(),) if key else settings.identities,
            identities_only=settings.identities_only,
            use_agent=settings.use_agent,
            known_hosts=(*extra, *settings.known_hosts),
            known_as=alias or lookup_name(settings.hostname, settings.port),
            lax=settings.lax,
        )


@contextmanager
def _about(label: str) -> Iterator[None]:
    """Says of a mistake whose it is."""
    try:
        yield
    except InvalidInput as e:
        e.host = e.host or label
        raise


def _passed(seen: tuple[str, ...], name: str) -> tuple[str, ...]:
    if name in seen:
        raise InvalidInput(f"jump hosts form a loop: {' -> '.join((*seen, name))}", host=seen[0])
    return (*seen, name)
