"""What the members of a cluster have to reach: the names in their URLs, and each other's doors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from drctl.inventory.fields import is_address
from drctl.inventory.resolved import Member


def reach(members: Iterable[Member]) -> dict[str, Any]:
    """Plain data for templates and judges. `names`: {a name in a URL: the hosts whose own client
    URL it is in, and all in whose peer URLs it is}; `peers`: {label: the door that a peer URL
    names}, with its host, how it is called there, where that is, and whether it speaks TLS;
    `clients`: {host: how its client URLs call it}."""
    everybody = list(members)
    names: dict[str, dict[str, list[str]]] = {}
    peers = {}
    clients = {m.host: [_called(url) for url in m.client_urls] for m in everybody}
    for member in everybody:
        for number, url in enumerate(member.peer_urls):
            peers[f"{member.host}.{number}"] = {
                "host": member.host,
                "called": _called(url),
                "at": urlsplit(url).netloc,
                "tls": url.startswith("https:"),
            }
        for use, urls in (("peer", member.peer_urls), ("client", member.client_urls)):
            for name in map(_called, urls):
                if not is_address(name):
                    names.setdefault(name, {"peer": [], "client": []})[use].append(member.host)
    return {"names": names, "peers": peers, "clients": clients}


def _called(url: str) -> str:
    return urlsplit(url).hostname or ""
