"""Who the members of a restored cluster will be, computed before anything is started.

Source: etcd `server/etcdserver/api/membership/member.go` (`computeMemberId`, no time when a
cluster is bootstrapped or restored) and `cluster.go` (`genID`). Checked against a real restore in
tests/etcd/test_identity.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """The ids that a cluster restored with one token will have."""

    cluster_id: int
    member_ids: Mapping[str, int]  # by member name

    @property
    def cluster_hex(self) -> str:
        return to_hex(self.cluster_id)


def member_id(peer_urls: Sequence[str], token: str) -> int:
    """First 8 bytes of sha1(sorted peer URLs joined + token)."""
    seed = "".join(sorted(peer_urls)) + token
    return _first_eight(seed.encode())


def cluster_id(member_ids: Iterable[int]) -> int:
    """First 8 bytes of sha1(the member ids, ascending, 8 bytes each, big-endian)."""
    return _first_eight(b"".join(one.to_bytes(8, "big") for one in sorted(member_ids)))


def predict(members: Mapping[str, Sequence[str]], token: str) -> Identity:
    """The identity of the cluster of {member name: peer URLs} restored with `token`."""
    ids = {name: member_id(urls, token) for name, urls in members.items()}
    return Identity(cluster_id(ids.values()), ids)


def to_hex(number: int) -> str:
    """As etcdctl and etcd's log print an id: lower case, no leading zeros."""
    return f"{number:x}"


def from_hex(text: str) -> int:
    """The id that `text` spells. Raises ValueError where it is none."""
    number = int(text.strip(), 16)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{text!r} is not a 64-bit id")
    return number


def _first_eight(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha1(seed, usedforsecurity=False).digest()[:8], "big")
