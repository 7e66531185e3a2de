"""Ask a URL whether it is ready, where neither curl nor wget can be counted on.

    python -m drctl.lab.probe https://ADDRESS:6443/readyz --cacert FILE [--cert FILE --key FILE]

Status 0 for an answer of 200, 1 for anything else.
"""

from __future__ import annotations

import argparse
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

from drctl.lab.again import SOON, patiently


@dataclass(frozen=True)
class _Answer:
    status: int
    retry_after: str | None
    body: bytes
    refused: urllib.error.HTTPError | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the answer's body; return the exit status."""
    parser = argparse.ArgumentParser(prog="drctl.lab.probe")
    parser.add_argument("url")
    parser.add_argument("--cacert", required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds")
    arguments = parser.parse_args(argv)
    try:
        body = fetch(
            arguments.url,
            arguments.cacert,
            cert=arguments.cert,
            key=arguments.key,
            timeout=arguments.timeout,
        )
    except OSError as error:
        sys.stderr.write(f"{arguments.url}: {error}\n")
        return 1
    sys.stdout.write(body.decode(errors="replace").rstrip("\n") + "\n")
    return 0


def fetch(
    url: str,
    cacert: str,
    *,
    cert: str | None = None,
    key: str | None = None,
    timeout: float = 5.0,
    method: str = "GET",
    body: bytes | None = None,
) -> bytes:
    """The body of a 200 answer; OSError (urllib's errors are some) for everything else. Both the
    answer and the patience with "again, soon" end after `timeout` seconds."""
    context = ssl.create_default_context(cafile=cacert)
    if cert:
        context.load_cert_chain(cert, key)
    # No proxy: the address is this machine's own, whatever the environment says.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    request = urllib.request.Request(url, data=body, method=method)

    def ask() -> _Answer:
        try:
            with opener.open(request, timeout=timeout) as response:
                return _Answer(response.status, None, response.read())
        except urllib.error.HTTPError as error:
            if error.code not in SOON:
                raise
            error.close()
            return _Answer(error.code, error.headers.get("Retry-After"), b"", error)

    answer = patiently(ask, timeout)
    if answer.refused:
        raise answer.refused
    return answer.body


if __name__ == "__main__":
    raise SystemExit(main())
