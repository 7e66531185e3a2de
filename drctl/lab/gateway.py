"""A small client of etcd's v3 JSON gateway, with the standard library and client certificates.

The lab's witness: it reads and writes from outside the product, so that a drill never proves the
product's work with the product's own code.
"""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drctl.errors import StepFailed

KeyValue = tuple[str, bytes]
PAGE = 1000  # keys a page
_WHO_IS_IT = (400, 401, 403)  # etcd's answers to nobody, and to an old token
_BATCH_KEYS = 128  # etcd's default --max-txn-ops
_BATCH_BYTES = 1_000_000  # below etcd's default --max-request-bytes


class GatewayError(StepFailed):
    """etcd did not answer, or answered with an error."""

    code = "lab-etcd"


class Gateway:
    """One connection to one member. Not for use by several threads."""

    def __init__(
        self,
        url: str,
        ca: Path,
        cert: Path,
        key: Path,
        *,
        timeout: float = 10.0,
        user_file: Path | None = None,
    ) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(cert, key)
        self.url = url
        self._token = ""
        self._user: dict[str, str] = {}
        if user_file and user_file.is_file():
            self._user = json.loads(user_file.read_text())
            _load_pair(context, self._user)
        self._connection = http.client.HTTPSConnection(
            str(parts.hostname), parts.port, context=context, timeout=timeout
        )

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST `body` as JSON; GatewayError unless etcd answers 200 with an object."""
        try:
            response = self._post(path, body)
            answer = json.loads(response.read())
            if response.status in _WHO_IS_IT and self._log_in():
                response = self._post(path, body)
                answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise GatewayError(f"{self.url}{path} did not answer: {error}") from error
        if response.status != 200 or not isinstance(answer, dict):
            raise GatewayError(f"{self.url}{path} answered {response.status}: {answer}")
        return answer

    def watch(self, prefix: bytes, revision: int) -> Iterator[dict[str, Any]]:
        """The watch responses from `revision` on, for as long as the connection lasts."""
        create = {"key": encode(prefix), "range_end": encode(after(prefix))}
        body = {"create_request": create | {"start_revision": revision}}
        self._log_in()
        try:
            response = self._post("/v3/watch", body)
            while line := response.readline():
                message = json.loads(line)
                if "result" not in message:
                    raise GatewayError(f"watch on {self.url} ended: {message}")
                yield message["result"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise GatewayError(f"watch on {self.url} broke: {error}") from error
        finally:
            self.close()

    def put_all(self, pairs: Iterable[KeyValue]) -> int:
        """Write the pairs in transactions as large as etcd takes; returns the last revision."""
        revision = 0
        for batch in _batches(pairs):
            puts = [{"request_put": {"key": encode(k), "value": encode(v)}} for k, v in batch]
            answer = self.call("/v3/kv/txn", {"success": puts})
            revision = int(answer["header"]["revision"])
        return revision

    def delete_all(self, prefix: str) -> int:
        """Delete every key under `prefix`; returns how many there were."""
        body = {"key": encode(prefix), "range_end": encode(after(prefix.encode()))}
        return int(self.call("/v3/kv/deleterange", body).get("deleted", 0))

    def pages(self, prefix: bytes, revision: int = 0) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Every key under `prefix` as of one revision (0: now): (it, up to PAGE raw kvs)."""
        start, end = prefix, after(prefix)
        while True:
            body = {"key": encode(start), "range_end": encode(end), "limit": PAGE}
            answer = self.call("/v3/kv/range", body | ({"revision": revision} if revision else {}))
            revision = revision or int(answer["header"]["revision"])
            page = answer.get("kvs", [])
            yield revision, page
            if not answer.get("more"):
                return
            start = b64decode(page[-1]["key"]) + b"\0"

    def read_all(self, prefix: str, revision: int = 0) -> dict[str, bytes]:
        """Keys and values under `prefix`, all as of one revision (0: now)."""
        return {
            b64decode(kv["key"]).decode(): b64decode(kv.get("value", ""))
            for _, page in self.pages(prefix.encode(), revision)
            for kv in page
        }

    def revision(self) -> int:
        """The store's revision by a linearizable read: an answer proves a quorum."""
        answer = self.call("/v3/kv/range", {"key": encode(b"\0"), "count_only": True})
        return int(answer["header"]["revision"])

    def status(self) -> dict[str, Any]:
        """The member's own status, as the maintenance API gives it."""
        return self.call("/v3/maintenance/status", {})

    def _log_in(self) -> bool:
        """Get a token, where a user file says who to be and etcd wants to know."""
        if not self._user:
            return False
        self._token = ""
        who = {name: self._user[name] for name in ("name", "password")}
        response = self._post("/v3/auth/authenticate", who)
        answer = json.loads(response.read())
        self._token = answer.get("token", "") if response.status == 200 else ""
        return bool(self._token)

    def _post(self, path: str, body: dict[str, Any]) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        self._connection.request("POST", path, json.dumps(body), headers)
        return self._connection.getresponse()


def _load_pair(context: ssl.SSLContext, user: dict[str, str]) -> None:
    """Take the user's own certificate: etcd refuses JSON from whoever's certificate has a name."""
    with tempfile.NamedTemporaryFile() as file:  # 0600; ssl reads files only
        file.write((user["cert"] + user["key"]).encode())
        file.flush()
        context.load_cert_chain(file.name)


def encode(raw: bytes | str) -> str:
    """Base64, as the gateway wants keys and values."""
    return b64encode(raw.encode() if isinstance(raw, str) else raw).decode()


def after(prefix: bytes) -> bytes:
    """The range end that takes in all keys with `prefix` (which does not end in 0xff)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _batches(pairs: Iterable[KeyValue]) -> Iterator[list[KeyValue]]:
    batch: list[KeyValue] = []
    size = 0
    for key, value in pairs:
        if batch and (len(batch) == _BATCH_KEYS or size + len(value) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((key, value))
        size += len(key) + len(value)
    if batch:
        yield batch
