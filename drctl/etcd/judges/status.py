"""What `drctl status` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drctl.etcd.answers import MemberInfo
from drctl.etcd.identity import to_hex
from drctl.etcd.judges.access import described, refusal, refused_by, unlisted
from drctl.etcd.judges.common import (
    Voice,
    agreed,
    expected_members,
    members_heard,
    silence,
    silences,
    spelled,
)
from drctl.verdict import Gathered, Verdict


def status(gathered: Gathered) -> Verdict:
    """The document of `drctl status`, as values: cluster_id, members, alarms. Each thing that is
    not well is a warning; without one the cluster is.

    `healthy` means that the member has a leader and answered a linearizable read; `reason` is what
    is not well with it, else None. Ids are hex; what a member did not tell is None. Members that
    only others list come last, without a host. Proves nothing and refuses nothing.
    """
    heard, garbled = members_heard(gathered)
    hosts = {**expected_members(gathered), **dict.fromkeys(gathered.answers)}
    unheard = {p.host: p.message for p in (*silences(gathered, "missing"), *garbled) if p.host}
    listed = [m for one in heard.values() if one.members for m in one.members.members]
    by_id = {member.id: member for member in listed}
    by_url = {url: member for member in listed for url in member.peer_urls}
    members = []
    for host in hosts:
        plan = expected_members(gathered).get(host) or {}
        one = heard.get(host, Voice())
        row = _row(host, plan, one)
        known = by_id.get(one.status.member_id) if one.status else None
        known = known or next((by_url[u] for u in plan.get("peer_urls", ()) if u in by_url), None)
        row["learner"] = bool(known and known.is_learner)
        row["reason"] = unheard.get(host) or _reason(one, known, bool(listed))
        members.append(row)
    members += [_unlisted_row(member) for member in unlisted(gathered, heard.values())]
    ids = {host: to_hex(v.status.cluster_id) for host, v in heard.items() if v.status}
    alarms = _alarm_rows(heard.values())
    warnings = [
        f"{row['host'] or row['name']}: {row['reason']}" for row in members if row["reason"]
    ]
    warnings += [f"the alarm {alarm['alarm']} is raised" for alarm in alarms]
    if len(set(ids.values())) > 1:
        warnings.append(f"the members are of different clusters ({spelled(ids)})")
    values = {"cluster_id": agreed(ids) or "", "members": members, "alarms": alarms}
    return Verdict(values, warnings=tuple(warnings))


def _reason(one: Voice, known: MemberInfo | None, listed: bool) -> str | None:
    """What is not well with a member of the inventory."""
    reasons = []
    if why := refused_by(one):
        reasons.append(refusal(why))
    elif one.status and not one.status.leader:
        reasons.append("it has no leader: no quorum")
    elif known and known.is_learner:
        reasons.append("it is a learner: it answers nobody and does not count for the quorum")
    elif unsaid := silence(one):
        reasons.append(unsaid)
    if known and not known.name:
        reasons.append("it was added and never started")
    if listed and not known:
        reasons.append("the others do not list it as a member")
    return "; ".join(reasons) or None


def _row(host: str, plan: Mapping[str, Any], one: Voice) -> dict[str, Any]:
    told, urls = one.status, plan.get("client_urls") or ()
    return {
        "name": str(plan.get("name") or host),
        "host": host,
        "id": to_hex(told.member_id) if told else None,
        "endpoint": urls[0] if urls else (told.endpoint if told else ""),
        "healthy": bool(told and told.leader and one.members is not None),
        "leader": bool(told and told.leader and told.leader == told.member_id),
        "version": told.version if told else None,
        "revision": told.revision if told else None,
        "db_size": told.db_size if told else None,
        "hash": one.hash.hash if one.hash else None,
    }


def _unlisted_row(member: MemberInfo) -> dict[str, Any]:
    nothing = dict.fromkeys(("version", "revision", "db_size", "hash"))
    peers = ", ".join(member.peer_urls)
    return {
        "name": member.name or "(never started)",
        "host": "",
        "id": to_hex(member.id),
        "endpoint": next(iter(member.client_urls), ""),
        "healthy": False,
        "leader": False,
        **nothing,
        "learner": member.is_learner,
        "reason": f"{described(member)} at {peers} is not in the inventory",
    }


def _alarm_rows(voices: Iterable[Voice]) -> list[dict[str, str]]:
    alarms = {(to_hex(a.member_id), a.kind) for one in voices for a in one.alarms or ()}
    return [{"member_id": member, "alarm": kind} for member, kind in sorted(alarms)]
