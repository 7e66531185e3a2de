"""Does etcd know who drctl is, and does drctl know everybody who is in the cluster? Both are asked
before anything is stopped: later it is too late to fetch another certificate, or to stop a member
that nobody listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from drctl.answer import Answer, shown
from drctl.etcd.answers import MemberInfo
from drctl.etcd.complaints import is_refused
from drctl.etcd.identity import to_hex
from drctl.etcd.judges.common import Voice, expected_members, members_heard, read, readable
from drctl.verdict import Gathered, Problem, Verdict

ANOTHER = (
    "name in etcd.tls a client certificate whose common name is a user with the role root: etcdctl "
    "user grant-role NAME root"
)
MOST = 10  # names that a message lists


def refused_by(one: Voice) -> str:
    """What etcd said where it refused to answer drctl; "" where it did not."""
    return next((why for why in one.why.values() if is_refused(why)), "")


def refusal(why: str) -> str:
    return f"its etcd refuses drctl ({why}): authentication is on there"


def lets_us_in(gathered: Gathered) -> Verdict:
    """Proves that no member that answers refuses drctl's certificate what later steps ask: they
    read hashes and write a key, for which etcd wants the role root.

    Where that cluster is to be replaced by a snapshot without authentication, and the operator said
    so (options["replace_healthy"]), it is a warning: it may be why they restore."""
    heard, garbled = members_heard(gathered)
    refused = {host: why for host, one in heard.items() if (why := refused_by(one))}
    snapshot = gathered.facts.get("snapshot") or {}
    if snapshot and not snapshot.get("auth_enabled") and gathered.options.get("replace_healthy"):
        warnings = tuple(f"{host}: {refusal(why)}" for host, why in refused.items())
        return Verdict(problems=tuple(garbled), warnings=warnings)
    problems = [Problem(refusal(why), host, ANOTHER) for host, why in refused.items()]
    return Verdict(problems=(*garbled, *problems))


def snapshot_lets_us_in(gathered: Gathered) -> Verdict:
    """Proves that the restored cluster will answer drctl: where the snapshot has authentication on,
    the common name of each member's client certificate is a user of it with the role root."""
    snapshot = gathered.facts.get("snapshot") or {}
    found, garbled = readable(gathered, "missing")
    if not snapshot.get("auth_enabled") or "root_users" not in snapshot:
        return Verdict(problems=tuple(garbled))
    roots = tuple(snapshot["root_users"])
    names, strange = read(found, lambda _, report: _cert_name(report))
    problems = [
        Problem(
            f"{_who(name)}, and the snapshot has authentication on with other users that have the "
            f"role root ({_listed(roots) or 'none'}): the restored etcd would refuse drctl",
            host,
            ANOTHER if roots else "use a snapshot of a cluster in which that user has it",
        )
        for host, name in names.items()
        if name is not None and name not in roots
    ]
    warning = "the snapshot has authentication enabled: its users and passwords come back"
    return Verdict(problems=(*garbled, *strange, *problems), warnings=(warning,))


def _cert_name(report: Answer) -> str | None:
    """The common name; "" where drctl shows no certificate, None where it cannot be read."""
    if "cert_name" not in report:
        return None
    name = report.get("cert_name", "")
    return name if name != "?" else None


def _who(name: str) -> str:
    return f"its client certificate names {shown(name)!r}" if name else "drctl shows no certificate"


def _listed(names: Iterable[str]) -> str:
    names = [shown(name) for name in names]
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if names[MOST:] else "")


def no_stranger(gathered: Gathered) -> Verdict:
    """Proves that whoever answers lists no member of the living cluster that the inventory does not
    know by a peer URL: it would be left running in the old cluster, with its clients."""
    heard, garbled = members_heard(gathered)
    known = peer_urls(gathered)
    strangers: dict[int, MemberInfo] = {}
    for one in heard.values():
        listed = one.members or one.local
        for member in listed.members if listed else ():
            if not known & {*member.peer_urls}:
                strangers[member.id] = member
    problems = [_stranger(member, gathered) for _, member in sorted(strangers.items())]
    return Verdict(problems=(*garbled, *problems))


def peer_urls(gathered: Gathered) -> set[str]:
    """All that the inventory names, of abandoned members too."""
    gone: Mapping[str, Any] = gathered.facts.get("abandoned", {})
    plans = [*expected_members(gathered).values(), *gone.values()]
    return {url for plan in plans for url in plan.get("peer_urls", ())}


def _stranger(member: MemberInfo, gathered: Gathered) -> Problem:
    at = ", ".join(member.peer_urls) or "no peer URL"
    for host, plan in expected_members(gathered).items():
        if member.name and plan.get("name") == member.name:
            return Problem(
                f"the living cluster has its member {member.name} at {at}, the inventory at "
                f"{', '.join(plan['peer_urls'])}",
                host,
                f"write in the inventory: etcd: {{members: {{{host}: {{peer_urls: [{at}]}}}}}}",
            )
    return Problem(
        f"the living cluster has a member that the inventory does not: {described(member)} at "
        f"{at}; it would go on running with the old data",
        hint=f"add its host to `hosts` and to the group `etcd` (where it is gone for good, with "
        f"--abandon HOST), or: etcdctl member remove {to_hex(member.id)}",
    )


def described(member: MemberInfo) -> str:
    """`m4 (a learner)`, or `a member that never started`."""
    name = member.name or "one that never started"
    return f"{name} (a learner)" if member.is_learner else name


def unlisted(gathered: Gathered, voices: Iterable[Voice]) -> Iterator[MemberInfo]:
    """Members that somebody lists and the inventory does not know, each once."""
    known, seen = peer_urls(gathered), set()
    for one in voices:
        for member in one.members.members if one.members else ():
            if member.id not in seen and not known & {*member.peer_urls}:
                seen.add(member.id)
                yield member
