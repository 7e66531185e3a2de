"""What each side of a connection offers, where they have nothing in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import paramiko

_NAME = re.compile(r"[!-+\--~]{1,64}")  # of an algorithm, as RFC 4251 has it: no comma, no blank
_MOST = 20  # names that are told
_NO_ALGORITHM = ("kex-strict-", "ext-info-")  # signals in the list of key exchanges

SUGGESTED = {
    "KexAlgorithms": "curve25519-sha256@libssh.org",
    "HostKeyAlgorithms": "ssh-ed25519,rsa-sha2-512",
    "Ciphers": "aes256-gcm@openssh.com",
    "MACs": "hmac-sha2-256-etm@openssh.com",
}
"""By sshd_config's keyword, what drctl and every OpenSSH since 7.2 have."""

_LISTS = {  # what paramiko calls the server's lists, and ours
    "KexAlgorithms": (("kex_algo_list",), "kex"),
    "HostKeyAlgorithms": (("server_key_algo_list",), "key_types"),
    "Ciphers": (("client_encrypt_algo_list", "server_encrypt_algo_list"), "ciphers"),
    "MACs": (("client_mac_algo_list", "server_mac_algo_list"), "digests"),
}


class Transport(paramiko.Transport):
    """Remembers what the other side offered."""

    offered: dict[str, Any] | None = None  # by paramiko's names; None before it said anything

    def _really_parse_kex_init(self, m: Any, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._really_parse_kex_init(m, ignore_first_byte)  # type: ignore[misc]  # not in its stubs
        if not ignore_first_byte:  # or else these are our own
            self.offered = {k: tuple(v) if isinstance(v, list) else v for k, v in parsed.items()}
        return parsed


@dataclass(frozen=True)
class Clash:
    """A list of algorithms in which the two sides have nothing in common."""

    keyword: str  # sshd_config's
    theirs: tuple[str, ...]
    ours: tuple[str, ...]


def clashes(transport: Transport) -> list[Clash]:
    """Where the sides of this connection have nothing in common, as far as it got."""
    found = []
    for keyword, (names, ours_name) in _LISTS.items():
        ours = tuple(getattr(transport.get_security_options(), ours_name))
        for name in names:
            theirs = tuple(map(str, (transport.offered or {}).get(name, ours)))
            if not set(ours) & set(theirs):
                real = [t for t in theirs if not t.startswith(_NO_ALGORITHM)][:_MOST]
                names_told = tuple(t if _NAME.fullmatch(t) else "?" for t in real)
                found.append(Clash(keyword, names_told, ours))
                break
    return found


def told(found: list[Clash]) -> str:
    """What each side offers, list by list."""
    return "; ".join(
        f"{c.keyword}: it offers {', '.join(c.theirs) or 'nothing'}, drctl {', '.join(c.ours)}"
        for c in found
    )


def mend(found: list[Clash]) -> str:
    """What to add to the server's configuration."""
    return " and ".join(f"{SUGGESTED[c.keyword]} to {c.keyword}" for c in found)
