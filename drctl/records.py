"""What the nodes keep of a run, read back: enough to rebuild a journal that is lost, and to mend
one that lost its tail.

A node keeps under its work_dir `owner` (which run, epoch and controller it belongs to), and for
each run a manifest, the record of its end, and of every job what was observed before it
(`templates/job`). Pure but for `ask`, which sends a script that only reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from drctl.errors import ConnectionLost, LockHeld, Refused, Unreachable
from drctl.jobs import fields
from drctl.plan import Plan
from drctl.render import render_script
from drctl.runstate import RunState
from drctl.transport import Transport

ASK_SECONDS = 60.0
Fact = tuple[str, dict[str, Any]]
"""An event for the journal: kind and body."""


@dataclass(frozen=True)
class JobRecord:
    """A job that was started on a node; `seen` is what was observed before it."""

    step: str
    attempt: int
    epoch: int
    direction: str
    at: str
    seen: dict[str, str]
    status: int | None  # None: it runs still, or its end was never written


@dataclass(frozen=True)
class NodeRecord:
    """What one node keeps of one run. `now` and `last` are seconds by the node's own clock."""

    owner: Mapping[str, str] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    jobs: tuple[JobRecord, ...] = ()
    now: int = 0
    last: int = 0


def ask(
    transport: Transport,
    work_dirs: Mapping[str, str],
    script: str,
    run: str = "",
    *,
    parallel: int = 8,
) -> tuple[dict[str, str], dict[str, str]]:
    """(what each host answered, why each of the others did not)."""
    silent: dict[str, str] = {}

    def question(host: str) -> str:
        env = {"DRCTL_WORK": work_dirs[host], "DRCTL_HOST": host, "DRCTL_RUN": run}
        try:
            told = transport.run(host, render_script(script), env, deadline=ASK_SECONDS)
        except (Unreachable, ConnectionLost) as error:
            silent[host] = error.message
            return ""
        if not told.ok:
            why = told.stderr.strip()[-300:]
            raise Refused(f"cannot read {work_dirs[host]}: {why}", host=host)
        return told.stdout

    with ThreadPoolExecutor(max_workers=max(1, min(parallel, len(work_dirs)))) as pool:
        told = dict(zip(work_dirs, pool.map(question, work_dirs), strict=True))
    return {host: text for host, text in told.items() if host not in silent}, silent


def read_record(host: str, run: str, text: str) -> NodeRecord:
    """Parse templates/node/records; raises Refused for a record that cannot be read: a missing
    observation would make an undo do the wrong thing."""
    files: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        files.setdefault(name, []).append(rest)
    try:
        owner = fields("\n".join(files.get("owner", ())))
        jobs = sorted(
            {name.split("/")[2] for name in files if name.startswith(f"{run}/jobs/")},
        )
        return NodeRecord(
            owner=owner,
            manifest=_document(files.get(f"{run}/manifest.json")),
            record=_document(files.get(f"{run}/record.json")),
            jobs=tuple(_job(name, f"{run}/jobs/{name}", files) for name in jobs),
            now=int("".join(files.get("now", ())) or 0),
            last=int("".join(files.get("last", ())) or 0),
        )
    except (ValueError, KeyError, IndexError) as error:
        raise Refused(
            f"the records of run {run} there cannot be read: {error}",
            host=host,
            hint="look at the run's folder under the host's work_dir before deciding",
        ) from error


def _document(lines: list[str] | None) -> dict[str, Any] | None:
    if not lines:
        return None
    document = json.loads("\n".join(lines))
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def _job(name: str, folder: str, files: Mapping[str, list[str]]) -> JobRecord:
    step, _, attempt = name.rpartition("-")
    started = files[f"{folder}/started"]
    known = fields("\n".join(started))
    seen = json.loads(started[-1])
    status = "".join(files.get(f"{folder}/status", ()))
    older = "undo" if step.startswith("undo-") else "forward"  # a record without a direction
    return JobRecord(
        step=step,
        attempt=int(attempt),
        epoch=int(known["epoch"]),
        direction=known.get("direction", older),
        at=known.get("at", ""),
        seen={str(k): str(v) for k, v in seen.items()},
        status=int(status) if status else None,
    )


# -- which records belong together --------------------------------------------------------------


