"""What becomes of the hosts that a run abandoned: what must be remembered of them, and how they
come back as new members."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any


def abandoned(facts: Mapping[str, Any]) -> list[str]:
    """What must be remembered of each host that a run abandoned."""
    lines = []
    for host, member in facts.get("abandoned", {}).items():
        paths = _directories(member)
        wipe = f" (empty {', '.join(paths)})" if paths else ""
        lines.append(f"ABANDONED: {host}: wipe it{wipe} before it is powered on again")
    return lines


def back_again(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """How abandoned hosts become new members, one after the other, step by step: etcd accepts only
    an --initial-cluster that names just those who are members by then. Directories are emptied, not
    removed: a unit may have one as its WorkingDirectory, and a disk may be mounted there, on which
    the old data of earlier runs lies as well."""
    found: dict[str, list[str]] = {}
    members = list(facts.get("members", {}).values())
    running = [f"{m['name']}={url}" for m in members for url in m["peer_urls"]]
    for host, member in facts.get("abandoned", {}).items():
        if not member or not members:
            continue
        paths = " ".join(quote(path) for path in _directories(member))
        running += [f"{member['name']}={url}" for url in member["peer_urls"]]
        found[host] = [
            f"on {host}, before its etcd starts: find -H {paths} -mindepth 1 "
            "! -path '*/.drctl*' -delete",
            f"etcdctl --endpoints={members[0]['client_urls'][0]} (with --cacert, --cert, --key) "
            f"member add {member['name']} --peer-urls={','.join(member['peer_urls'])}",
            f"on {host}, start etcd with --initial-cluster-state=existing "
            f"--initial-cluster={','.join(running)}",
        ]
    return found


def back_again_lines(steps: Mapping[str, list[str]]) -> list[str]:
    """What `back_again` found, as text."""
    return [
        line
        for host, todo in steps.items()
        for line in (
            f"to bring {host} back as a new member, later:",
            *(f"  {number}. {what}" for number, what in enumerate(todo, 1)),
        )
    ]


def _directories(member: Mapping[str, Any]) -> list[str]:
    return [member[name] for name in ("data_dir", "wal_dir") if member.get(name)]
