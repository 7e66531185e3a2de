"""Why etcdctl failed, read from what it writes beside its answer (stderr).

Three kinds of lines, in any number: a log line in JSON whose `error` is gRPC's (`rpc error: code =
Unavailable desc = …`), `Failed to get the status of endpoint URL (…)`, and at last `Error: …`. The
last is often no more than "context deadline exceeded"; the log line then knows that the connection
was refused. etcd's own words for a refusal: its `api/v3rpc/rpctypes/error.go`, and without that
prefix its `server/auth/store.go`, both tried with what `tests/etcd/fixtures/recorded.json` has.
"""

from __future__ import annotations

import json
import re

from drctl.answer import shown

_SAID = re.compile(r"Error: (?P<error>.*)|Failed to get the \w+ of endpoint \S+ \((?P<failed>.*)\)")
_LOGGED = re.compile(r'"error":"(.*)')  # where the line is cut, and no JSON any more
_VAGUE = re.compile(r"context deadline exceeded|context canceled|unhealthy cluster|")
_WRAPPING = re.compile(
    r"rpc error: code = \w+ desc = |(latest balancer|last connection|connection) error: "
    r"|desc = \\?\"|transport: |Error while dialing:? |etcdserver: |auth: "
)
_PLAINER = {
    "context deadline exceeded": "no answer in time",
    "all SubConns are in TransientFailure": "it cannot be connected to",
}
_REFUSED = re.compile(
    "permission denied|user name is empty|user name not found|invalid auth token"
    "|authentication failed|auth store is old"
)


def reason(said: str) -> str:
    """Why, in one short line of etcd's own words; "" where it wrote nothing. `said` is the end of
    its stderr, its lines parted by newlines or tabs."""
    lines = [line.strip() for line in re.split(r"[\n\t]", said) if line.strip()]
    spoken = [found["error"] or found["failed"] for line in lines if (found := _SAID.match(line))]
    logged = [error for line in lines if line.startswith("{") and (error := _error(line))]
    last = _bare(spoken[-1]) if spoken else ""
    if _VAGUE.fullmatch(last) and logged:
        last = _bare(logged[-1]) or last
    return shown(_PLAINER.get(last, last) or (lines[-1] if lines else ""), 200)


def _error(line: str) -> str:
    try:
        return str(json.loads(line).get("error", ""))
    except (ValueError, AttributeError, RecursionError):
        found = _LOGGED.search(line)
        return found[1] if found else ""


def _bare(text: str) -> str:
    return _WRAPPING.sub("", text).strip(' \\"}')


def is_refused(why: str) -> bool:
    """Whether etcd knows whom it refused: authentication is on, and it is not asked by root."""
    return _REFUSED.search(why) is not None
