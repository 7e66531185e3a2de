"""Can every host take a restore? Asked before anything is stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from drctl.answer import Answer
from drctl.etcd.answers import parse_version, version_tuple
from drctl.etcd.judges.blank import EXCUSED, without_the_lacking
from drctl.etcd.judges.clocks import clock_warnings
from drctl.etcd.judges.common import (
    LATEST,
    Reports,
    agreed,
    expected_members,
    forgotten,
    read,
    reports,
    spelled,
)
from drctl.etcd.judges.paths import unsafe_paths
from drctl.etcd.judges.places import noexec
from drctl.verdict import Gathered, Problem, Verdict

WAL_BYTES = 64_000_000  # preallocated by each restored member (measured, etcd 3.5.16)
SPACE_MARGIN = 1.1
_BUMP_FLAGS = {"bump-revision", "mark-compacted"}
PRIVATE = "700"
_OLDEST = (3, 5)
_TOOLS = ("etcd", "etcdctl", "etcdutl")
_REQUIRED = ("data_kind", "wal_kind", "stage", "data_free", "same_fs", "manager")
_PLACES = {"directory": ".drctl", "absent": ".drctl", "symlink": "/.drctl", "mount": "/.drctl"}
"""Where the stage is by what the directory is: beside it, or in it."""


def can_restore(gathered: Gathered) -> Verdict:
    """Proves that each host has the tools, units, certificates, versions, space and directories
    that the restore will need (etcd-facts.md: "Snapshot file", "etcdutl snapshot restore"). What
    a host lacks and `prepare` installs there (facts["prepare"]) is excused.

    Yields per host `stage`, `wal_stage`, `owner`, `mode`; and `can_bump`, true where every etcdutl
    that is there knows the bump flags.
    """
    found, problems = reports(gathered)
    problems += forgotten(gathered, "missing")
    return _judged(gathered, without_the_lacking(gathered, found), problems)


def is_prepared(gathered: Gathered) -> Verdict:
    """The same of hosts that were prepared, with nothing excused. Yields the same, with what was
    known of the other hosts."""
    found, problems = reports(gathered)
    verdict = _judged(gathered, found, problems)
    known = gathered.values
    merged = {
        name: {**known.get(name, {}), **verdict.values[name]}
        for name in ("stage", "wal_stage", "owner", "mode")
    }
    can_bump = verdict.values["can_bump"] and bool(known.get("can_bump", True))
    return replace(verdict, values={**merged, "can_bump": can_bump})


def _judged(gathered: Gathered, found: Reports, problems: list[Problem]) -> Verdict:
    told = {host: report for host, report in found.items() if not _unsaid(report)}
    for host in (host for host in found if host not in told):
        problems.append(Problem(f"did not report {_unsaid(found[host])}", host, None, "missing"))
    values, garbled = read(told, lambda host, report: _host_values(gathered, host, report))
    found = {host: report for host, report in told.items() if host in values}
    judged, unreadable = read(found, partial(_host_problems, gathered.facts.get("snapshot")))
    found = {host: found[host] for host in judged}
    problems += [*garbled, *unreadable, *(p for each in judged.values() for p in each)]
    problems += _mixed_versions(found)
    warnings = [*_host_warnings(found, values), *_snapshot_warnings(gathered)]
    clocks = {host: report.number_or_none("now", most=LATEST) for host, report in found.items()}
    warnings += clock_warnings(gathered, {h: now for h, now in clocks.items() if now is not None})
    values = {host: values[host] for host in found}
    return Verdict(_values(found, values), tuple(problems), tuple(warnings), _findings(found))


def _unsaid(report: Answer) -> str:
    return ", ".join(name for name in _REQUIRED if name not in report)


def _host_problems(snapshot: Mapping[str, Any] | None, host: str, report: Answer) -> list[Problem]:
    space = _space(host, report, int(snapshot["size"])) if snapshot else ()
    return [
        *unsafe_paths(host, report),
        *_blank(host, report),
        *_certificates(host, report),
        *_versions(host, report, snapshot),
        *_directories(host, report),
        *space,
    ]


def _blank(host: str, report: Answer) -> Iterator[Problem]:
    excused = {*report.words(EXCUSED), *(t for t in _TOOLS if report.get(f"unsafe.{t}"))}
    if image_missing := report.text("image_missing"):
        hint = "fix that there, or use programs on the hosts (etcd.tools: host, etcd.etcdutl: FILE)"
        yield Problem(f"cannot run etcd's programs from its image: {image_missing}", host, hint)
        excused |= {*_TOOLS}
    excused |= {*_TOOLS} if noexec(report) else set()  # they may be there: `places` says why
    missing = [t for t in _TOOLS if not report.get(f"{t}_version") and t not in excused]
    missing += [f"unit {unit}" for unit in report.words("units_missing")]
    if missing:
        yield Problem(
            f"is not prepared; missing: {', '.join(missing)}",
            host,
            "install them (step 1 of the procedure), or fix etcd.bin_dir and services in the "
            "inventory",
        )
    if tools := report.words("tools_missing"):
        yield Problem(
            f"missing tools: {', '.join(tools)}", host, "install util-linux and coreutils"
        )
    if report["manager"] != "ok":
        yield Problem(
            f"cannot stop or start its services: {report.text('manager')}",
            host,
            "fix that there, or the services' managers in the inventory",
        )


def _certificates(host: str, report: Answer) -> Iterator[Problem]:
    if paths := report.words("certs_missing"):
        yield Problem(
            f"missing or unreadable: {', '.join(paths)}",
            host,
            "put the files there, or fix etcd.tls in the inventory",
        )
    if paths := report.words("certs_expired"):
        yield Problem(f"expired: {', '.join(paths)}", host, "renew them first")
    if not (text := report.text("cert_not_after")):
        return
    expiry, now = _moment(text), report.number_or_none("now", most=LATEST)
    if expiry is None or now is None:
        yield Problem(f"cannot read when its certificate expires: {text!r}", host, None, "missing")
    elif expiry.timestamp() <= now:
        yield Problem(
            f"its etcd certificate expired at {expiry:%Y-%m-%d %H:%M} UTC; by its own clock it is "
            f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} there",
            host,
            "renew it first; or set its clock, if that is wrong",
        )


def _moment(text: str) -> datetime | None:
    """ISO 8601, or `notAfter=Nov 23 18:23:46 2026 GMT`. Without a zone it is UTC."""
    text = text.removeprefix("notAfter=").strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.strptime(text, "%b %d %H:%M:%S %Y GMT")
        except ValueError:
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _version(report: Answer, tool: str) -> str:
    return parse_version(report.get(f"{tool}_version", ""))


def _minor(text: str) -> tuple[int, int] | None:
    version = version_tuple(text)
    return version[:2] if version else None


def _versions(host: str, report: Answer, snapshot: Mapping[str, Any] | None) -> Iterator[Problem]:
    etcd, etcdutl = _version(report, "etcd"), _version(report, "etcdutl")
    server, tool = _minor(etcd), _minor(etcdutl)
    if server is None or tool is None:
        return  # absent, which _blank reports, or unreadable, which is the same to us
    if tool < _OLDEST:
        yield Problem(f"etcdutl {etcdutl} is older than 3.5", host, "install etcd 3.5 or newer")
    if tool != server:
        yield Problem(
            f"etcdutl {etcdutl} and etcd {etcd} have different minor versions",
            host,
            "install both from the same release",
        )
    for name in ("cluster_version", "storage_version"):
        made_by = _minor(str((snapshot or {}).get(name) or ""))
        if made_by and made_by > min(server, tool):
            yield Problem(
                f"the snapshot comes from etcd {made_by[0]}.{made_by[1]}, newer than etcd {etcd} "
                "here",
                host,
                "install the release that made the snapshot",
            )
            return


def _directories(host: str, report: Answer) -> Iterator[Problem]:
    for name, allowed in (("data", {*_PLACES}), ("wal", {*_PLACES, "none"})):
        kind = report[f"{name}_kind"]
        if kind not in allowed:
            yield Problem(
                f"the path of its {name} directory is not a directory "
                f"({report.text(f'{name}_kind')})",
                host,
                f"fix etcd.{name}_dir in the inventory, or move that away yourself",
            )


def _space(host: str, report: Answer, size: int) -> Iterator[Problem]:
    """The file and the database made from it, and the WAL, beside the old data that is kept."""
    apart = report.one_of("same_fs", "yes", "no", "none") == "no"
    data = 2 * size + (0 if apart else WAL_BYTES)
    needs = {"data": data, **({"wal": WAL_BYTES} if apart else {})}
    for name, bytes_needed in needs.items():
        free, need = report.number_or_none(f"{name}_free"), int(bytes_needed * SPACE_MARGIN)
        if free is None:
            yield Problem(f"did not report free space for {name}", host, None, "missing")
        elif free < need:
            yield Problem(
                f"too little space for its {name} directory: {free} bytes free, {need} needed",
                host,
                "free space on that filesystem; the old data stays there and does not count",
            )


def _mixed_versions(found: Reports) -> Iterator[Problem]:
    versions = {host: _version(report, "etcdutl") for host, report in found.items()}
    versions = {host: version for host, version in versions.items() if version}
    if len(set(versions.values())) > 1:
        yield Problem(
            f"etcdutl differs between the hosts ({spelled(versions)})",
            hint="install the same release on all hosts: members must be restored alike",
        )


def _can_bump(report: Answer) -> bool:
    flags = report.words("restore_flags")
    return _BUMP_FLAGS.issubset(flags) or "etcdutl" in report.words(EXCUSED)


def _host_values(gathered: Gathered, host: str, report: Answer) -> dict[str, str]:
    """What a host says that later scripts on it are given. Raises AnswerError, also for what is
    asked of all hosts at once below."""
    report.number_or_none("now", most=LATEST)
    report.words("restore_flags")
    member = expected_members(gathered).get(host, {})
    return {
        "stage": _stage(report, "", member.get("data_dir")),
        "wal_stage": _stage(report, "wal_", member.get("wal_dir")),
        "owner": str(member.get("owner") or report.owner("data_owner")),
        "mode": PRIVATE if _is_odd(report) else report.mode("data_mode") or PRIVATE,
    }


def _is_odd(report: Answer) -> bool:
    """A mode that no new directory gets: everybody writes, or it is setuid or sticky."""
    mode = int(report.mode("data_mode") or PRIVATE, 8)
    return bool(mode & 0o5002)


def _stage(report: Answer, which: str, directory: str | None) -> str:
    """One of the two places that there are for what the plan names; "" where it names nothing."""
    if not directory:
        return report.one_of(f"{which}stage", "")
    kind = report.get(f"{which or 'data_'}kind", "")
    places = {_PLACES[kind]} if kind in _PLACES else set(_PLACES.values())
    return report.one_of(f"{which}stage", *(directory + place for place in sorted(places)))


def _host_warnings(found: Reports, values: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    buggy = {
        host: version
        for host, report in found.items()
        if (3, 5, 0)
        <= (version_tuple(version := _version(report, "etcd")) or (0, 0, 0))
        < (3, 5, 3)
    }
    if buggy:
        yield (
            f"etcd 3.5.0 to 3.5.2 can lose consistency between members after a crash "
            f"({spelled(buggy)}): upgrade soon"
        )
    for host, report in sorted(found.items()):
        if host in values and _is_odd(report):
            yield (
                f"the data directory of {host} has mode {report.mode('data_mode')}: the new one "
                f"gets {PRIVATE}"
            )
    if unable := [host for host, report in sorted(found.items()) if not _can_bump(report)]:
        yield (
            f"etcdutl cannot bump the revision on {', '.join(unable)} (needs 3.5.10 or newer): "
            "revisions go backwards, and every client with a watch must be restarted"
        )
    if ownerless := [host for host in sorted(found) if not values[host]["owner"]]:
        yield (
            f"no old data directory shows who owns the new one on {', '.join(ownerless)}: set "
            "etcd.owner, unless etcd runs as the user that restores"
        )


def _snapshot_warnings(gathered: Gathered) -> Iterator[str]:
    snapshot = gathered.facts.get("snapshot")
    if not snapshot:
        return
    if alarms := sorted({alarm["kind"] for alarm in snapshot.get("alarms", ())}):
        yield (
            f"the snapshot contains the alarm {', '.join(alarms)}: it comes back with the data"
            + (", and drctl disarms it after a defragmentation" if alarms == ["NOSPACE"] else "")
        )
    if not snapshot.get("taken_at_proven", True):
        yield f"unverified snapshot time: {snapshot.get('taken_at')} is the file's mtime"
    if runs := snapshot.get("unfinished_runs"):
        yield (
            f"the snapshot was taken while run {', '.join(map(str, runs))} was unfinished: it may "
            "be of a cluster that was half restored"
        )
    yield from _other_members(gathered, snapshot)


def _other_members(gathered: Gathered, snapshot: Mapping[str, Any]) -> Iterator[str]:
    theirs = {(m["name"], tuple(sorted(m["peer_urls"]))) for m in snapshot.get("members", ())}
    ours = {
        (str(m["name"]), tuple(sorted(m["peer_urls"]))) for m in expected_members(gathered).values()
    }
    if theirs and theirs != ours:
        yield (
            f"the snapshot's members ({_named(theirs)}) are not the inventory's ({_named(ours)}): "
            "is it from another cluster?"
        )


def _named(members: set[tuple[str, tuple[str, ...]]]) -> str:
    return "; ".join(f"{name or 'unnamed'} {','.join(urls)}" for name, urls in sorted(members))


def _values(found: Reports, values: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    names = ("stage", "wal_stage", "owner", "mode")
    return {
        **{name: {host: told[name] for host, told in values.items()} for name in names},
        "can_bump": bool(found) and all(map(_can_bump, found.values())),
    }


def _findings(found: Reports) -> tuple[str, ...]:
    version = agreed({host: _version(report, "etcdutl") for host, report in found.items()})
    return (f"{len(found)} hosts examined, etcdutl {version}",) if version else ()
