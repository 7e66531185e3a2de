"""A stand-in for kube-apiserver: HTTPS over a cache of etcd that is filled by list and watch.

    python -m drctl.lab.apiserver_stand_in --listen ADDR:6443 --etcd URL --ca F --cert F --key F

It is no Kubernetes. What it shares with the real one is what a restore has to reckon with: it
serves what it once listed and has watched since, so that after a restore to an older revision it
keeps serving stale values until it is restarted, or until etcd tells it that its revision was
compacted.

    GET /readyz            200 once it has listed and while etcd answers a linearizable read
    GET /get?key=K         the cached value, with the revisions it was seen at
    GET /count?prefix=P    how many cached keys begin with P
    PUT /put?key=K         writes the body through to etcd

All but /readyz want a client certificate of the same CA.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from drctl.lab.gateway import Gateway, GatewayError

PREFIX = b"/registry/"
_RETRY_SECONDS = 0.5
_FOREVER = 10**8  # seconds; a watch is silent for as long as nothing changes

Connect = Callable[[float], Gateway]
Reply = tuple[int, dict[str, Any]]


def log(message: str) -> None:
    """One line on stderr, which says what this is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} kube-apiserver-stand-in: {message}\n")
    sys.stderr.flush()


class Cache:
    """Keys and values as last seen. `revision` is 0 until a list has succeeded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, tuple[bytes, int]] = {}
        self.revision = 0

    def replace(self, values: dict[str, tuple[bytes, int]], revision: int) -> None:
        """Take over the result of a list."""
        with self._lock:
            self._values, self.revision = values, revision

    def apply(self, events: Sequence[dict[str, Any]]) -> None:
        """Take over the events of one watch response."""
        with self._lock:
            for event in events:
                key, value, revision = _decoded(event["kv"])
                if event.get("type") == "DELETE":
                    self._values.pop(key, None)
                else:
                    self._values[key] = (value, revision)
                self.revision = max(self.revision, revision)

    def get(self, key: str) -> tuple[bytes, int] | None:
        """(value, revision it was written at), or None."""
        with self._lock:
            return self._values.get(key)

    def count(self, prefix: str) -> int:
        """How many keys begin with `prefix`."""
        with self._lock:
            return sum(key.startswith(prefix) for key in self._values)


def follow(cache: Cache, connect: Connect) -> None:
    """Keep `cache` filled, for ever: list once, then watch from there, as informers do."""
    while True:
        try:
            if not cache.revision:
                _list(cache, connect)
            _watch(cache, connect)
        except GatewayError as error:
            log(f"etcd: {error}")
        time.sleep(_RETRY_SECONDS)


def _list(cache: Cache, connect: Connect) -> None:
    values: dict[str, tuple[bytes, int]] = {}
    with connect(10.0) as gateway:
        for seen, page in gateway.pages(PREFIX):
            revision = seen
            for key, value, written in map(_decoded, page):
                values[key] = (value, written)
    cache.replace(values, revision)
    log(f"listed {len(values)} keys at revision {revision}")


def _watch(cache: Cache, connect: Connect) -> None:
    with connect(_FOREVER) as gateway:
        for message in gateway.watch(PREFIX, cache.revision + 1):
            if message.get("compact_revision"):
                log(f"revision {cache.revision} is compacted: listing again")
                cache.revision = 0
                return
            cache.apply(message.get("events", []))


def _decoded(kv: dict[str, Any]) -> tuple[str, bytes, int]:
    key = b64decode(kv["key"]).decode()
    return key, b64decode(kv.get("value", "")), int(kv["mod_revision"])


class StandIn:
    """The answers, apart from HTTP."""

    def __init__(self, cache: Cache, connect: Connect) -> None:
        self._cache = cache
        self._connect = connect

    def ready(self) -> Reply:
        """503 until the first list, and while a linearizable read fails."""
        if not self._cache.revision:
            return 503, {"stand-in": "nothing listed yet"}
        try:
            with self._connect(2.0) as gateway:
                revision = gateway.revision()
        except GatewayError as error:
            return 503, {"stand-in": str(error)}
        return 200, {"stand-in": "ok", "revision": revision, "cache": self._cache.revision}

    def get(self, key: str) -> Reply:
        """The cached value, 404 when there is none."""
        found = self._cache.get(key)
        if found is None:
            return 404, {"key": key, "cache": self._cache.revision}
        value, revision = found
        shown = value.decode(errors="replace")
        return 200, {
            "key": key,
            "value": shown,
            "revision": revision,
            "cache": self._cache.revision,
        }

    def count(self, prefix: str) -> Reply:
        """How many cached keys begin with `prefix`."""
        return 200, {"count": self._cache.count(prefix), "cache": self._cache.revision}

    def put(self, key: str, value: bytes) -> Reply:
        """Write through; the cache learns of it by its watch."""
        try:
            with self._connect(5.0) as gateway:
                return 200, {"key": key, "revision": gateway.put_all([(key, value)])}
        except GatewayError as error:
            return 503, {"stand-in": str(error)}


class RequestHandler(BaseHTTPRequestHandler):
    """Routes requests to the stand-in that the server carries."""

    server: Server
    timeout = 30  # seconds; a client that says nothing does not hold a thread for ever

    def do_GET(self) -> None:
        """Answer /readyz, /get and /count."""
        stand_in = self.server.stand_in
        path, query = self._target()
        if path == "/readyz":
            self._answer(*stand_in.ready())
        elif not self._known():
            self._answer(401, {"stand-in": "client certificate required"})
        elif path == "/get":
            self._answer(*stand_in.get(query.get("key", "")))
        elif path == "/count":
            self._answer(*stand_in.count(query.get("prefix", PREFIX.decode())))
        else:
            self._answer(404, {"stand-in": f"no such path {path}"})

    def do_PUT(self) -> None:
        """Answer /put."""
        path, query = self._target()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._known():
            self._answer(401, {"stand-in": "client certificate required"})
        elif path != "/put" or not query.get("key"):
            self._answer(404, {"stand-in": "PUT /put?key=... only"})
        else:
            self._answer(*self.server.stand_in.put(query["key"], body))

    def log_message(self, _format: str, *_args: object) -> None:
        """To the stand-in's log, without the values that a query may hold."""
        log(f"{self.client_address[0]} {self.command} {urlsplit(self.path).path}")

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[-1] for name, values in parse_qs(parts.query).items()}

    def _known(self) -> bool:
        connection = self.connection
        return isinstance(connection, ssl.SSLSocket) and bool(connection.getpeercert())

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """HTTPS; handshakes happen in the threads, so that a silent client blocks nobody."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, stand_in: StandIn) -> None:
        super().__init__(address, RequestHandler)
        self.stand_in = stand_in
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, _request: object, client_address: object) -> None:
        """A client that goes away is worth a line, not a traceback."""
        log(f"request from {client_address} failed: {sys.exception()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="kube-apiserver-stand-in")
    parser.add_argument("--listen", required=True, help="ADDRESS:PORT")
    parser.add_argument("--etcd", required=True, help="URL of the host's own member")
    for name in ("--ca", "--cert", "--key"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument(
        "--user", type=Path, help="JSON, etcd user to authenticate as; may be absent"
    )
    arguments = parser.parse_args(argv)

    def connect(timeout: float) -> Gateway:
        tls = (arguments.ca, arguments.cert, arguments.key)
        return Gateway(arguments.etcd, *tls, timeout=timeout, user_file=arguments.user)

    cache = Cache()
    host, _, port = arguments.listen.rpartition(":")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=arguments.ca)
    tls.load_cert_chain(arguments.cert, arguments.key)
    tls.verify_mode = ssl.CERT_OPTIONAL
    server = Server((host, int(port)), tls, StandIn(cache, connect))
    log(f"listening on {arguments.listen}")
    threading.Thread(target=follow, args=(cache, connect), daemon=True).start()
    server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
