"""Public-key authentication, in OpenSSH's order: the configured keys (held by the agent or read
from their files), then the agent's other keys. No passwords, no prompts, no agent forwarding.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey, SourceResult
from paramiko.config import SSHConfig
from paramiko.pkey import PublicBlob
from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, SSHException

from drctl.errors import AuthRefused, Unreachable
from drctl.ssh.route import Endpoint


class PublicKeys(AuthStrategy):
    """Offers an endpoint's keys one after the other and remembers what became of each."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(ssh_config=SSHConfig())
        self._end = endpoint
        self._notes: list[str] = []
        self._refused = False  # the server said no at least once

    def authenticate(self, transport: paramiko.Transport) -> list[SourceResult]:
        """Log in, or raise AuthRefused with what was tried, or Unreachable if the line broke."""
        for source in self.get_sources():
            if self._accepted(source, transport):
                return []
            if not transport.is_active():
                break
        tried = "; ".join(self._notes) or "no key to offer and no agent"
        if not transport.is_active() and not self._refused:
            raise Unreachable(f"{self._end} closed the connection during login ({tried})")
        raise AuthRefused(
            f"{self._end} refused login as {self._end.user}: {tried}",
            hint=f"try: ssh -v -p {self._end.port} {self._end.user}@{self._end.hostname}",
        )

    def _accepted(self, source: AuthSource, transport: paramiko.Transport) -> bool:
        try:
            wanted = source.authenticate(transport)
        except BadAuthenticationType as e:
            self._refused = True
            self._notes.append(f"public keys refused; accepted: {', '.join(e.allowed_types)}")
        except AuthenticationException as e:
            # Paramiko has the same exception for a timeout and for a connection that broke.
            refused = "timeout" not in str(e).lower() and transport.is_active()
            self._refused = self._refused or refused
            self._notes.append(f"{source}: refused" if refused else f"{source}: {e}")
        except (SSHException, EOFError, OSError, ValueError) as e:
            self._notes.append(f"{source}: {e or type(e).__name__}")
        else:
            if not wanted:
                return True
            self._refused = True
            self._notes.append(f"{source}: not enough; also required: {', '.join(wanted)}")
        return False

    def get_sources(self) -> Iterator[AuthSource]:
        """The keys to offer. Agent keys come once."""
        agent = self._agent()
        try:
            held = {key.asbytes(): key for key in (agent.get_keys() if agent else ())}
            for path in self._end.identities:
                blob = _public_blob(path)
                in_agent = held.pop(blob, None) if blob else None
                key = in_agent or self._load(path)
                if key:
                    yield _Key(self._end.user, key, str(path))
            if not self._end.identities_only:
                for other in held.values():
                    words = f"agent key {other.comment or other.get_name()}"
                    yield _Key(self._end.user, other, words)
        finally:
            if agent:
                agent.close()

    def _agent(self) -> paramiko.Agent | None:
        try:
            return paramiko.Agent() if self._end.use_agent else None
        except (OSError, SSHException) as e:
            self._notes.append(f"ssh-agent: {e}")
            return None

    def _load(self, path: Path) -> paramiko.PKey | None:
        try:
            return paramiko.PKey.from_path(path)
        except FileNotFoundError:
            self._notes.append(f"{path}: no such file")
        except (OSError, SSHException) as e:
            self._notes.append(f"{path}: {e}")
        except Exception as e:  # cryptography's loaders raise TypeError, ValueError and their own
            locked = "password" in str(e).lower() or "encrypted" in str(e).lower()
            why = "has a passphrase: run ssh-add" if locked else "is not a private key"
            self._notes.append(f"{path}: {why}")
        return None


class _Key(InMemoryPrivateKey):
    """A key with the words for it that an error message needs."""

    def __init__(self, username: str, pkey: paramiko.PKey, words: str) -> None:
        super().__init__(username, pkey)
        self._words = words

    def __repr__(self) -> str:
        return self._words


def _public_blob(path: Path) -> bytes | None:
    """The public half that stands beside a private key (or is the file itself)."""
    public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        return bytes(PublicBlob.from_file(str(public)).key_blob)
    except (OSError, ValueError, SSHException):
        return None
