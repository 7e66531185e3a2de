"""Documents about plans and runs, as plain data and as text. Pure: no terminal, no file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from drctl.errors import DrctlError
from drctl.journal.abandoned import abandoned, back_again, back_again_lines
from drctl.journal.diagnosis import (
    bring_back,
    commands,
    kept_places,
    left_out,
    old_data,
    reserved,
    restored_places,
    situation,
)
from drctl.journal.outage import outage
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan
from drctl.printable import one_line


def human_bytes(size: float) -> str:
    """`size` bytes with a decimal unit: 492.0 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_seconds(seconds: float) -> str:
    """`seconds` as a person says it: 2.4 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    minutes, secs = divmod(rest, 60)
    if whole.days:
        return f"{whole.days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {secs} s"


def error_document(error: DrctlError) -> dict[str, Any]:
    """What `--output json` prints of an error."""
    told = {
        "code": error.code,
        "exit": error.exit_code,
        "message": error.message,
        "host": error.host,
        "hint": error.hint,
    }
    return {"error": told, **({"situation": error.situation} if error.situation else {})}


# -- the question before a restore --------------------------------------------------------------


def snapshot_lines(snapshot: Mapping[str, Any]) -> list[str]:
    """What is known of a snapshot; a cluster's id only where its sidecar tells it."""
    proven = "" if snapshot.get("taken_at_proven") else " (the file's own timestamp: not verified)"
    members = ", ".join(m["name"] for m in snapshot.get("members", ())) or "unknown"
    ago = f"{human_seconds(snapshot['age_seconds'])} ago"
    if ahead := snapshot.get("ahead_seconds"):
        ago = f"{human_seconds(ahead)} in the FUTURE by this machine's clock: its age is not known"
    return [
        f"snapshot   {snapshot['path']}",
        f"           {human_bytes(snapshot['size'])}, sha256 {snapshot['sha256'][:16]}…, "
        f"every byte verified; revision {snapshot['revision']}",
        f"           taken {snapshot['taken_at']}{proven}, {ago}",
        f"           members {members}; cluster {snapshot.get('cluster_id') or 'unknown'}",
    ]


def restore_summary(plan: Plan, state: RunState) -> str:
    """What the operator sees before typing the cluster's name."""
    values = state.values
    members = plan.facts["members"]
    snapshot = plan.facts.get("snapshot")
    kept = kept_places(plan.facts, state)
    stops = dict.fromkeys(
        f"{step.service} on {', '.join(step.hosts)}" for step in plan.steps if step.want == "fenced"
    )
    lines = [
        f"cluster    {plan.cluster}",
        *(snapshot_lines(snapshot) if snapshot else ()),
        "restore to " + ", ".join(m["name"] for m in members.values()),
        *abandon_lines(plan),
        *prepare_lines(plan, state),
        "stops      " + "; ".join(stops),
        f"outage     {expected_outage(plan, state)}",
    ]
    lines.append("keeps      the old data, where there is any:")
    lines += [f"           {place}" for place in kept]
    bump = values.get("bump")
    lines.append(
        f"revision   raised by {bump} on every member"
        if bump
        else "revision   not raised: etcdutl is older than 3.5.10 on at least one host; "
        "watches may be stale"
    )
    if values.get("quorum"):
        known = values.get("live_cluster_id") or "(id unknown)"
        lines.append(f"now        the old cluster {known} still has a quorum: this run replaces it")
        if not plan.runbook.endswith("staged"):
            lines.append("           --staged is better: it rebuilds while the old cluster serves")
    elif values.get("answering"):
        lines.append(
            f"now        no quorum; still answering: {', '.join(values['answering'])}, "
            f"of cluster {values.get('live_cluster_id') or 'unknown'}"
        )
    else:
        lines.append("now        no member of the old cluster answers")
    lines += [f"warning    {one_line(warning)}" for warning in state.warnings]
    return "\n".join(lines)


def expected_outage(plan: Plan, state: RunState) -> str:
    """How long services will be away, from what earlier runs here measured."""
    known = (state.plan.get("facts") or plan.facts).get("outages") or {}
    if not known:
        return "not measured yet: no run of this runbook has finished on this cluster from here"
    took = [human_seconds(seconds) for seconds in known.values()]
    return f"about {took[0]}, as in run {next(iter(known))}" + (
        f" (before that: {', '.join(took[1:])})" if took[1:] else ""
    )


def abandon_lines(plan: Plan) -> list[str]:
    """What it means to restore without a host."""
    gone = plan.facts.get("abandoned", {})
    if not gone:
        return []
    left = len(plan.facts["members"])
    spare = (left - 1) // 2
    bears = f"{spare} failure{'s' * (spare > 1)}" if spare else "NO failure"
    return [
        f"without    {', '.join(gone)}: the new cluster has {left} members and tolerates {bears} "
        "until you add the rest again",
        *(f"           {line}" for line in abandoned(plan.facts)),
    ]


