"""Documents about plans and runs, as plain data and as text. Pure: no terminal, no file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from drctl.journal.diagnosis import (
    abandoned,
    commands,
    kept_places,
    left_out,
    reserved,
    restored_places,
    situation,
)
from drctl.journal.runstate import RunState
from drctl.plan.model import ALWAYS, Plan, PlannedStep, Task
from drctl.printable import one_line
from drctl.render import render


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


# -- a plan -------------------------------------------------------------------------------------


def _commands(task: Task) -> list[str]:
    commands = [f"upload {source}" for source in task.sources.values()]
    script = task.act or task.observe
    if script:
        commands.append(script.body)
    return commands


def plan_document(plan: Plan) -> dict[str, Any]:
    """`restore --dry-run --output json`: the very scripts of a run, in order of execution."""
    steps = [
        {
            "id": step.id,
            "phase": step.phase,
            "host": host,
            "action": step.action,
            "commands": _commands(task),
            "observe": task.observe.body if task.observe and task.act else "",
            "variables": {**dict.fromkeys(ALWAYS, "the run"), **task.env},
        }
        for step in plan.steps
        for host, task in step.tasks.items()
    ]
    return {
        "runbook": plan.runbook,
        "cluster": plan.cluster,
        "snapshot": plan.facts.get("snapshot"),
        "digest": plan.digest,
        "steps": steps,
        "wrapper": render("job/start.sh"),
        "claim": render("job/claim.sh"),
    }


def plan_text(plan: Plan) -> str:
    """What a dry run prints: phases, steps, hosts, and every command once per distinct body."""
    lines: list[str] = []
    phase = ""
    for step in plan.steps:
        if step.phase != phase:
            phase = step.phase
            lines += ["", phase]
        lines.append(f"  {step.id}: {step.title}")
        lines += _step_lines(step)
    lines += ["", "Every change runs on its node inside this wrapper:"]
    lines += [f"    {line}" for line in render("job/start.sh").splitlines() if line.strip()]
    return "\n".join(lines).lstrip("\n")


def _step_lines(step: PlannedStep) -> list[str]:
    bodies: dict[str, list[str]] = {}
    for host, task in step.tasks.items():
        for command in _commands(task):
            bodies.setdefault(command, []).append(host)
    lines = []
    for body, hosts in bodies.items():
        lines.append(f"    on {', '.join(hosts)}:")
        lines += [f"      {line}" for line in body.splitlines() if line.strip()]
    sources = {v: s for task in step.tasks.values() for v, s in task.env.items()}
    lines += [f"      # {variable}: {source}" for variable, source in sources.items()]
    return lines


# -- the question before a restore --------------------------------------------------------------


def snapshot_lines(snapshot: Mapping[str, Any]) -> list[str]:
    """What is known of a snapshot; a cluster's id only where its sidecar tells it."""
    proven = "" if snapshot.get("taken_at_proven") else " (the file's own time: unproven)"
    members = ", ".join(m["name"] for m in snapshot.get("members", ())) or "unknown"
    return [
        f"snapshot   {snapshot['path']}",
        f"           {human_bytes(snapshot['size'])}, sha256 {snapshot['sha256'][:16]}…, "
        f"every byte verified; revision {snapshot['revision']}",
        f"           taken {snapshot['taken_at']}{proven}, "
        f"{human_seconds(snapshot['age_seconds'])} ago",
        f"           of the members {members}; cluster {snapshot.get('cluster_id') or 'unknown'}",
    ]


def restore_summary(plan: Plan, state: RunState) -> str:
    """What the operator sees before typing the cluster's name."""
    values = state.values
    members = plan.facts["members"]
    snapshot = plan.facts.get("snapshot")
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
    ]
    lines += [f"keeps      {where}" for where in kept_at(plan, state)]
    bump = values.get("bump")
    lines.append(
        f"revision   raised by {bump} on every member"
        if bump
        else "revision   NOT raised: an etcdutl here cannot (before 3.5.10); watches may be stale"
    )
    if values.get("quorum"):
        known = values.get("live_cluster_id") or "(of unknown id)"
        lines.append(
            f"now        the old cluster {known} still answers with a quorum: this replaces it"
        )
        if not plan.runbook.endswith("staged"):
            lines.append(
                "           --staged would do better: it rebuilds while the cluster serves"
            )
    elif values.get("answering"):
        lines.append(
            f"now        no quorum; still answering: {', '.join(values['answering'])}, "
            f"of cluster {values.get('live_cluster_id') or 'unknown'}"
        )
    else:
        lines.append("now        no member of the old cluster answers")
    lines += [f"warning    {one_line(warning)}" for warning in state.warnings]
    return "\n".join(lines)


