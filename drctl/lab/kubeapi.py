"""A small client of real Kubernetes apiservers, with the standard library and a client certificate.

The lab's hand and witness in front of etcd: it goes neither through the product nor past the
apiserver, so that what it writes and reads is what Kubernetes would.
"""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from drctl.errors import StepFailed
from drctl.lab.again import patiently
from drctl.lab.site import Access

Object = dict[str, Any]
CONFLICT, NOT_FOUND = 409, 404


class KubeError(StepFailed):
    """An apiserver did not answer (`status` 0), or answered with an error."""

    code = "lab-kubernetes"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Answer:
    status: int
    retry_after: str | None
    body: bytes


class KubeApi:
    """One connection to one apiserver. Not for use by several threads. A request that is answered
    with "again, soon" is repeated for up to `patience` seconds."""

    def __init__(
        self, url: str, access: Access, *, timeout: float = 15.0, patience: float = 30.0
    ) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=access.ca)
        context.load_cert_chain(access.cert, access.key)
        self.url = url
        self._patience = patience
        self._connection = http.client.HTTPSConnection(
            str(parts.hostname), parts.port, context=context, timeout=timeout
        )

    def __enter__(self) -> KubeApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str) -> Object:
        """What is at `path`; KubeError with `status` 404 where there is nothing."""
        return self._call("GET", path)

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection `path`; KubeError 409 where it exists."""
        return self._call("POST", path, body)

    def replace(self, path: str, body: Object) -> Object:
        """Put `body` at `path`."""
        return self._call("PUT", path, body)

    def delete(self, path: str) -> Object:
        """Delete what is at `path`."""
        return self._call("DELETE", path)

    def ensure(self, collection: str, body: Object) -> Object:
        """Create the object unless one of its name is there already; returns what is there."""
        try:
            return self.create(collection, body)
        except KubeError as error:
            if error.status != CONFLICT:
                raise
            return self.get(f"{collection}/{body['metadata']['name']}")

    def items(self, path: str, *, page: int = 500) -> list[Object]:
        """Every object of the collection `path`, as of one revision."""
        found: list[Object] = []
        token = ""
        while True:
            onward = f"&continue={token}" if token else ""
            answer = self.get(f"{path}?limit={page}{onward}")
            found += answer.get("items") or []
            token = answer["metadata"].get("continue", "")
            if not token:
                return found

    def text(self, path: str) -> str:
        """The body of a 200 answer that is no JSON, as /readyz gives it."""
        answer = self._exchange("GET", path, None)
        if answer.status != 200:
            said = f"{self.url}{path} answered {answer.status}: {answer.body[:300]!r}"
            raise KubeError(said, answer.status)
        return answer.body.decode(errors="replace")

    def _call(self, method: str, path: str, body: Object | None = None) -> Object:
        answer = self._exchange(method, path, body)
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = {"message": answer.body[:300].decode(errors="replace")}
        if not 200 <= answer.status < 300 or not isinstance(found, dict):
            said = found.get("message") if isinstance(found, dict) else found
            raise KubeError(
                f"{method} {self.url}{path} answered {answer.status}: {said}", answer.status
            )
        return found

    def _exchange(self, method: str, path: str, body: Object | None) -> _Answer:
        return patiently(lambda: self._once(method, path, body), self._patience)

    def _once(self, method: str, path: str, body: Object | None) -> _Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            content = json.dumps(body) if body is not None else None
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            told = response.getheader("Retry-After")
            return _Answer(response.status, told, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise KubeError(f"{method} {self.url}{path} was not answered: {error}") from error
