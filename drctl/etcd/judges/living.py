"""What still runs, who else is at work, and what must not be lost or gone behind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drctl.etcd.answers import AnswerError, EndpointStatus, parse_status
from drctl.etcd.identity import to_hex
from drctl.etcd.judges.blank import is_own_blank
from drctl.etcd.judges.common import (
    Voice,
    agreed,
    expected_members,
    forgotten,
    reports,
    spelled,
    voice,
)
from drctl.verdict import Evidence, Problem, Verdict

BUMP_STEP = 1_000_000_000
WRITES_PER_SECOND = 5_000
"""More writes a second than etcd commits for long on common disks: bounds what was served."""
LIVE_MARGIN = 1_000_000
_LARGEST = (1 << 63) - 1  # revisions are int64


def nobody_else(evidence: Evidence) -> Verdict:
    """Proves that no host is held by another run (reliability.md I9). No answer is a problem.

    Yields last_run, {host: the run that gave it back last, or ""}: still so at the claim.
    """
    found, problems = reports(evidence)
    ours = evidence.values.get("run", "")
    for host, report in found.items():
        if "owner_run" not in report:
            problems.append(Problem("did not report who holds it", host, None, "missing"))
        elif (holder := report["owner_run"]) and holder != ours:
            who = report.get("owner_who") or "someone unknown"
            since = report.get("owner_since") or "an unknown time"
            problems.append(
                Problem(
                    f"held by run {holder} of {who} since {since}",
                    host,
                    f"wait for it, or look at it: drctl runs show {holder}",
                    "lock",
                )
            )
    last = {host: report.get("last_run", "") for host, report in found.items()}
    return Verdict({"last_run": last}, tuple(problems))


def _voices(evidence: Evidence) -> tuple[dict[str, Voice], list[Problem]]:
    found, problems = reports(evidence)
    return {host: voice(report) for host, report in found.items()}, problems


def is_out_of_reach(evidence: Evidence) -> Verdict:
    """A host that answers is not given up: it can be restored with the others, or stopped."""
    problems = [
        Problem(
            "is to be given up, and answers",
            host,
            "restore it with the others: leave --abandon out",
        )
        for host in evidence.answers
    ]
    return Verdict(
        problems=tuple(problems),
        warnings=tuple(
            f"{host} is given up: wipe it before it is powered on" for host in evidence.silent
        ),
    )


def _still_serving(evidence: Evidence) -> list[Problem]:
    """Members that were given up and whose etcd answers the others all the same."""
    problems = []
    serving: dict[str, list[str]] = {}
    for host, report in reports(evidence)[0].items():
        for name, answer in report.items():
            if not name.startswith("gone.") or not answer:
                continue
            try:
                if parse_status(answer):
                    serving.setdefault(name.removeprefix("gone."), []).append(host)
            except AnswerError as error:
                problems.append(Problem(f"its answer cannot be used: {name}: {error}", host))
    return problems + [
        Problem(
            f"is to be given up, and its etcd answers {', '.join(told)}",
            host,
            "power that machine off, or cut it off the network, then try again",
        )
        for host, told in sorted(serving.items())
    ]


def live_state(evidence: Evidence) -> Verdict:
    """What of the old cluster still answers, and how far it is ahead of the snapshot.

    A quorum is there when a linearizable read (`member list`) answered, when a member knows a
    leader (etcd steps down without one: CheckQuorum), or when most members answer at all, be it
    without a leader at this moment. Members that lost their data and were started again serve as
    a new cluster, with the old one's id even: whoever has no leader beside those that have one is
    a survivor. Silent hosts are what disasters are made of: no problem here.
    Where every member answers at revision 1, nothing was ever written (the blank cluster of the
    procedure's step 1): there is nothing to lose. Nor is there in the blank cluster that this run
    began, known by its cluster id.

    Yields quorum, answering, live_revision (None when unknown), live_cluster_id.
    """
    voices, _ = _voices(evidence)
    answering = {host: v.status for host, v in voices.items() if v.status is not None}
    given_up = sum(1 for gone in evidence.facts.get("abandoned", {}).values() if gone)
    most = len(answering) * 2 > max(len(expected_members(evidence)), len(voices)) + given_up
    read = any(v.members is not None for v in voices.values())
    quorum = read or most or any(status.leader for status in answering.values())
    revision = max((status.revision for status in answering.values()), default=None)
    clusters = {host: to_hex(status.cluster_id) for host, status in answering.items()}
    values = {
        "quorum": quorum,
        "answering": sorted(answering),
        "live_revision": revision,
        "live_cluster_id": agreed(clusters) or "",
    }
    snapshot = evidence.facts.get("snapshot")
    blank = most and len(answering) >= len(expected_members(evidence)) and (revision or 0) <= 1
    blank = blank or is_own_blank(evidence, clusters, revision)
    began_anew = _began_anew(answering, snapshot)
    problems = [] if blank else _would_replace(evidence, quorum, revision, snapshot, began_anew)
    problems += _still_serving(evidence)
    warnings = [*began_anew, *_survivor(quorum, values, snapshot), *_foreign(clusters, snapshot)]
    return Verdict(values, tuple(problems), tuple(warnings), _live_findings(values))


def _ahead(revision: int | None, snapshot: Mapping[str, Any] | None) -> str:
    if revision is None or not snapshot:
        return "at an unknown distance from the snapshot"
    taken = int(snapshot["revision"])
    lead = revision - taken
    if lead < 0:
        return f"{-lead} revisions behind the snapshot ({revision}, snapshot {taken})"
    return f"{lead} revisions ahead of the snapshot ({revision}, snapshot {taken})"


def _would_replace(
    evidence: Evidence,
    quorum: bool,
    revision: int | None,
    snapshot: Mapping[str, Any] | None,
    began_anew: list[str],
) -> list[Problem]:
    if not quorum or evidence.options.get("replace_healthy") or not snapshot:
        return []
    old = f"the cluster still answers with a quorum; its data is {_ahead(revision, snapshot)}"
    return [
        Problem(
            f"{'; '.join(began_anew) or old} and would be replaced",
            hint="if that is meant, add --replace-healthy",
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
        "that is lost by this restore (a snapshot of the survivor may be the better source)"
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
        f"what serves is a new cluster that began without data (revision {max(led)}, snapshot "
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


def choose_bump(evidence: Evidence) -> Verdict:
    """By how much every member raises its revision, so that it passes all that was ever served
    (failure-modes.md 1: a revision that goes backwards leaves informers stale).

    The old cluster can have served at most, counted from the snapshot's revision:

        age of the snapshot in seconds x 5000       (faster than etcd commits for long)
        live revision - snapshot's + 1,000,000      (where a member still answers)
        revision of an earlier restore + its age in seconds x 5000 - snapshot's
                                                    (the nodes keep it, should nobody answer)

    N is the greater of these and of 1e9, rounded up to a whole 1e9, and one number for all
    members (their databases would differ otherwise). A bump chosen before is kept while snapshot
    + N is still above what can have been served: by a quorum's own revision where there is one,
    else by both bounds. Yields `bump`, decimal; '' where some etcdutl cannot bump.
    """
    if not evidence.values.get("can_bump"):
        return Verdict({"bump": ""}, findings=("no bump: not every etcdutl can",))
    snapshot = evidence.facts.get("snapshot")
    if not snapshot:
        return Verdict(problems=(Problem("no snapshot to count from", None, None, "missing"),))
    revision, age = int(snapshot["revision"]), max(0, int(snapshot.get("age_seconds", 0)))
    live, restored = _latest(evidence), _restored(evidence)
    served = max(_served(revision, age, live, bool(evidence.values.get("quorum"))), restored)
    kept = str(evidence.values.get("bump") or "")
    if kept and revision + int(kept) > served:
        return _bumped(revision, int(kept), served, "kept")
    above = max((live or 0) + LIVE_MARGIN, restored + LIVE_MARGIN if restored else 0)
    needed = max(BUMP_STEP, age * WRITES_PER_SECOND, above - revision)
    return _bumped(revision, -(-needed // BUMP_STEP) * BUMP_STEP, served, "chosen")


def _latest(evidence: Evidence) -> int | None:
    """The highest revision that any member ever told, in this step or before."""
    voices, _ = _voices(evidence)
    told = [v.status.revision for v in voices.values() if v.status is not None]
    known = evidence.values.get("live_revision")
    return max([*told, *([known] if known is not None else [])], default=None)


def _restored(evidence: Evidence) -> int:
    """The highest revision that a cluster restored here before can have reached; 0 for none."""
    found, _ = reports(evidence)
    told = " ".join(report.get("restored", "") for report in found.values())
    pairs = re.findall(r"(\d+):(\d+)", told)
    return max((int(at) + int(age) * WRITES_PER_SECOND for at, age in pairs), default=0)


def _served(revision: int, age: int, live: int | None, quorum: bool) -> int:
    """The highest revision that the old cluster can have shown to a client."""
    if live is not None and quorum:
        return live
    return max(revision + age * WRITES_PER_SECOND, live or 0)


def _bumped(revision: int, bump: int, served: int, how: str) -> Verdict:
    if revision + bump > _LARGEST:
        return Verdict(
            problems=(
                Problem(
                    f"the snapshot's revision {revision} cannot be bumped by {bump}",
                    hint="check when the snapshot was taken, and its revision",
                ),
            )
        )
    return Verdict(
        {"bump": str(bump)},
        findings=(
            f"bump {how}: {bump}, from revision {revision} to {revision + bump}; the old cluster "
            f"served at most {served}",
        ),
    )


def same_old_cluster(evidence: Evidence) -> Verdict:
    """After a rollback: proves that the old cluster is back, by its id and a leader, on every
    member that answered before the run (`values["answering"]`; all, where that is unknown).

    The id is `values["live_cluster_id"]`; where that is not known, all must at least agree on one.
    The others may stay silent: they were, before. A cluster that had no quorum
    before has none now, and a member that starts without one answers nobody: then only what does
    answer is judged.
    """
    voices, _ = _voices(evidence)
    needed = _must_be_back(evidence, voices)
    old = evidence.values.get("live_cluster_id") or ""
    problems = [p for p in forgotten(evidence, "unproven") if p.host in needed]
    clusters = {h: to_hex(v.status.cluster_id) for h, v in voices.items() if v.status}
    for host in sorted(needed & {*evidence.answers, *evidence.silent}):
        problems += _not_back(host, voices.get(host), evidence.silent.get(host, ""))
    problems += [
        Problem(f"runs cluster {found}, not the old one {old}", host, None, "unproven")
        for host, found in clusters.items()
        if old and found != old
    ]
    if not old and len(set(clusters.values())) > 1:
        problems.append(Problem(f"different clusters ({spelled(clusters)})", kind="unproven"))
    back = f"the old cluster {agreed(clusters)} answers on {len(clusters)} hosts"
    if not needed:
        back = "the old cluster had no quorum before the run, so its members can't be asked now"
    return Verdict(problems=tuple(problems), findings=() if problems else (back,))


def _must_be_back(evidence: Evidence, voices: Mapping[str, Voice]) -> set[str]:
    if not evidence.values.get("quorum", True):
        return set()
    answering = evidence.values.get("answering")
    needed = {*expected_members(evidence), *voices} if answering is None else set(answering)
    return needed - {*evidence.facts.get("without", ())}


def _not_back(host: str, found: Voice | None, silence: str) -> list[Problem]:
    hint = "look at etcd's log on that host, then drctl rollback again"
    if found is None or found.status is None:
        return [Problem(silence or "its etcd does not answer", host, hint, "unproven")]
    if not found.status.leader:
        return [Problem("its etcd has no leader", host, hint, "unproven")]
    return []
