"""New hosts: what may be installed there, and whether the blank cluster on them is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from drctl.etcd.judges.common import expected_members, reports, voice
from drctl.etcd.judges.restored import is_the_planned_cluster
from drctl.etcd.reports import words
from drctl.verdict import Evidence, Problem, Verdict

Report = dict[str, str]
_MOVE = "nothing existing is replaced: move it away yourself, or leave this host out of `prepare`"


def can_prepare(evidence: Evidence) -> Verdict:
    """Proves that whatever `prepare` installs finds its place free, or the very same there, and
    that no etcd and no data of one is on a host where anything is still to be installed.

    Yields `start_blank`: yes where every member's host is empty, so that a blank cluster can prove
    hosts, certificates and ports; no where one holds data (it may be all that is left).
    """
    found, problems = reports(evidence)
    prepare = evidence.facts.get("prepare") or {"hosts": {}}
    for host, report in found.items():
        if unsaid := [
            name for name in ("there.unit", "holds", "ports_taken") if name not in report
        ]:
            problems.append(Problem(f"did not report {', '.join(unsaid)}", host, None, "missing"))
            continue
        problems += _occupied(host, report)
        problems += _unfit(host, report, prepare)
    holding = {host: report["holds"] for host, report in found.items() if report.get("holds")}
    alone = [host for host in expected_members(evidence) if host not in found]
    blank = not holding and not alone
    return Verdict(
        {"start_blank": "yes" if blank else "no"},
        tuple(problems),
        tuple(prepare.get("warnings", ())) + tuple(_unproven_hosts(holding, alone)),
        tuple(_findings(found)),
    )


def _states(report: Mapping[str, str]) -> dict[str, str]:
    """{path: absent, same or other} of everything that is to be installed."""
    told = [value.partition(" ") for name, value in report.items() if name.startswith("there.")]
    return {path: state for state, _, path in told}


def _occupied(host: str, report: Mapping[str, str]) -> Iterator[Problem]:
    states = _states(report)
    others = [path for path, state in states.items() if state not in ("absent", "same")]
    if others:
        yield Problem(f"holds something else at {', '.join(others)}", host, _MOVE)
    if unit := report.get("unit_elsewhere"):
        yield Problem(f"has a unit of that name already: {unit}", host, _MOVE)
    if all(state == "same" for state in states.values()):
        return  # prepared before: what runs and lies there is this cluster's own
    if drop_ins := report.get("drop_ins"):
        yield Problem(f"has drop-ins that would change the unit: {drop_ins}", host, _MOVE)
    if entry := report.get("holds"):
        yield Problem(f"holds data already: {entry}", host, _MOVE)
    if ports := report.get("ports_taken"):
        yield Problem(f"something listens on port {ports} already", host, _MOVE)


def _unfit(host: str, report: Mapping[str, str], prepare: Mapping[str, Any]) -> Iterator[Problem]:
    wanted, arch = prepare.get("arch"), report.get("arch", "")
    if wanted and arch != wanted:
        yield Problem(
            f"is a machine of kind {arch or 'unknown'}, and the binaries are for {wanted}",
            host,
            "give the binaries of its kind",
        )
    if missing := report.get("owner_missing"):
        yield Problem(
            f"has not {missing} that etcd.owner names",
            host,
            "create it there, or leave etcd.owner out",
        )
    if path := report.get("owner_wrong"):
        yield Problem(
            f"{path} is not etcd.owner's, who could not write there",
            host,
            "chown it there, or remove the empty directory",
        )


def _unproven_hosts(holding: Mapping[str, str], alone: list[str]) -> Iterator[str]:
    if holding:
        places = ", ".join(f"{host}:{path}" for host, path in holding.items())
        yield f"no blank cluster is started to prove the hosts: there is data at {places}"
    elif alone:
        yield f"no blank cluster is started to prove the hosts: {', '.join(alone)} is not prepared"


def _findings(found: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for host, report in found.items():
        states = [*_states(report).values()]
        new = states.count("absent")
        yield f"{host}: {new} files to install, {len(states) - new} there already"


def without_the_lacking(evidence: Evidence, found: Mapping[str, Report]) -> dict[str, Report]:
    """The reports with what `prepare` will bring taken out of what is missing: `excused` names the
    tools."""
    hosts = (evidence.facts.get("prepare") or {"hosts": {}})["hosts"]
    return {
        host: _excuse(report, hosts[host]) if host in hosts else report
        for host, report in found.items()
    }


def _excuse(report: Report, what: Mapping[str, Any]) -> Report:
    coming = {file["path"] for file in what["files"]}
    unit = str(what["unit"]).rpartition("/")[2]
    units = {unit, unit.removesuffix(".service")}
    lacking = {
        "units_missing": [u for u in words(report, "units_missing") if u not in units],
        "certs_missing": [p for p in words(report, "certs_missing") if p not in coming],
        "excused": [f["name"] for f in what["files"] if not report.get(f"{f['name']}_version")],
    }
    return {**report, **{name: " ".join(left) for name, left in lacking.items()}}


def is_the_blank_cluster(evidence: Evidence) -> Verdict:
    """Proves that the blank cluster which this very run began is there and whole, by the cluster
    id that follows from its token, and that nobody has written to it."""
    if evidence.values.get("start_blank") != "yes":
        return Verdict(findings=("no blank cluster was started",))
    ours = {
        "cluster_id": evidence.values.get("blank_cluster_id"),
        "token": evidence.values.get("blank_token"),
    }
    verdict = is_the_planned_cluster(replace(evidence, values={**evidence.values, **ours}))
    told = {host: voice(report).status for host, report in reports(evidence)[0].items()}
    written = [
        Problem(f"somebody has written to the blank cluster: revision {s.revision}", host)
        for host, s in told.items()
        if s is not None and s.revision > 1
    ]
    return replace(verdict, values={}, problems=verdict.problems + tuple(written))


def is_own_blank(evidence: Evidence, cluster_ids: Mapping[str, str], revision: int | None) -> bool:
    """Whether what answers is the blank cluster that this run began, with nothing in it."""
    own = evidence.values.get("blank_cluster_id")
    return bool(own) and set(cluster_ids.values()) == {own} and (revision or 0) <= 1
