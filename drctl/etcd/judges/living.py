"""What still runs, who else is at work, and what must not be lost or gone behind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from drctl.answer import Answer, AnswerError
from drctl.etcd.answers import EndpointStatus, parse_status
from drctl.etcd.identity import to_hex
from drctl.etcd.judges.blank import is_own_blank
from drctl.etcd.judges.bump import implausible
from drctl.etcd.judges.common import (
    Voice,
    agreed,
    expected_members,
    forgotten,
    members_heard,
    read,
    readable,
    reports,
    spelled,
)
from drctl.etcd.judges.paths import unsafe_paths
from drctl.etcd.values import MOST_LINES
from drctl.verdict import Gathered, Problem, Verdict


def nobody_else(gathered: Gathered) -> Verdict:
    """Proves that no host is held by another run (reliability.md I9). No answer is a problem.

    Yields last_line, {host: the number of its history's last line}: at the claim there may be none
    of another run after it.
    """
    found, problems = reports(gathered)
    unsafe = {host: [*unsafe_paths(host, answer)] for host, answer in found.items()}
    problems += [problem for each in unsafe.values() for problem in each]
    found = {host: answer for host, answer in found.items() if not unsafe[host]}  # says no more
    told = {}
    for host, answer in found.items():
        if "owner_run" not in answer:
            problems.append(Problem("did not report whether it is locked", host, None, "missing"))
        else:
            told[host] = answer
    holders, strange = read(told, lambda _, answer: answer.run("owner_run"))
    last, stranger = read(told, lambda _, answer: answer.number("last_line", most=MOST_LINES))
    for host, holder in holders.items():
        if holder and holder != gathered.values.get("run", ""):
            problems.append(_held(holder, found[host]))
    return Verdict({"last_line": last}, (*problems, *strange, *stranger))


def _held(holder: str, answer: Answer) -> Problem:
    who = answer.text("owner_who", "someone")
    since = answer.text("owner_since", "an unknown time")
    hint = f"wait for that run, or look at it: drctl runs show {holder}"
    return Problem(f"locked by run {holder} of {who} since {since}", answer.host, hint, "lock")


def whose(gathered: Gathered) -> Verdict:
    """Which run each host belongs to, if any. Refuses nothing.

    Yields holders, {host: {run, who, since}} of those that belong to one. Where a host does not
    tell, nobody knows, and that is a warning.
    """
    found = readable(gathered, "missing")[0]
    runs = read(
        {host: answer for host, answer in found.items() if "owner_run" in answer},
        lambda _, answer: answer.run("owner_run"),
    )[0]
    holders = {
        host: {
            "run": run,
            "who": found[host].text("owner_who", "someone"),
            "since": found[host].text("owner_since", "an unknown time"),
        }
        for host, run in runs.items()
        if run
    }
    unknown = [host for host in (*gathered.answers, *gathered.silent) if host not in runs]
    warnings = tuple(f"{host}: not known whether a run is unfinished there" for host in unknown)
    return Verdict({"holders": holders}, warnings=warnings)


def is_out_of_reach(gathered: Gathered) -> Verdict:
    """A host that answers cannot be abandoned: restore it with the others, or stop it."""
    problems = [
        Problem(
            "is to be abandoned, but answers",
            host,
            "restore it with the others: drop --abandon",
        )
        for host in gathered.answers
    ]
    return Verdict(
        problems=tuple(problems),
        warnings=tuple(
            f"{host} is abandoned: wipe it before you power it on" for host in gathered.silent
        ),
    )


def _still_serving(gathered: Gathered) -> list[Problem]:
    """Abandoned members whose etcd still answers the others."""
    found, _ = readable(gathered, "missing")
    problems: list[Problem] = []
    for gone in gathered.facts.get("abandoned", {}):
        served, strange = read(found, partial(_is_served, gone))
        problems += strange
        if hosts := [host for host, yes in served.items() if yes]:
            message = f"is to be abandoned, but its etcd answers {', '.join(hosts)}"
            hint = "power that machine off or isolate it from the network, then try again"
            problems.append(Problem(message, gone, hint))
    return problems


def _is_served(gone: str, host: str, answer: Answer) -> bool:
    """Whether the etcd of `gone` answers `host`."""
    said = answer.get(f"gone.{gone}", "")
    try:
        return bool(said and parse_status(said))
    except AnswerError as error:
        raise AnswerError(f"gone.{gone}: {error.reason}", host=host) from error


def live_state(gathered: Gathered) -> Verdict:
    """What of the old cluster still answers, and how far it is ahead of the snapshot.

    A quorum is there when a linearizable read (`member list`) answered, when a member knows a
    leader (etcd steps down without one: CheckQuorum), or when most members answer at all, be it
    without a leader at this moment. Members that lost their data and were started again serve as
    a new cluster, with the old one's id even: a member without a leader beside those with one is
    a survivor. Silent hosts are what disasters are made of: no problem here.
    Where every member answers at revision 1, nothing was ever written (the blank cluster of the
    procedure's step 1): there is nothing to lose. Nor is there in the blank cluster that this run
    began, known by its cluster id.

    Yields quorum, answering, live_revision (None when unknown), live_cluster_id.
    """
    heard, garbled = members_heard(gathered)
    answering = {host: v.status for host, v in heard.items() if v.status is not None}
    most, quorum = _quorum(gathered, heard)
    revision = max((status.revision for status in answering.values()), default=None)
    clusters = {host: to_hex(status.cluster_id) for host, status in answering.items()}
    values = {
        "quorum": quorum,
        "answering": sorted(answering),
        "live_revision": revision,
        "live_cluster_id": agreed(clusters) or "",
    }
    snapshot = gathered.facts.get("snapshot")
    blank = most and len(answering) >= len(expected_members(gathered)) and (revision or 0) <= 1
    blank = blank or is_own_blank(gathered, clusters, revision)
    began_anew = _began_anew(answering, snapshot)
    problems = [] if blank else _would_replace(gathered, quorum, revision, snapshot, began_anew)
    problems += [*garbled, *_still_serving(gathered), *implausible(gathered, answering)]
    warnings = [*began_anew, *_survivor(quorum, values, snapshot), *_foreign(clusters, snapshot)]
    return Verdict(values, tuple(problems), tuple(warnings), _live_findings(values))


def who_answers(gathered: Gathered) -> Verdict:
    """Yields quorum, as `live_state` finds it, and refuses nothing but what is no answer."""
    heard, garbled = members_heard(gathered)
    return Verdict({"quorum": _quorum(gathered, heard)[1]}, problems=tuple(garbled))


def _quorum(gathered: Gathered, heard: Mapping[str, Voice]) -> tuple[bool, bool]:
    """Whether most members answer, and whether there is a quorum."""
    answering = [v.status for v in heard.values() if v.status is not None]
    given_up = sum(1 for gone in gathered.facts.get("abandoned", {}).values() if gone)
    most = len(answering) * 2 > max(len(expected_members(gathered)), len(heard)) + given_up
    known = any(v.has_quorum for v in heard.values()) or any(s.leader for s in answering)
    return most, most or known


def _ahead(revision: int | None, snapshot: Mapping[str, Any] | None) -> str:
    if revision is None or not snapshot:
        return "of unknown age against the snapshot"
    taken = int(snapshot["revision"])
    lead = revision - taken
    if lead < 0:
        return f"{-lead} revisions behind the snapshot ({revision}, snapshot {taken})"
    return f"{lead} revisions ahead of the snapshot ({revision}, snapshot {taken})"


def _would_replace(
    gathered: Gathered,
    quorum: bool,
    revision: int | None,
    snapshot: Mapping[str, Any] | None,
    began_anew: list[str],
) -> list[Problem]:
    if not quorum or gathered.options.get("replace_healthy") or not snapshot:
        return []
    old = f"the cluster still answers with a quorum; its data is {_ahead(revision, snapshot)}"
    return [
        Problem(
            f"{'; '.join(began_anew) or old} and would be replaced",
            hint="to replace it anyway, add --replace-healthy",
        )
    ]


def _survivor(
    quorum: bool, values: Mapping[str, Any], snapshot: Mapping[str, Any] | None
) -> list[str]:
    revision = values["live_revision"]
    if quorum or revision is None or not snapshot or revision <= int(snapshot["revision"]):
        return []
    return [
        f"{', '.join(values['answering'])} survives and its data is {_ahead(revision, snapshot)}: "
        "this restore loses that (a snapshot of the survivor may be the better source)"
    ]


def _began_anew(
    answering: Mapping[str, EndpointStatus], snapshot: Mapping[str, Any] | None
) -> list[str]:
    """What a disaster looks like where the members without data were started again."""
    led = [status.revision for status in answering.values() if status.leader]
    lonely = {host: s.revision for host, s in answering.items() if not s.leader}
    taken = int((snapshot or {}).get("revision", 0))
    if not led or not lonely or max(led) >= min(taken, max(lonely.values())):
        return []
    return [
        f"a new cluster that started without data is serving (revision {max(led)}, snapshot "
        f"{taken}); {', '.join(sorted(lonely))} still has the old data, up to revision "
        f"{max(lonely.values())} (a snapshot of that may be the better source),"
    ]


def _foreign(clusters: Mapping[str, str], snapshot: Mapping[str, Any] | None) -> list[str]:
    warnings = []
    if len(set(clusters.values())) > 1:
        warnings.append(f"the members belong to different clusters ({spelled(clusters)})")
    origin = (snapshot or {}).get("cluster_id")
    if origin and clusters and origin not in clusters.values():
        warnings.append(
            f"the snapshot was taken from cluster {origin}, but these hosts run "
            f"{', '.join(sorted(set(clusters.values())))}"
        )
    return warnings


def _live_findings(values: Mapping[str, Any]) -> tuple[str, ...]:
    if not values["answering"]:
        return ("no member of the old cluster answers",)
    return (
        f"answering: {', '.join(values['answering'])}; revision {values['live_revision']}; "
        f"{'quorum' if values['quorum'] else 'no quorum'}",
    )


def who_leads(gathered: Gathered) -> Verdict:
    """Which member leads, by most of those that answer and by its own word; nobody where that is
    not clear. For the order in which members stop: a leader that is told to stop offers its place
    to another member first, and waits for long where all of them are stopping.

    Yields leader, a list of one host or none.
    """
    heard, _ = members_heard(gathered)  # who answers something else is told by other judges
    told = {host: v.status for host, v in heard.items() if v.status is not None}
    led = [status.leader for status in told.values()]
    leads = [
        host
        for host, status in told.items()
        if status.leader == status.member_id and led.count(status.leader) * 2 > len(led)
    ]
    return Verdict({"leader": leads if len(leads) == 1 else []})


def same_old_cluster(gathered: Gathered) -> Verdict:
    """After a rollback: proves that the old cluster is back, by its id and a leader, on every
    member that answered before the run (`values["answering"]`; all, where that is unknown).

    The id is `values["live_cluster_id"]`; where that is not known, all must at least agree on one.
    The others may stay silent: they were, before. A cluster that had no quorum
    before has none now, and a member that starts without one answers nobody: then only what does
    answer is judged.
    """
    heard, garbled = members_heard(gathered, "unproven")
    needed = _must_be_back(gathered, heard)
    old = _old_id(gathered)
    problems = [p for p in (*forgotten(gathered, "unproven"), *garbled) if p.host in needed]
    spared = [f"{p.host}: {p.message}" for p in garbled if p.host not in needed]
    clusters = {h: to_hex(v.status.cluster_id) for h, v in heard.items() if v.status}
    for host in sorted(needed & {*heard, *gathered.silent}):
        problems += _not_back(host, heard.get(host), gathered.silent.get(host, ""))
    problems += [
        Problem(f"runs cluster {found}, not the old cluster {old}", host, None, "unproven")
        for host, found in clusters.items()
        if old and found != old
    ]
    if not old and len(set(clusters.values())) > 1:
        problems.append(Problem(f"different clusters ({spelled(clusters)})", kind="unproven"))
    back = f"the old cluster {agreed(clusters)} answers on {len(clusters)} hosts"
    if not needed:
        back = "the old cluster had no quorum before the run, so its members cannot be checked now"
    return Verdict({}, tuple(problems), tuple(spared), () if problems else (back,))


def _old_id(gathered: Gathered) -> str:
    """What all who answered before the run agreed on; "" where only hosts told it that are left out
    of the rollback: otherwise one that lies would block the others."""
    answering = gathered.values.get("answering")
    left_out = {*gathered.facts.get("without", ())}
    if answering is not None and {*answering} <= left_out:
        return ""
    return str(gathered.values.get("live_cluster_id") or "")


def _must_be_back(gathered: Gathered, heard: Mapping[str, Voice]) -> set[str]:
    if not gathered.values.get("quorum", True):
        return set()
    answering = gathered.values.get("answering")
    needed = {*expected_members(gathered), *heard} if answering is None else set(answering)
    return needed - {*gathered.facts.get("without", ())}


def _not_back(host: str, found: Voice | None, silence: str) -> list[Problem]:
    hint = "check etcd's log on that host, then run drctl rollback again"
    if found is None or found.status is None:
        return [Problem(silence or "its etcd does not answer", host, hint, "unproven")]
    if not found.status.leader:
        return [Problem("its etcd has no leader", host, hint, "unproven")]
    return []
