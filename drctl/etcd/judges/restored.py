"""Is what came up what was planned? Health is not enough: a blank cluster is healthy too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from drctl.answer import Answer
from drctl.etcd.answers import MemberInfo, MemberList
from drctl.etcd.identity import from_hex, predict, to_hex
from drctl.etcd.judges.access import ANOTHER, refused_by
from drctl.etcd.judges.common import (
    Voice,
    expected_members,
    forgotten,
    read,
    reports,
    silence,
    spelled,
    voices,
)
from drctl.verdict import Gathered, Problem, Verdict

_LOOK = "check etcd's log on that host, then: drctl restore --resume"
_HINTS = {
    "NOSPACE": (
        "etcdctl compact and defrag, then etcdctl alarm disarm, then: drctl restore --resume"
    ),
    "CORRUPT": "roll back and restore from another snapshot; do not disarm it",
}
Voices = Mapping[str, Voice]


def _unproven(message: str, host: str | None = None, hint: str | None = _LOOK) -> Problem:
    return Problem(message, host, hint, "unproven")


def is_planned_identity(gathered: Gathered) -> Verdict:
    """Proves that each host's restore made a member of the planned cluster: the cluster id that
    etcdutl logged equals the one predicted from the members and the token (etcd-facts.md,
    "Identity"). A missing --initial-cluster or another token gives another id (failure 6, 9)."""
    found, problems = reports(gathered, "unproven")
    problems += forgotten(gathered, "unproven")
    planned = str(gathered.values.get("cluster_id") or "")
    if not planned:
        return Verdict(problems=(_unproven("no planned cluster id to compare with"),))
    ids, strange = read(found, _restored_id, "unproven")
    for host, restored in ids.items():
        problems += _other_id(host, restored, planned)
    problems += strange
    proved = f"cluster id {planned} restored on {len(found)} hosts"
    return Verdict(problems=tuple(problems), findings=() if problems or not found else (proved,))


def _restored_id(_: str, report: Answer) -> str:
    return report.hexadecimal("restored_cluster_id", *range(1, 18))  # leading zeros or not


def _other_id(host: str, restored: str, planned: str) -> list[Problem]:
    hint = "drctl restore --resume rebuilds it: the restore on that host used other flags"
    if not restored:
        return [_unproven("its restore reported no cluster id", host, hint)]
    try:
        same = from_hex(restored) == from_hex(planned)
    except ValueError:
        same = False
    message = f"restored cluster {restored}, planned {planned}"
    return [] if same else [_unproven(message, host, hint)]


def is_the_planned_cluster(gathered: Gathered) -> Verdict:
    """Proves, by each member's own endpoint: the planned cluster id (`values["cluster_id"]`) and
    member ids (from `values["token"]`, where given), exactly the planned members and no learner,
    one leader, the same hash of all keys at one revision and compact revision, no alarm
    (etcd-facts.md, "Verify"). Without planned ids, as for `drctl verify`, all must agree."""
    found, problems = reports(gathered, "unproven")
    problems += forgotten(gathered, "unproven")
    heard, garbled = voices(found, "unproven")
    at, strange = read(found, lambda _, report: report.number_or_none("hash_revision"), "unproven")
    problems += [*garbled, *strange]
    heard = {host: one for host, one in heard.items() if host in at}
    for host, one in heard.items():
        problems += _unsaid(host, one)
    problems += _cluster_ids(heard, str(gathered.values.get("cluster_id") or ""))
    for host, one in heard.items():
        problems += _members(host, one.members, gathered)
    hashed = {host: at[host] or one.hash.revision for host, one in heard.items() if one.hash}
    problems += [*_leaders(heard), *_hashes(heard, hashed), *_alarms(heard)]
    if not heard and not problems:
        problems.append(_unproven("no member was asked"))
    return Verdict(problems=tuple(problems), findings=() if problems else _measured(heard, hashed))


def _unsaid(host: str, one: Voice) -> Iterator[Problem]:
    if why := refused_by(one):
        yield _unproven(
            f"its etcd refuses drctl ({why}): authentication is on there", host, ANOTHER
        )
    elif unsaid := silence(one):
        yield _unproven(unsaid, host)


def _cluster_ids(voices: Voices, planned: str) -> Iterator[Problem]:
    ids = {host: to_hex(v.status.cluster_id) for host, v in voices.items() if v.status}
    for host, found in ids.items():
        if planned and found != planned:
            yield _unproven(
                f"runs cluster {found}, planned {planned}",
                host,
                "check its data and WAL directories, then resume: it started with other data",
            )
    if not planned and len(set(ids.values())) > 1:
        yield _unproven(f"the members are of different clusters ({spelled(ids)})")


def _planned_members(gathered: Gathered) -> dict[str, MemberInfo]:
    """{name: member} as planned; `id` 0 where no token tells it."""
    members = {str(m["name"]): m for m in expected_members(gathered).values()}
    token = gathered.values.get("token")
    urls = {name: tuple(sorted(m["peer_urls"])) for name, m in members.items()}
    ids = predict(urls, str(token)).member_ids if token else {}
    return {name: MemberInfo(ids.get(name, 0), name, urls[name], (), False) for name in members}


def _members(host: str, listed: MemberList | None, gathered: Gathered) -> Iterator[Problem]:
    if listed is None:
        return  # _unsaid reports it
    planned = _planned_members(gathered)
    found = {one.name: one for one in listed.members if one.name}
    for one in listed.members:
        if not one.name:
            yield _unproven(f"lists a member that never started ({', '.join(one.peer_urls)})", host)
        elif one.name not in planned:
            yield _unproven(f"lists an unexpected member: {one.name}", host)
        if one.is_learner:
            yield _unproven(f"lists {one.name or to_hex(one.id)} as a learner", host)
    for name, plan in planned.items():
        yield from _member_differs(host, plan, found.get(name))


def _member_differs(host: str, plan: MemberInfo, found: MemberInfo | None) -> Iterator[Problem]:
    if found is None:
        yield _unproven(f"does not list the member {plan.name}", host)
        return
    if found.peer_urls != plan.peer_urls:
        yield _unproven(
            f"lists {plan.name} at {', '.join(found.peer_urls)}, planned "
            f"{', '.join(plan.peer_urls)}",
            host,
        )
    if plan.id and found.id != plan.id:
        yield _unproven(
            f"lists {plan.name} with id {to_hex(found.id)}, planned {to_hex(plan.id)}", host
        )


def _leaders(voices: Voices) -> Iterator[Problem]:
    leaders = {host: v.status.leader for host, v in voices.items() if v.status}
    for host, leader in leaders.items():
        if not leader:
            yield _unproven("knows no leader", host)
    if len({leader for leader in leaders.values() if leader}) > 1:
        shown = {host: to_hex(leader) for host, leader in leaders.items()}
        yield _unproven(f"the members name different leaders ({spelled(shown)})")


def _hashes(voices: Voices, at: Mapping[str, int]) -> Iterator[Problem]:
    """Hashes are comparable only at one revision and one compact revision. `at` is the revision
    that was given to hashkv, else the one that the answer tells."""
    hashes = {host: v.hash for host, v in voices.items() if v.hash}
    compacted = {host: one.compact_revision for host, one in hashes.items()}
    values = {host: one.hash for host, one in hashes.items()}
    if len(set(at.values())) > 1:
        yield _unproven(f"hashes are from different revisions ({spelled(at)})")
    elif len(set(compacted.values())) > 1:
        yield _unproven(f"members are compacted to different revisions ({spelled(compacted)})")
    elif len(set(values.values())) > 1:
        yield _unproven(
            f"the members' data differs: hashes {spelled(values)}",
            hint="roll back: the members were restored from different files or with different "
            "bumps",
        )


def _alarm_names(voices: Voices) -> set[str]:
    """Every alarm in force, by any member's word."""
    return {alarm.kind for v in voices.values() for alarm in v.alarms or ()}


