"""A program that answers like a kube-apiserver 1.36.3, where none can be built: an imitation.

Its answers were recorded from a real one: storage that is "(re)initializing" just after a CRD was
made (429 with Retry-After), and a Lease of its own in kube-system, made anew at every start.
"""

from __future__ import annotations

import json
import ssl
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from drctl.lab import certs
from drctl.lab.site import Access

_AGAIN_SOON = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "storage is (re)initializing",
    "reason": "TooManyRequests",
    "details": {"retryAfterSeconds": 1},
    "code": 429,
}
_GROUPS = {"coordination.k8s.io": ["leases"], "drill.example": ["widgets"]}


class NewerApiserver(ThreadingHTTPServer):
    """`not_yet` answers to each collection's first requests are "again, soon"."""

    daemon_threads = False  # each has ended, and closed its socket, when the server is closed

    def __init__(self, folder: Path, *, not_yet: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        authority = certs.Authority.new()
        self.access = _access(folder, authority)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.access.cert, self.access.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.not_yet = not_yet
        self.retry_after: str | None = "1"
        self.asked: Counter[str] = Counter()
        self.kept = [_named("user-lease", {})]
        self.restart()

    def restart(self) -> None:
        """The Lease that was is left over, and ends later; the started one makes its own."""
        self.identity = _named(
            f"apiserver-{uuid.uuid4().hex[:26]}",
            {"apiserver.kubernetes.io/identity": "kube-apiserver"},
        )

    def answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        place = path.partition("?")[0]
        self.asked[f"{method} {place}"] += 1
        if self.asked[f"{method} {place}"] <= self.not_yet:
            return 429, _AGAIN_SOON
        if method == "POST":
            return 201, _named("made", {})
        if place == "/readyz":
            return 200, {"ok": True}
        if place == "/apis":
            versions = [{"preferredVersion": {"groupVersion": f"{g}/v1"}} for g in _GROUPS]
            return 200, {"groups": versions}
        if place in ("/api/v1", *(f"/apis/{g}/v1" for g in _GROUPS)):
            names = ["configmaps"] if place == "/api/v1" else _GROUPS[place.split("/")[2]]
            return 200, {"resources": [{"name": name, "verbs": ["list"]} for name in names]}
        if place.endswith("/drill-changing"):
            return 200, _named("drill-changing", {}) | {"data": {"text": "before"}}
        leases = [*self.kept, self.identity] if place.endswith("/leases") else []
        return 200, {"metadata": {"resourceVersion": "7"}, "items": leases}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: NewerApiserver

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._serve()

    def _serve(self) -> None:
        status, body = self.server.answer(self.command, self.path)
        raw = json.dumps(body).encode()
        self.send_response(status)
        if status == 429 and self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def newer_apiserver(folder: Path, *, not_yet: int = 0) -> Iterator[NewerApiserver]:
    """One that serves until the end of the block."""
    with NewerApiserver(folder, not_yet=not_yet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _named(name: str, labels: dict[str, str]) -> dict[str, Any]:
    about = {"name": name, "namespace": "kube-system", "uid": str(uuid.uuid4()), "labels": labels}
    return {"metadata": about}


def _access(folder: Path, authority: certs.Authority) -> Access:
    pair = authority.issue("localhost", addresses=["127.0.0.1"])
    access = Access(folder / "ca.pem", folder / "it.pem", folder / "it-key.pem")
    access.ca.write_bytes(authority.pair.cert)
    access.cert.write_bytes(pair.cert)
    certs.write_private(access.key, pair.key)
    return access
