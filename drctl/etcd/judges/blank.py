"""New hosts: what may be installed there, and whether the blank cluster on them is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from drctl.answer import Answer
from drctl.etcd.judges.common import Reports, expected_members, members_heard, reports
from drctl.etcd.judges.paths import unsafe_paths
from drctl.etcd.judges.restored import is_the_planned_cluster
from drctl.verdict import Gathered, Problem, Verdict

EXCUSED = "(excused)"  # no name that an answer can have
_MOVE = "move it away yourself, or leave this host out of `prepare`: drctl replaces nothing there"


def can_prepare(gathered: Gathered) -> Verdict:
    """Proves that whatever `prepare` installs finds its place free, or the very same there, and
    that no etcd and no data of one is on a host where anything is still to be installed.

    Yields `start_blank`: yes where every member's host is empty, so that a blank cluster can prove
    hosts, certificates and ports; no where one holds data (it may be all that is left).
    """
    found, problems = reports(gathered)
    prepare = gathered.facts.get("prepare") or {"hosts": {}}
    planned = {host: _planned(prepare, host) for host in found}
    for host, report in list(found.items()):
        if unsaid := [
            name for name in (*planned[host], "holds", "ports_taken") if name not in report
        ]:
            problems.append(Problem(f"did not report {', '.join(unsaid)}", host, None, "missing"))
            del found[host]
    states = {host: _states(report, planned[host]) for host, report in found.items()}
    for host, report in found.items():
        problems += unsafe_paths(host, report)
        problems += _occupied(host, report, states[host])
        problems += _unfit(host, report, prepare)
    holding = {host: said for host, report in found.items() if (said := report.text("holds"))}
    alone = [host for host in expected_members(gathered) if host not in found]
    blank = not holding and not alone
    return Verdict(
        {"start_blank": "yes" if blank else "no"},
        tuple(problems),
        tuple(prepare.get("warnings", ())) + tuple(_unproven_hosts(holding, alone)),
        tuple(_findings(states)),
    )


def _planned(prepare: Mapping[str, Any], host: str) -> dict[str, str]:
    """{the line that tells of it: path} of everything that is to be installed on `host`."""
    what = prepare["hosts"].get(host)
    files = {f"there.{file['name']}": file["path"] for file in what["files"]} if what else {}
    return {**files, "there.unit": what["unit"]} if what else files


def _states(report: Answer, planned: Mapping[str, str]) -> dict[str, str]:
    """{path: absent, same, or something else}; the path is the plan's, whatever the host says."""
    return {path: report[name].partition(" ")[0] for name, path in planned.items()}


def _occupied(host: str, report: Answer, states: Mapping[str, str]) -> Iterator[Problem]:
    others = [path for path, state in states.items() if state not in ("absent", "same")]
    if others:
        yield Problem(f"has other files at {', '.join(others)}", host, _MOVE)
    if unit := report.text("unit_elsewhere"):
        yield Problem(f"already has a unit of that name: {unit}", host, _MOVE)
    if all(state == "same" for state in states.values()):
        return  # prepared before: what runs and lies there is this cluster's own
    if drop_ins := report.text("drop_ins"):
        yield Problem(f"has drop-ins that would change the unit: {drop_ins}", host, _MOVE)
    if entry := report.text("holds"):
        yield Problem(f"already has data: {entry}", host, _MOVE)
    if ports := report.text("ports_taken"):
        yield Problem(f"port already in use: {ports}", host, _MOVE)


def _unfit(host: str, report: Answer, prepare: Mapping[str, Any]) -> Iterator[Problem]:
    wanted, arch = prepare.get("arch"), report.text("arch")
    if wanted and arch != wanted:
        yield Problem(
            f"its CPU is {arch or 'unknown'}, but the binaries are for {wanted}",
            host,
            "provide binaries for its CPU",
        )
    if missing := report.text("owner_missing"):
        yield Problem(
            f"{missing} in etcd.owner does not exist",
            host,
            "create it there, or drop etcd.owner",
        )
    if path := report.text("owner_wrong"):
        yield Problem(
            f"{path} does not belong to etcd.owner, who could not write there",
            host,
            "chown it there, or remove the empty directory",
        )


def _unproven_hosts(holding: Mapping[str, str], alone: list[str]) -> Iterator[str]:
    if holding:
        places = ", ".join(f"{host}:{path}" for host, path in holding.items())
        yield f"hosts not tested with a blank cluster: there is data at {places}"
    elif alone:
        yield f"hosts not tested with a blank cluster: not in `prepare`: {', '.join(alone)}"


def _findings(found: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for host, states in found.items():
        new = list(states.values()).count("absent")
        yield f"{host}: {new} files to install, {len(states) - new} already there"


def without_the_lacking(gathered: Gathered, found: Reports) -> dict[str, Answer]:
    """The reports with what `prepare` will bring taken out of what is missing: EXCUSED names the
    tools."""
    hosts = (gathered.facts.get("prepare") or {"hosts": {}})["hosts"]
    return {
        host: _excuse(report, hosts[host]) if host in hosts else report
        for host, report in found.items()
    }


def _excuse(report: Answer, what: Mapping[str, Any]) -> Answer:
    coming = {file["path"] for file in what["files"]}
    unit = str(what["unit"]).rpartition("/")[2]
    units = {unit, unit.removesuffix(".service")}
    lacking = {
        "units_missing": [u for u in report.get("units_missing", "").split() if u not in units],
        "certs_missing": [p for p in report.get("certs_missing", "").split() if p not in coming],
        EXCUSED: [f["name"] for f in what["files"] if not report.get(f"{f['name']}_version")],
    }
    return Answer(report.host, {**report, **{name: " ".join(w) for name, w in lacking.items()}})


def is_the_blank_cluster(gathered: Gathered) -> Verdict:
    """Proves that the blank cluster which this very run began is there and whole, by the cluster
    id that follows from its token, and that nobody has written to it."""
    if gathered.values.get("start_blank") != "yes":
        return Verdict(findings=("no blank cluster was started",))
    ours = {
        "cluster_id": gathered.values.get("blank_cluster_id"),
        "token": gathered.values.get("blank_token"),
    }
    verdict = is_the_planned_cluster(replace(gathered, values={**gathered.values, **ours}))
    told = {host: voice.status for host, voice in members_heard(gathered)[0].items()}
    written = [
        Problem(f"someone wrote to the blank cluster: revision {s.revision}", host)
        for host, s in told.items()
        if s is not None and s.revision > 1
    ]
    return replace(verdict, values={}, problems=verdict.problems + tuple(written))


def is_own_blank(gathered: Gathered, cluster_ids: Mapping[str, str], revision: int | None) -> bool:
    """Whether what answers is the blank cluster that this run began, with nothing in it."""
    own = gathered.values.get("blank_cluster_id")
    return bool(own) and set(cluster_ids.values()) == {own} and (revision or 0) <= 1