def abandon_lines(plan: Plan) -> list[str]:
    """What it means to go on without a host."""
    gone = plan.facts.get("abandoned", {})
    if not gone:
        return []
    left = len(plan.facts["members"])
    spare = (left - 1) // 2
    bear = f"{spare} may fail" if spare else "NONE may fail"
    return [
        f"without    {', '.join(gone)}: the new cluster has {left} members, of which {bear} until "
        "the rest is added again",
        *(f"           {line}" for line in abandoned(plan.facts)),
    ]


def back_again(plan: Plan) -> list[str]:
    """How the hosts that were given up become new members, one after the other, command by command:
    etcd takes only an --initial-cluster that names just those who are members by then."""
    lines = []
    members = plan.facts["members"].values()
    running = [f"{m['name']}={url}" for m in members for url in m["peer_urls"]]
    for host, member in plan.facts.get("abandoned", {}).items():
        if not member:
            continue
        paths = " ".join(member[name] for name in ("data_dir", "wal_dir") if member.get(name))
        running += [f"{member['name']}={url}" for url in member["peer_urls"]]
        lines += [
            f"to bring {host} back as a new member, later:",
            f"  1. there, before its etcd starts: rm -rf {paths}",
            f"  2. etcdctl --endpoints={next(iter(members))['client_urls'][0]} (with --cacert, "
            f"--cert, --key) member add {member['name']} "
            f"--peer-urls={','.join(member['peer_urls'])}",
            "  3. there, start etcd with --initial-cluster-state=existing "
            f"--initial-cluster={','.join(running)}",
        ]
    return lines


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
        f"prepares   {', '.join(hosts)}: new, blank hosts; what is there already stays as it is",
        f"           installs {', '.join(paths)}",
    ]
    if state.values.get("start_blank") == "yes":
        lines.append(
            "           and starts a blank cluster there first, to prove that all of it works"
        )
    if old != new:
        lines.append(f"addresses  the snapshot's members were {_addresses(old) or 'unknown'}")
        lines.append(f"           the restored members are    {_addresses(new)}")
        lines.append("           whoever uses etcd (apiservers: --etcd-servers) must be told")
    return lines


def _addresses(members: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {','.join(urls)}" for name, urls in sorted(members.items()))


def kept_at(plan: Plan, state: RunState) -> list[str]:
    """Where each member's old data is or will be."""
    return kept_places(plan.facts, state)


# -- a run --------------------------------------------------------------------------------------


def next_command(state: RunState) -> str:
    """What to type next."""
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
        "adopted": state.adopted or None,
        "cleaned": state.cleaned or None,
        "compared": state.compared or None,
        "snapshot": snapshot and {"path": snapshot["path"], "sha256": snapshot["sha256"]},
        "started": state.started,
        "finished": state.finished,
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
    """The last words of a run: what was not reached, and of a restore what to watch and to do."""
    restored = situation(state).word == "done"
    lines = [f"run {state.run} is done"]
    if restored:
        lines = [f"{plan.cluster} is restored and verified (run {state.run})"]
        lines += [f"old data kept: {place}" for place in kept_at(plan, state)]
    lines += [*abandoned(plan.facts), *back_again(plan)]
    gone = plan.facts.get("abandoned", {})
    missed = ((host, why) for host, why in state.unreached.items() if host not in gone)
    lines += [f"NOT REACHED: {host}: {why}" for host, why in missed]
    lines += [f"warning: {one_line(warning)}" for warning in state.warnings]
    lines += reserved(state)
    if not restored:
        return "\n".join(lines)
    lines += [
        "watch: pods created after the snapshot may run on until their kubelet restarts",
        f"now: take a new backup: {next_command(state)}",
    ]
    return "\n".join(lines)


def taken_back(state: RunState) -> str:
    """The last words of a rollback."""
    lines = [f"run {state.run} is taken back; the old data is in its place"]
    places = restored_places(state.plan.get("facts", {}), state)
    lines += [f"the restored data is kept, with what was written to it: {p}" for p in places]
    lines += [
        f"NOT REACHED: {host}: {known.detail}"
        for (step, host), known in state.hosts.items()
        if known.state == "unreachable" and step in state.later
    ]
    lines += left_out(state)
    lines += reserved(state)
    if places:
        lines.append(
            "watch: what watches Kubernetes from inside a pod has seen later revisions than the "
            "old data has: restart it"
        )
    return "\n".join(lines)