def _alarms(voices: Voices) -> Iterator[Problem]:
    for kind in sorted(_alarm_names(voices)):
        yield _unproven(f"the alarm {kind} is raised", hint=_HINTS.get(kind, "etcdctl alarm list"))


def _measured(voices: Voices, at: Mapping[str, int]) -> tuple[str, ...]:
    hashes = [v.hash for v in voices.values() if v.hash]
    statuses = [v.status for v in voices.values() if v.status]
    return (
        f"{len(statuses)} members of cluster {to_hex(statuses[0].cluster_id)}, "
        f"leader {to_hex(statuses[0].leader)}, no alarms",
        f"hash {hashes[0].hash} at revision {next(iter(at.values()))}, "
        f"compacted to {hashes[0].compact_revision}, equal on all",
    )


def writes_and_reads(gathered: Gathered) -> Verdict:
    """Proves that a probe key was written and read back through each member: `probe=ok`."""
    found, problems = reports(gathered, "unproven")
    problems += forgotten(gathered, "unproven")
    findings = []
    for host, report in found.items():
        outcome = report.text("probe")
        if outcome != "ok":
            problems.append(_unproven(f"write and read: {outcome or 'no answer'}", host))
        else:
            findings.append(f"{host}: write and read passed")
    return Verdict(problems=tuple(problems), findings=tuple(findings))
