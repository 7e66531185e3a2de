"""What a lab's cluster holds, and how a drill writes and reads it from outside the product."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from drctl.lab import probe
from drctl.lab.gateway import Gateway, KeyValue
from drctl.lab.layout import APISERVER_PORT, LabHost

PREFIX = "/registry/"
NAMESPACE_KEY = "/registry/namespaces/kube-system"
ITEMS = "/registry/configmaps/lab/"


def gateway(host: LabHost, *, timeout: float = 10.0) -> Gateway:
    """A connection to the host's own member, with the host's certificates."""
    return Gateway(host.client_url, host.ca, host.cert, host.key, timeout=timeout)


def fill(target: Gateway, keys: int, value_size: int) -> int:
    """Write the namespace and `keys` items; returns the revision reached."""
    target.put_all([(NAMESPACE_KEY, namespace(str(uuid.uuid4())))])
    return write_keys(target, "item", keys, value_size) or target.revision()


def write_keys(target: Gateway, name: str, count: int, value_size: int, under: str = ITEMS) -> int:
    """Write `count` items with random values of `value_size` bytes; returns the last revision."""
    return target.put_all(items(name, count, value_size, under))


def items(name: str, count: int, value_size: int, under: str = ITEMS) -> Iterator[KeyValue]:
    """Pairs "/registry/configmaps/lab/NAME-000001" and so on; values do not compress well."""
    for number in range(1, count + 1):
        value = base64.b64encode(os.urandom(value_size * 3 // 4 + 3))[:value_size]
        yield f"{under}{name}-{number:06d}", value


def namespace(uid: str) -> bytes:
    """An object like the kube-system namespace: its uid tells one cluster from another."""
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "kube-system", "uid": uid},
    }
    return json.dumps(body).encode()


def digest(content: Mapping[str, bytes]) -> str:
    """One sha256 over all keys and values, whatever their order."""
    total = hashlib.sha256()
    for key in sorted(content):
        for part in (key.encode(), content[key]):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def stand_in_ready(host: LabHost) -> bool:
    """Whether the host's apiserver stand-in says it is ready."""
    try:
        ask_stand_in(host, "/readyz")
    except OSError:
        return False
    return True


def stand_in_path(key: str) -> str:
    """Where a stand-in serves `key`."""
    return f"/get?key={quote(key, safe='')}"


def stand_in_value(host: LabHost, key: str) -> bytes | None:
    """What the host's stand-in serves for `key`, None when it answers that there is none."""
    try:
        answer = ask_stand_in(host, stand_in_path(key))
    except OSError as error:
        if getattr(error, "code", None) == 404:
            return None
        raise
    return str(answer["value"]).encode()


def ask_stand_in(host: LabHost, path: str) -> dict[str, Any]:
    """GET `path` from the host's stand-in; OSError unless it answers 200."""
    url = f"https://{host.address}:{APISERVER_PORT}{path}"
    body = probe.fetch(url, str(host.ca), cert=str(host.cert), key=str(host.key))
    answer: dict[str, Any] = json.loads(body)
    return answer
