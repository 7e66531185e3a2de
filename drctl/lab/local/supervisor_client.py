"""start, stop or find a unit of a lab's host: supervisorctl's three verbs, without its weight.

    python -I -S .../drctl/lab/local/supervisor_client.py SOCKET start|stop|pid UNIT

A restore asks for these many times on every host at once. supervisorctl takes half a second of
a small machine each time, which would then be most of what a drill measures; this takes a tenth.
Status 0 for done (also when there was nothing to do), and for `pid` only while a process runs.
"""

from __future__ import annotations

import re
import socket
import sys

DONE, FAILED, NOT_RUNNING = 0, 1, 7
_METHODS = {"start": "startProcess", "stop": "stopProcess", "pid": "getProcessInfo"}
_NOTHING_TO_DO = {("start", 60), ("stop", 70)}  # supervisor.xmlrpc.Faults
_TIMEOUT_SECONDS = 60.0  # longer than supervisord's own stopwaitsecs


def main(argv: list[str]) -> int:
    """Do what `argv` (socket, verb, unit) says; return the exit status."""
    path, verb, unit = argv
    try:
        answer = call(path, _METHODS[verb], unit)
    except OSError as error:
        sys.stderr.write(f"{path}: {error}\n")
        return FAILED
    fault = re.search(r"<name>faultCode</name>\s*<value><int>(\d+)</int>", answer)
    if fault:
        nothing_to_do = (verb, int(fault[1])) in _NOTHING_TO_DO
        sys.stderr.write(f"{unit}: {verb}: supervisord answers fault {fault[1]}\n")
        return DONE if nothing_to_do else FAILED
    if verb != "pid":
        return DONE
    found = re.search(r"<name>pid</name>\s*<value><int>(\d+)</int>", answer)
    if found is None:
        return FAILED
    sys.stdout.write(f"{found[1]}\n")
    return DONE if int(found[1]) else NOT_RUNNING


def call(path: str, method: str, unit: str) -> str:
    """One XML-RPC call over the unix socket `path`; the whole HTTP response as text."""
    body = (
        f"<?xml version='1.0'?><methodCall><methodName>supervisor.{method}</methodName>"
        f"<params><param><value><string>{unit}</string></value></param></params></methodCall>"
    )
    head = (
        "POST /RPC2 HTTP/1.0\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.connect(path)
        connection.sendall((head + body).encode())
        blocks = iter(lambda: connection.recv(65536), b"")
        answer = b"".join(blocks).decode()
    if " 200 " not in answer.partition("\r\n")[0]:
        raise OSError(f"supervisord answers {answer[:200]!r}")
    return answer


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
