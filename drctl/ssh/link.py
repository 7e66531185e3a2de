"""An open SSH connection to a host, through its jump hosts, with every host key checked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import fabric
import paramiko
from paramiko.config import SSHConfig
from paramiko.ssh_exception import ChannelException, SSHException

from drctl.errors import DrctlError, HostKeyChanged, Unreachable
from drctl.ssh import offers
from drctl.ssh.auth import PublicKeys
from drctl.ssh.known_hosts import HostKeyLine, KnownHosts, fingerprint
from drctl.ssh.limits import AbandonedError, Countdown, bounded
from drctl.ssh.offers import Transport
from drctl.ssh.route import Endpoint, Route
from drctl.ssh.turns import Gates, Turns

KEEPALIVE = 15  # seconds; keeps NAT entries alive, detects nothing (a frozen peer still ACKs)

AGAIN = 30.0  # seconds in which a login is tried again that was dropped before it began
PAUSES = (0.2, 2.0)  # seconds before the next try, the first and the longest

# AES-GCM first: it needs no separate MAC, which takes a third of paramiko's CPU time per byte.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)


class Socket(Protocol):
    """What paramiko needs below a connection: a socket, or a tunnel through the jump host."""

    def close(self) -> None: ...


class Tunnel:
    """A channel through the jump host, as a socket. Closing it never raises: paramiko closes it
    from a thread of its own, where an error of a jump host that is gone would reach stderr."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.send, self.recv = channel.send, channel.recv
        self.settimeout, self.getpeername = channel.settimeout, channel.getpeername

    @property
    def _closed(self) -> bool:  # the name that paramiko looks for
        return self._channel.closed

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError, SSHException):
            self._channel.close()


