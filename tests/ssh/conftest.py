"""Fixtures: keys, a server of each kind, and a transport that trusts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from drctl.ssh import SshTransport, names
from tests.ssh.nodes import (
    HAVE_SSHD,
    AsyncsshNode,
    Host,
    Node,
    Relay,
    SshdNode,
    fake_sudo,
    make_key,
    public,
    running,
)

KINDS = [
    "asyncssh",
    pytest.param(
        "sshd", marks=pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine")
    ),
]


@pytest.fixture(autouse=True)
def _no_ssh_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setattr(names, "home", lambda: tmp_path / "home")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@dataclass(frozen=True)
class Keys:
    client: Path
    host: Path
    other: Path
    rsa: Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    kinds = {"client": "ed25519", "host": "ed25519", "other": "ed25519", "rsa": "rsa"}
    return Keys(**{name: make_key(folder / name, kind) for name, kind in kinds.items()})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Site:
    """Servers, their known_hosts file and transports to them; all end with the test."""

    def __init__(self, folder: Path, kind: str, keys: Keys, stack: ExitStack) -> None:
        self.folder = folder
        self.kind = kind
        self.keys = keys
        self.known_hosts = folder / "known_hosts"
        self.ssh_config = folder / "ssh_config"
        self.ssh_config.write_text("")
        self.sudo = fake_sudo(folder / "bin")
        self._stack = stack

    def node(self, *host_keys: Path) -> Node:
        make = AsyncsshNode if self.kind == "asyncssh" else SshdNode
        path = f"{self.sudo}:{os.environ['PATH']}"
        authorized = Path(f"{self.keys.client}.pub")
        return self._stack.enter_context(
            running(make(path, authorized, *(host_keys or (self.keys.host,))))
        )

    def enter(self, running: AbstractContextManager[object]) -> None:
        self._stack.enter_context(running)

    def relay(self, node: Node) -> Relay:
        relay = Relay(node.port)
        self._stack.callback(relay.stop)
        return relay

    def host(self, name: str, node: Node | Relay, **more: object) -> Host:
        return replace(Host(name, port=node.port, key=self.keys.client), **more)  # type: ignore[arg-type]  # a test's shorthand

    def trust(self, node: Node | Relay, key: Path | None = None) -> None:
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{node.port} {public(key or self.keys.host)}\n")

    def transport(self, *hosts: Host, stall: float = 60, connect: float = 10) -> SshTransport:
        transport = SshTransport(
            {h.name: h for h in hosts},
            known_hosts=self.known_hosts,
            connect_timeout=connect,
            stall=stall,
            ssh_config=self.ssh_config,
        )
        self._stack.callback(transport.close)
        return transport


@pytest.fixture
def site(tmp_path: Path, kind: str, keys: Keys) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, kind, keys, stack)


@pytest.fixture
def one(site: Site) -> SshTransport:
    """A transport to one trusted host, `n1`."""
    node = site.node()
    site.trust(node)
    return site.transport(site.host("n1", node))