def newest_manifest(run: str, nodes: Mapping[str, NodeRecord]) -> Mapping[str, Any] | None:
    """The manifest that was written last, None where no node has one (or only one of an older
    drctl, which kept too little). Raises Refused where the nodes do not tell of one and the same
    run."""
    found = {h: n.manifest for h, n in nodes.items() if n.manifest and "meaning" in n.manifest}
    if not found:
        return None
    newest = max(found.values(), key=_age)
    for host, manifest in found.items():
        for what, one, other in (
            ("snapshot", _sha256(manifest), _sha256(newest)),
            ("plan", manifest["plan"], _known_plan(manifest, newest)),
            ("journal", *_journals(manifest, newest)),
        ):
            if one != other:
                raise Refused(
                    f"the nodes disagree about run {run}: the {what} is {str(one)[:16]}… here, "
                    f"{str(other)[:16]}… in the newest manifest",
                    host=host,
                    hint=f"look at {run}/manifest.json under each host's work_dir before deciding",
                )
    return newest


def _age(manifest: Mapping[str, Any]) -> tuple[int, int]:
    return int(manifest["epoch"]), int(manifest["values_at"])


def _sha256(manifest: Mapping[str, Any]) -> str:
    return str(manifest["snapshot"].get("sha256", ""))


def _known_plan(manifest: Mapping[str, Any], newest: Mapping[str, Any]) -> str:
    """The manifest's plan if the newest one came out of it (by accepted drift), else the newest."""
    plan: str = manifest["plan"] if manifest["plan"] in newest["plans"] else newest["plan"]
    return plan


def _journals(manifest: Mapping[str, Any], newest: Mapping[str, Any]) -> tuple[str, str]:
    """Two controllers in one epoch cannot be; of another epoch another journal may have written."""
    same_epoch = manifest["epoch"] == newest["epoch"]
    return manifest["journal"] if same_epoch else "", newest["journal"] if same_epoch else ""


def refuse_other_owners(run: str, nodes: Mapping[str, NodeRecord]) -> None:
    """Raises LockHeld where a node belongs to another run."""
    for host, node in nodes.items():
        if node.owner.get("run", run) != run:
            raise LockHeld(
                f"the node belongs to run {node.owner['run']} of {node.owner.get('who')} since "
                f"{node.owner.get('since')}, not to {run}",
                host=host,
                hint="end that run first: it resumes, or is rolled back",
            )


# -- what a journal does not know ---------------------------------------------------------------


def refuse_if_taken_over(state: RunState, nodes: Mapping[str, NodeRecord]) -> None:
    """Raises LockHeld where another journal of the same run has claimed the nodes since."""
    newest = newest_manifest(state.run, nodes)
    if newest is None or newest["journal"] == state.journal or not state.journal:
        return
    before = (state.adopted.get("journal"), state.adopted.get("epoch", 0))
    if newest["journal"] == before[0] and newest["epoch"] <= before[1]:
        return  # the controller whose nodes were adopted has not come back
    raise LockHeld(
        f"run {state.run} was taken over by {newest['who']} (session {newest['epoch']}): the "
        "journal on this machine is no longer the one that counts",
        hint="go on there; or, if that machine is gone: drctl runs adopt "
        f"{state.run} --inventory {state.inventory}",
    )


def learned(
    state: RunState, plan: Plan, direction: str, nodes: Mapping[str, NodeRecord]
) -> Iterator[Fact]:
    """What the nodes know of the run beyond `state`: newer sessions and values, claims, intents
    with what was seen before them, and steps that must be over because a later one began. `plan`
    is that of `direction`. An intact journal learns nothing."""
    unknown = unknown_jobs(state, direction, nodes)
    session = _newer_session(state, direction, nodes, bool(unknown))
    yield from session
    yield from _newer_values(state, nodes)
    ours = {host for host, node in nodes.items() if node.owner.get("run") == state.run}
    owned = bool(ours - state.unreleased.keys())  # those are known to be left over
    if owned and not state.claimed:
        yield "claiming", {"learned": True}
    for host, job in unknown:
        known = {"step": job.step, "host": host, "attempt": job.attempt, "seen": job.seen}
        yield "intent", {**known, "learned": True}
    behind = bool(session or unknown) or any(s.id not in state.steps_done for s in plan.steps)
    ended = _ended(state, direction, nodes, anew=bool(session)) if behind else ""
    yield from _steps_over(state, plan, direction, nodes, everything=bool(ended))
    if ended:
        if not owned:
            yield "released", {"learned": True}
        yield "finished", {"state": ended, "learned": True}