class Link:
    """One host's connection. `abort` may be called from any thread, at any time, repeatedly."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.users = 0  # calls under way; owned by the pool
        self.turns = Turns()
        self.dropped = False  # whether the last try was cut off before the server said what it is
        self._lock = threading.Lock()
        self._aborted = False
        self._sockets: list[Any] = []  # from the first hop on
        self._transports: list[Transport] = []
        self.transport: paramiko.Transport | None = None

    @property
    def usable(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self.transport is not None and self.transport.is_active() and not self._aborted

    def adopt(self, resource: Any) -> None:
        """Own a socket or transport; close it at once if the link was aborted meanwhile."""
        owned = self._transports if isinstance(resource, Transport) else self._sockets
        with self._lock:
            owned.append(resource)
            aborted = self._aborted
        if aborted:
            self.abort()
            raise SSHException("given up")

    @property
    def held(self) -> tuple[int, int]:
        """How many sockets and transports it owns by now."""
        return len(self._sockets), len(self._transports)

    def newest(self, held: tuple[int, int]) -> Transport | None:
        """The transport that came after it `held` so much, if any did."""
        return self._transports[-1] if len(self._transports) > held[1] else None

    def abort(self) -> None:
        """Break the connection now. Never blocks on the peer: raw sockets go first."""
        with self._lock:
            self._aborted = True
        self.let_go((0, 0))

    def let_go(self, held: tuple[int, int]) -> None:
        """Close what came after it `held` so much: a login that is to be tried again."""
        with self._lock:
            sockets, transports = self._sockets[held[0] :], self._transports[held[1] :]
            if not self._aborted:
                del self._sockets[held[0] :], self._transports[held[1] :]
        for sock in sockets:
            if isinstance(sock, socket.socket):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for transport in transports:
            transport.packetizer.complete_handshake()  # ends paramiko's handshake timer thread
            transport.close()
        for sock in sockets:
            with contextlib.suppress(OSError, EOFError, SSHException):
                sock.close()

    def close(self) -> None:
        """Break the connection and wait for its threads."""
        self.abort()
        for transport in self._transports:
            if transport.is_alive():
                transport.join(2.0)


def dial(link: Link, countdown: Countdown, connect_timeout: float, gates: Gates) -> None:
    """Open `link` hop by hop within the countdown, `connect_timeout` seconds for each hop.

    Raises Unreachable, AuthRefused or HostKeyChanged; the link is aborted then.
    """
    via: Transport | None = None
    try:
        for passed, end in enumerate(link.route, start=1):
            with gates.at(link.route[:passed]).turn(countdown):
                via = _hop(link, end, via, countdown, connect_timeout)
        link.transport = via
    except BaseException:
        link.close()
        raise


def _hop(
    link: Link, end: Endpoint, via: Transport | None, countdown: Countdown, timeout: float
) -> Transport:
    """Log in to `end`, again and again for a while where that is dropped before it begins."""
    again, (pause, longest) = Countdown(countdown.left(AGAIN)), PAUSES
    while True:
        held, limit, link.dropped = link.held, countdown.left(timeout), False
        try:
            return bounded(partial(_try, link, end, via, timeout), limit, link.abort)
        except AbandonedError:
            raise Unreachable(f"no connection within {limit:.3g} s") from None
        except Unreachable:
            if not link.dropped or again.left() <= pause:
                raise
        link.let_go(held)
        time.sleep(pause)
        pause = min(2 * pause, longest)


def _try(link: Link, end: Endpoint, via: Transport | None, timeout: float) -> Transport:
    with explained(end, link, timeout):
        sock = connect(end, via, timeout)
        link.adopt(sock)
        return _login(link, end, sock, timeout)


def connect(end: Endpoint, via: paramiko.Transport | None, timeout: float) -> Socket:
    """A TCP connection to the endpoint, or one through the jump host `via`."""
    if via is not None:
        target = (end.hostname, end.port)
        return Tunnel(via.open_channel("direct-tcpip", target, ("", 0), timeout=timeout))
    countdown = Countdown(timeout)
    found = socket.getaddrinfo(end.hostname, end.port, type=socket.SOCK_STREAM)
    for left, (family, kind, proto, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        sock = socket.socket(family, kind, proto)
        try:
            # A silent address must leave time for the next one (IPv6 that goes nowhere).
            sock.settimeout(max(countdown.left() / left, 0.1))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as e:
            sock.close()
            if left == 1 or not isinstance(e, OSError):
                raise
        else:
            return sock
    raise OSError("the name has no address")


def _login(link: Link, end: Endpoint, sock: Socket, timeout: float) -> Transport:
    known = KnownHosts.load(end.known_hosts)

    def factory(sock: Any, disabled_algorithms: Any = None) -> Transport:
        transport = make_transport(sock, timeout, disabled_algorithms)
        options = transport.get_security_options()
        options.key_types = known.preferred(end.known_as, tuple(options.key_types))
        link.adopt(transport)
        return transport

    # lazy and an empty SSHConfig: nothing of /etc/fabric.yaml or ssh_config gets in unseen.
    auth = {"authentication": {"strategy_class": lambda **_: PublicKeys(end)}}
    connection = fabric.Connection(
        end.hostname,
        user=end.user,
        port=end.port,
        config=fabric.Config(ssh_config=SSHConfig(), lazy=True, overrides=auth),
        gateway=False,
        forward_agent=False,
        connect_kwargs={
            "sock": sock,
            "transport_factory": factory,
            "timeout": timeout,
            "banner_timeout": timeout,
            "auth_timeout": timeout,
        },
    )
    connection.client.set_missing_host_key_policy(StrictPolicy(end, known))
    connection.open()
    transport: Transport = connection.transport
    transport.set_keepalive(KEEPALIVE)
    return transport


def make_transport(sock: Any, timeout: float, disabled_algorithms: Any = None) -> Transport:
    """A paramiko transport with drctl's ciphers, not yet started."""
    transport = Transport(sock, disabled_algorithms=disabled_algorithms)
    transport.banner_timeout = transport.handshake_timeout = timeout
    options = transport.get_security_options()
    options.ciphers, options.digests = CIPHERS, MACS
    return transport