def prepare_lines(plan: Plan, state: RunState) -> list[str]:
    """What is new: the hosts, what is installed there, and the addresses, the snapshot's and the
    inventory's. Nothing where no host is to be prepared."""
    prepare = plan.facts.get("prepare")
    if not prepare:
        return []
    hosts = prepare["hosts"]
    paths = {p: None for w in hosts.values() for p in (*(f["path"] for f in w["files"]), w["unit"])}
    old = {m["name"]: m["peer_urls"] for m in (plan.facts.get("snapshot") or {}).get("members", ())}
    new = {m["name"]: m["peer_urls"] for m in plan.facts["members"].values()}
    lines = [
        f"prepares   {', '.join(hosts)}: new, blank hosts; nothing that exists there is replaced",
        f"           installs {', '.join(paths)}",
    ]
    if state.values.get("start_blank") == "yes":
        lines.append(
            "           starts a blank cluster there first, to test hosts, certificates and ports"
        )
    if old != new:
        lines.append(f"addresses  the snapshot's members were {_addresses(old) or 'unknown'}")
        lines.append(f"           the restored members are    {_addresses(new)}")
        lines.append(
            "           point etcd's clients (apiservers: --etcd-servers) at the new addresses"
        )
    return lines


def _addresses(members: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {','.join(urls)}" for name, urls in sorted(members.items()))


# -- a run --------------------------------------------------------------------------------------


def next_command(state: RunState) -> str:
    """The command to run next."""
    return commands(state)[0]


def run_document(state: RunState) -> dict[str, Any]:
    """`runs show --output json`."""
    phases = {step["id"]: step["phase"] for step in state.plan.get("steps", ())}
    snapshot = state.plan.get("facts", {}).get("snapshot")
    return {
        "run": state.run,
        "cluster": state.cluster,
        "state": state.state,
        "changed": state.changed,
        "runbook": state.runbook,
        "inventory": state.inventory,
        "abandoned": sorted(state.plan.get("facts", {}).get("abandoned", {})),
        "bring_back": bring_back(state),
        "adopted": state.adopted or None,
        "cleaned": state.cleaned or None,
        "compared": state.compared or None,
        "snapshot": snapshot and {"path": snapshot["path"], "sha256": snapshot["sha256"]},
        "started": state.started,
        "finished": state.finished,
        "outage_seconds": outage(state),
        "steps": [
            {
                "id": step,
                "phase": phases.get(step, "rollback"),
                "host": host,
                "state": known.state,
                "started": known.started,
                "finished": known.finished,
                "seconds": round(known.seconds, 3),
                "detail": known.detail,
            }
            for (step, host), known in state.hosts.items()
        ],
        "findings": state.findings,
        "warnings": state.warnings,
        "unreached": state.unreached,
        "reserved": sorted(state.left_over),
        "values": state.values,
        "error": state.error,
        "situation": situation(state).document(),
        "next": next_command(state),
    }


def hand_over(plan: Plan, state: RunState) -> str:
    """The end of a run: what was unreachable, and of a restore what to watch for and to do now."""
    restored = situation(state).word == "done"
    lines = [f"run {state.run} is done"]
    if restored:
        lines = [f"{plan.cluster} is restored and verified (run {state.run})"]
        if (took := outage(state)) is not None:
            lines.append(
                f"outage: {human_seconds(took)}, from the first stop to the last that was ready"
            )
        lines += [f"old data kept: {place}" for place in old_data(plan.facts, state)]
    lines += [*abandoned(plan.facts), *back_again_lines(back_again(plan.facts))]
    gone = plan.facts.get("abandoned", {})
    missed = ((host, why) for host, why in state.unreached.items() if host not in gone)
    lines += [f"UNREACHABLE: {host}: {why}" for host, why in missed]
    lines += [f"warning: {one_line(warning)}" for warning in state.warnings]
    lines += reserved(state)
    if not restored:
        return "\n".join(lines)
    lines += [
        "watch: pods created after the snapshot may keep running until their kubelet restarts",
        f"now: take a new backup: {next_command(state)}",
    ]
    return "\n".join(lines)


def taken_back(state: RunState) -> str:
    """The end of a rollback."""
    lines = [f"run {state.run} is rolled back; the old data is back in place"]
    places = restored_places(state.plan.get("facts", {}), state)
    lines += [f"restored data kept, with what was written to it: {p}" for p in places]
    lines += [
        f"UNREACHABLE: {host}: {known.detail}"
        for (step, host), known in state.hosts.items()
        if known.state == "unreachable" and step in state.later
    ]
    lines += left_out(state)
    lines += reserved(state)
    if places:
        lines.append(
            "watch: restart clients that cached the restored state (what watches Kubernetes from "
            "inside a pod): they have seen later revisions than the old data has"
        )
    return "\n".join(lines)
