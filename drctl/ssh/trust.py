"""The trust step: see host keys and record them, before the disaster and never during one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import paramiko
from paramiko.pkey import PublicBlob
from paramiko.ssh_exception import IncompatiblePeer

from drctl.errors import HostKeyChanged, HostUnavailable, Refused, Unreachable
from drctl.ssh.known_hosts import KnownHosts, fingerprint
from drctl.ssh.limits import AbandonedError, Countdown, bounded
from drctl.ssh.link import Link, connect, dial, explained, make_transport
from drctl.ssh.offers import clashes
from drctl.ssh.route import Endpoint, HostLike, Route, Router
from drctl.ssh.sshconfig import SshSettings
from drctl.ssh.turns import Gates

_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


@dataclass(frozen=True)
class ScannedKey:
    """A host key as the network shows it now: evidence only once a human has compared it."""

    host: str  # the inventory's name, or a jump host as it is written
    address: str
    port: int
    key_type: str
    fingerprint_sha256: str
    known: Literal["same", "different", "unknown"]  # "different" also for a revoked key
    line: str  # what known_hosts would get


def scan_host_keys(
    hosts: Mapping[str, HostLike],
    *,
    known_hosts: Path | None,
    names: Sequence[str] | None = None,
    timeout: float = 10,
    ssh_config: Path | None = None,
    on_error: Callable[[HostUnavailable], None] | None = None,
) -> list[ScannedKey]:
    """The keys of `names` (default: all hosts) and of the jump hosts on the way, each once.

    Logs in nowhere but on jump hosts, and there only with a known key: behind one that is not
    known yet, nothing can be seen (record its key, then scan again). A host that does not answer
    within `timeout` seconds raises, or goes to `on_error` and the rest are scanned.
    """
    router = Router(hosts, SshSettings(ssh_config), known_hosts)
    seen: set[tuple[str, int, str]] = set()
    keys: list[ScannedKey] = []
    for name in hosts if names is None else names:
        try:
            for key in _scan_route(router.route(name), seen, timeout):
                keys.append(key)
        except HostUnavailable as e:
            e.host = e.host or name
            if on_error is None:
                raise
            on_error(e)
    return keys


def _scan_route(
    route: Route, seen: set[tuple[str, int, str]], timeout: float
) -> Iterator[ScannedKey]:
    for depth, end in enumerate(route):
        place = (end.hostname, end.port, end.known_as)
        if place not in seen:
            found = _scan(route[:depth], end, timeout)
            seen.add(place)
            yield from found


def _scan(hops: Route, end: Endpoint, timeout: float) -> list[ScannedKey]:
    """Every kind of key that one server has, each asked for on a connection of its own."""
    link = Link(hops)
    try:
        if hops:
            dial(link, Countdown(timeout * len(hops)), timeout, Gates())
        known = KnownHosts.load(end.known_hosts)
        found = (_offered(link, end, kind, timeout) for kind in _KINDS)
        return [_scanned(end, known, key) for key in found if key]
    finally:
        link.close()


def _offered(
    link: Link, end: Endpoint, kind: tuple[str, ...], timeout: float
) -> paramiko.PKey | None:
    probe = Link(())
    try:
        return bounded(partial(_ask, link, probe, end, kind, timeout), timeout, probe.abort)
    except AbandonedError:
        raise Unreachable(f"{end} did not answer within {timeout:g} s") from None
    finally:
        probe.close()


def _ask(
    link: Link, probe: Link, end: Endpoint, kind: tuple[str, ...], timeout: float
) -> paramiko.PKey | None:
    with explained(end, probe, timeout):
        sock = connect(end, link.transport, timeout)
        probe.adopt(sock)
        transport = make_transport(sock, timeout)
        transport.get_security_options().key_types = kind
        probe.adopt(transport)
        try:
            transport.start_client(timeout=timeout)
        except IncompatiblePeer:
            if {clash.keyword for clash in clashes(transport)} - {"HostKeyAlgorithms"}:
                raise
            return None  # it has no key of this kind
        return transport.get_remote_server_key()


def _scanned(end: Endpoint, known: KnownHosts, key: paramiko.PKey) -> ScannedKey:
    blob, kind = key.asbytes(), key.get_name()
    verdict = known.check(end.known_as, blob)
    state: Literal["same", "different", "unknown"] = "unknown"
    if verdict.state == "same":
        state = "same"
    elif verdict.state == "revoked" or any(e.key_type == kind for e in verdict.entries):
        state = "different"
    line = f"{end.known_as} {kind} {key.get_base64()}"
    return ScannedKey(end.label, end.hostname, end.port, kind, fingerprint(blob), state, line)


def record_host_keys(path: Path, keys: Iterable[ScannedKey]) -> list[ScannedKey]:
    """Append to the known_hosts file `path` what it lacks of `keys`; returns what was added.

    The file is replaced in one step, 0600. One differing key and nothing is written at all:
    HostKeyChanged. A wrong key is for a human to remove.
    """
    path = path.expanduser().resolve()  # a link stays a link
    wanted = list(keys)
    known = KnownHosts.load([path])
    new = [key for key in wanted if _is_new(key, known, path)]
    if new:
        try:
            old = path.read_bytes() if path.exists() else b""
            _replace(path, old, "".join(f"{key.line}\n" for key in new).encode())
        except OSError as e:
            raise Refused(f"{path} cannot be written: {e.strerror}") from e
    return new


def _is_new(key: ScannedKey, known: KnownHosts, path: Path) -> bool:
    name, kind, encoded = key.line.split()
    blob = PublicBlob.from_string(f"{kind} {encoded}").key_blob
    verdict = known.check(name, blob)
    if verdict.state == "same":
        return False
    others = [e for e in verdict.entries if e.key_type == kind]
    if others or verdict.state == "revoked" or key.known == "different":
        at = others[0].where if others else "another known_hosts file"
        expected = f"{fingerprint(others[0].blob)} ({at})" if others else f"the one in {at}"
        raise HostKeyChanged(
            f"{key.key_type} key of {name} is not the one in known_hosts: expected {expected}, "
            f"got {key.fingerprint_sha256}; nothing was saved",
            host=key.host,
            hint=f"compare on the machine's console, then: ssh-keygen -f '{path}' -R '{name}'",
        )
    return True


def _replace(path: Path, old: bytes, added: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    gap = b"" if not old or old.endswith(b"\n") else b"\n"
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(old + gap + added)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