class StrictPolicy(paramiko.MissingHostKeyPolicy):
    """Accepts a key that known_hosts has for the host, and no other.

    The client's own key stores stay empty, so paramiko asks here for every key.
    """

    def __init__(self, end: Endpoint, known: KnownHosts) -> None:
        self._end = end
        self._known = known

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        """Return for a known key, raise HostKeyChanged for all others."""
        del client, hostname  # the endpoint knows better: HostKeyAlias, and the hop it stands for
        verdict = self._known.check(self._end.known_as, key.asbytes())
        if verdict.state == "same":
            return
        got = f"{key.get_name()} {fingerprint(key.asbytes())}"
        if verdict.state == "unknown":
            raise self._unknown(got)
        if verdict.state == "revoked":
            raise HostKeyChanged(
                f"host key of {self._end} is marked @revoked ({verdict.entries[0].where}): {got}",
                hint="have that machine checked before you log in",
            )
        raise self._changed(got, key.get_name(), verdict.entries)

    def _unknown(self, got: str) -> HostKeyChanged:
        why = f"host key of {self._end} is not in known_hosts (got {got})"
        if self._known.has_authority(self._end.known_as):
            why += "; drctl does not support the @cert-authority line that covers it"
        if self._end.lax:
            why += f"; drctl ignores StrictHostKeyChecking {self._end.lax} in ssh_config"
        return HostKeyChanged(why, hint="compare the fingerprint, then: drctl trust")

    def _changed(self, got: str, kind: str, entries: tuple[HostKeyLine, ...]) -> HostKeyChanged:
        alike = [e for e in entries if e.key_type == kind] or list(entries)
        expected = ", ".join(f"{e.key_type} {fingerprint(e.blob)} ({e.where})" for e in alike)
        return HostKeyChanged(
            f"host key of {self._end} is not the one in known_hosts: expected {expected}, got "
            f"{got}",
            hint=(
                "if the machine was reinstalled, compare the fingerprint on its console, then: "
                f"ssh-keygen -f '{alike[0].file}' -R '{self._end.known_as}' and drctl trust"
            ),
        )


@contextlib.contextmanager
def explained(end: Endpoint, link: Link, timeout: float) -> Iterator[None]:
    """Turn whatever goes wrong while `end` is being connected into one of drctl's errors."""
    held, began = link.held, time.monotonic()
    try:
        yield
    except DrctlError:
        raise
    except socket.gaierror as e:
        hint = "check `address` in the inventory, or HostName in ssh_config"
        raise Unreachable(f"{end.hostname} does not resolve: {e.strerror}", hint=hint) from e
    except ChannelException as e:
        raise Unreachable(f"the jump host cannot reach {end}: {e.text}") from e
    except TimeoutError as e:
        raise Unreachable(f"{end} did not answer in time") from e
    except (OSError, EOFError, SSHException) as e:
        met = link.newest(held)
        if met and (clash := offers.clashes(met)):
            raise Unreachable(
                f"{end} and drctl have no algorithm in common; {offers.told(clash)}",
                hint=f"ssh gets in because OpenSSH has algorithms that drctl's SSH library "
                f"(paramiko) has not: in its sshd_config add {offers.mend(clash)}",
            ) from e
        why = getattr(e, "strerror", None) or str(e) or "it closed the connection"
        # A server that said nothing until the time was up is another case.
        if met and met.offered is None and time.monotonic() - began < 0.9 * timeout:
            link.dropped = True
            raise Unreachable(
                f"{end} closes connections before SSH begins ({why})",
                hint="too many logins at once? raise MaxStartups in its sshd_config; or look at "
                "its firewall, fail2ban and hosts.deny",
            ) from e
        raise Unreachable(f"no SSH connection to {end}: {why}") from e