def unknown_jobs(
    state: RunState, direction: str, nodes: Mapping[str, NodeRecord]
) -> list[tuple[str, JobRecord]]:
    """(host, job) of every job that `state` has no intent of, in the order of their attempts."""
    found = []
    for host, job in _jobs(nodes, direction):
        known = state.hosts.get((job.step, host))
        if job.attempt > (known.attempts if known else 0):
            found.append((host, job))
    return sorted(found, key=lambda pair: (pair[1].at, pair[1].step, pair[1].attempt, pair[0]))


def _jobs(nodes: Mapping[str, NodeRecord], direction: str) -> list[tuple[str, JobRecord]]:
    every = ((host, job) for host, node in nodes.items() for job in node.jobs)
    return [(host, job) for host, job in every if job.direction == direction]


def _newer_session(
    state: RunState, direction: str, nodes: Mapping[str, NodeRecord], entering: bool
) -> list[Fact]:
    """The session that the journal lost, or that began what is to be learned."""
    ours = [n for n in nodes.values() if n.owner.get("run") == state.run]
    epochs = [job.epoch for node in nodes.values() for job in node.jobs]
    epochs += [int(node.owner.get("epoch", 0)) for node in ours]
    epochs += [int(n.manifest.get("epoch", 0)) for n in nodes.values() if n.manifest]
    epoch = max([state.epoch, *epochs])
    turned = direction not in ("forward", state.direction) and entering
    if not turned and (epoch == state.epoch or direction != state.direction):
        return []
    who = next((node.owner["who"] for node in ours if "who" in node.owner), "")
    body = {"epoch": epoch, "direction": direction, "who": who, "learned": True}
    return [("session", body)]


def _newer_values(state: RunState, nodes: Mapping[str, NodeRecord]) -> Iterator[Fact]:
    newest = newest_manifest(state.run, nodes)
    if newest is None or newest["journal"] != state.journal:
        return
    if _age(newest) > (state.epoch, state.values_at):
        for name, value in newest["values"].items():
            if state.values.get(name) != value:
                yield "value", {"name": name, "value": value, "learned": True}


def _ended(state: RunState, direction: str, nodes: Mapping[str, NodeRecord], *, anew: bool) -> str:
    """How the run ended, by the records of all nodes that had a part in it; "" where any of them
    has none. After its end a run may have claimed them again, for an undo or a clean."""
    part = [node for node in nodes.values() if node.manifest is not None]
    ends = {str((node.record or {}).get("state")) for node in part}
    claimed = any(node.owner.get("run") == state.run for node in part)
    under_way = state.direction == direction and (state.unfinished or direction == "clean")
    if not (anew or under_way):
        return ""
    if direction == "undo":
        return "rolled-back" if ends == {"rolled-back"} and not claimed else ""
    if direction == "clean" and (claimed or "cleaned" not in ends):
        return ""  # hosts that keep no data stay `done`
    return "done" if ends and ends <= {"done", "cleaned"} else ""


def _steps_over(
    state: RunState,
    plan: Plan,
    direction: str,
    nodes: Mapping[str, NodeRecord],
    *,
    everything: bool,
) -> Iterator[Fact]:
    """A barrier stands between steps: where one began, those before it had ended on all hosts."""
    did = {(job.step, host) for host, job in _jobs(nodes, direction)}
    order = [step.id for step in plan.steps]
    furthest = max((order.index(step) for step, _ in did if step in order), default=0)
    for step in plan.steps if everything else plan.steps[:furthest]:
        if step.id in state.steps_done:
            continue
        for host in step.hosts:
            known = state.hosts.get((step.id, host))
            if known is None or known.state not in ("done", "unreachable"):
                missed = step.tolerate and step.kind == "act" and (step.id, host) not in did
                yield "result", _result(step.id, host, missed)
        yield "step-done", {"step": step.id, "learned": True}


def _result(step: str, host: str, missed: bool) -> dict[str, Any]:
    detail = "the node has no record of this step" if missed else ""
    state = "unreachable" if missed else "done"
    return {"step": step, "host": host, "state": state, "detail": detail, "learned": True}


def sign_of_life(nodes: Mapping[str, NodeRecord]) -> float | None:
    """Seconds since the controller last left a trace on a node that its run still owns."""
    ages = [node.now - node.last for node in nodes.values() if node.owner and node.last]
    return max(0, min(ages)) if ages else None
