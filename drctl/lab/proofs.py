"""What must be true after a restore, judged from outside the product: identity, not just health."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drctl.lab import binaries, data
from drctl.lab.gateway import GatewayError
from drctl.lab.layout import Lab, LabHost

CAN_BUMP = (3, 5, 10)  # the first 3.5 whose etcdutl knows --bump-revision
_PATIENCE_SECONDS = 30.0
_TOOL_SECONDS = 30.0
_SHOWN = 3


@dataclass(frozen=True)
class Proof:
    """One claim, whether it holds, and what was seen."""

    what: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Sight:
    """What one member holds: its cluster's id, the revision, and every key and value."""

    cluster_id: str
    revision: int
    content: Mapping[str, bytes]


def look(host: LabHost) -> Sight:
    """Read everything from the host's member."""
    with data.gateway(host) as gateway:
        header = gateway.status()["header"]
        return Sight(str(header["cluster_id"]), gateway.revision(), gateway.read_all(data.PREFIX))


def prove(lab: Lab, before: Sight, later: Sight) -> tuple[Proof, ...]:
    """Compare the restored lab with what was seen `before` the backup and `later`, before the
    damage."""
    claims: dict[str, Callable[[], tuple[bool, str]]] = {
        "every member answers": lambda: _members(lab),
        "a new cluster": lambda: _new_cluster(lab, before),
        "data from before the backup is back": lambda: _kept(lab, before),
        "data from after the backup is gone": lambda: _gone(lab, before, later),
        "all members hold the same": lambda: _same_hash(lab),
        "revisions do not go back if etcd can help it": lambda: _not_behind(lab, later),
        "every apiserver stand-in serves it": lambda: _served(lab, before, later),
    }
    return tuple(Proof(what, *_judged(claim)) for what, claim in claims.items())


def differences(wanted: Mapping[str, bytes], seen: Mapping[str, bytes]) -> list[str]:
    """The keys of `wanted` that are absent from `seen` or have another value there."""
    return sorted(key for key, value in wanted.items() if seen.get(key) != value)


def _judged(claim: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    """Ask until it holds; members settle for some seconds. No answer is not a yes."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            ok, detail = claim()
        except (GatewayError, OSError) as error:
            ok, detail = False, str(error)
        if ok or time.monotonic() > deadline:
            return ok, detail
        time.sleep(0.5)


def _members(lab: Lab) -> tuple[bool, str]:
    with data.gateway(lab.hosts[0]) as gateway:
        listed = gateway.call("/v3/cluster/member/list", {"linearizable": True})["members"]
    names = sorted(member.get("name", "") for member in listed)
    revisions = [revision_at(host) for host in lab.hosts]
    wanted = sorted(host.member_name for host in lab.hosts)
    return names == wanted, f"{', '.join(names)} at revisions {revisions}"


def revision_at(host: LabHost) -> int:
    """The revision by a linearizable read through the host's own member."""
    with data.gateway(host) as gateway:
        return gateway.revision()


def _new_cluster(lab: Lab, before: Sight) -> tuple[bool, str]:
    seen = {_cluster_id(host) for host in lab.hosts}
    shown = ", ".join(f"{int(number):x}" for number in sorted(seen))
    ok = len(seen) == 1 and before.cluster_id not in seen
    return ok, f"id {shown}, before {int(before.cluster_id):x}"


def _cluster_id(host: LabHost) -> str:
    with data.gateway(host) as gateway:
        return str(gateway.status()["header"]["cluster_id"])


def _kept(lab: Lab, before: Sight) -> tuple[bool, str]:
    seen = look(lab.hosts[-1]).content
    differing = differences(before.content, seen)
    if differing:
        return False, f"{len(differing)} keys differ, among them {differing[:_SHOWN]}"
    return True, f"{len(before.content)} keys equal, sha256 {data.digest(before.content)[:16]}"


def _gone(lab: Lab, before: Sight, later: Sight) -> tuple[bool, str]:
    seen = look(lab.hosts[-1]).content
    younger = later.content.keys() - before.content.keys()
    remaining = sorted(younger & seen.keys())
    if remaining:
        return False, f"{len(remaining)} of {len(younger)} keys remain: {remaining[:_SHOWN]}"
    return True, f"{len(younger)} keys gone"


def _same_hash(lab: Lab) -> tuple[bool, str]:
    revision = min(revision_at(host) for host in lab.hosts)
    seen = {_hash(host, revision) for host in lab.hosts}
    shown = ", ".join(f"{digest} (compacted to {compacted})" for digest, compacted in sorted(seen))
    return len(seen) == 1, f"hash {shown} at revision {revision}"


def _hash(host: LabHost, revision: int) -> tuple[int, int]:
    """(hash of all keys at `revision`, compact revision), from etcd's own tool: the gateway's
    /v3/maintenance/hash is another hash, over the whole file."""
    tls: list[str | Path] = ["--cacert", host.ca, "--cert", host.cert, "--key", host.key]
    argv = [host.bin_dir / "etcdctl", *tls, "--endpoints", host.client_url]
    told = subprocess.run(
        [*argv, "endpoint", "hashkv", "--rev", str(revision), "--write-out", "json"],
        capture_output=True,
        text=True,
        timeout=_TOOL_SECONDS,
    )
    if told.returncode != 0:
        raise OSError(f"etcdctl endpoint hashkv on {host.name}: {told.stderr.strip()}")
    (answer,) = json.loads(told.stdout)
    return answer["HashKV"]["hash"], answer["HashKV"].get("compact_revision", 0)


def _not_behind(lab: Lab, later: Sight) -> tuple[bool, str]:
    revision = revision_at(lab.hosts[0])
    seen = f"{revision}, before the damage {later.revision}"
    found = binaries.version(lab.hosts[0].bin_dir / "etcd")
    if found < CAN_BUMP:
        return True, f"{seen}: etcd {'.'.join(map(str, found))} cannot bump them, 3.5.10 can"
    return revision > later.revision, seen


def _served(lab: Lab, before: Sight, later: Sight) -> tuple[bool, str]:
    """Each serves a value that had changed, as it was; none serves a key that is gone; and a
    value written now arrives."""
    answers: Sequence[str] = [_stale(host, before, later) for host in lab.hosts]
    stale = [answer for answer in answers if answer]
    if stale:
        return False, "; ".join(stale)
    return True, f"{len(lab.hosts)} stand-ins serve the restored values"


def _stale(host: LabHost, before: Sight, later: Sight) -> str:
    """What is wrong with what this host's stand-in serves; empty when nothing is."""
    data.ask_stand_in(host, "/readyz")
    changed = differences(before.content, later.content)
    younger = sorted(later.content.keys() - before.content.keys())
    for key in [*changed[:_SHOWN], *younger[:_SHOWN]]:
        if data.stand_in_value(host, key) != before.content.get(key):
            return f"{host.name} serves a stale {key}"
    fresh = f"/registry/drill/{host.name}"
    with data.gateway(host) as gateway:
        gateway.put_all([(fresh, str(time.time_ns()).encode())])
        wanted = gateway.read_all(fresh)[fresh]
    for _ in range(20):
        if data.stand_in_value(host, fresh) == wanted:
            return ""
        time.sleep(0.1)
    return f"{host.name} does not see what is written now"
