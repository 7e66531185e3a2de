"""A journal that lost its tail, or is rebuilt from nothing, learns from the nodes what it does not
know. What they keep is read before a session begins; nothing is changed there.

What a node says of its own jobs is believed for that node. What is to hold for all of them (the
values of a manifest, that a step is over) needs most of them (`drctl.nodes.agreement`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from drctl.errors import LockHeld
from drctl.inventory import Inventory
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, fold
from drctl.nodes.agreement import agreed_manifest, leaping
from drctl.nodes.comparison import compare, excused
from drctl.nodes.files import Manifest
from drctl.nodes.records import JobRecord, NodeRecord, not_believed, read_nodes
from drctl.plan.model import Plan, PlannedStep
from drctl.transport import Transport

PlanOf = Callable[[str, RunState], Plan]
"""The plan of a direction ("undo", "clean"), given what is known of the run so far."""
Fact = tuple[str, dict[str, Any]]
"""An event for the journal: kind and body."""


def learn(
    transport: Transport,
    journal: Journal,
    forward: Plan,
    plan_of: PlanOf,
    *,
    without: Collection[str] = (),
    accept_drift: Collection[str] = (),
    parallel: int = 8,
) -> dict[str, str]:
    """Ask the run's nodes, but those `without`, what they know beyond the journal, and journal it;
    returns the silent hosts. `accept_drift` names the hosts whose memory does not count.

    Raises LockHeld where another journal of this run has continued since, Refused where what a node
    keeps is not trusted, the nodes disagree, or this is not the journal that they saw. A host that
    is silent now is asked again at the next session; it cannot be acted on before.
    """
    run = fold(journal.events).run
    work_dirs = {host: forward.work_dirs[host] for host in forward.owns if host not in without}
    found = read_nodes(transport, work_dirs, run, parallel=parallel)
    state = fold(journal.events)
    if found.unbelieved:
        raise not_believed(run, found.unbelieved, state.inventory)
    attempts = {at: known.attempts for at, known in state.hosts.items()}
    if leaps := leaping(found.nodes, state.epoch, attempts):
        raise not_believed(run, leaps, state.inventory)
    refuse_if_taken_over(state, found.nodes)
    histories = {host: node.history for host, node in found.nodes.items()}
    compare(journal, histories, found.silent, excused(accept_drift))
    take_over(journal, found.nodes, forward, plan_of)
    return dict(found.silent)


def began(transport: Transport, inventory: Inventory, run: str) -> bool:
    """Whether any node belongs to this run or has records of its jobs."""
    work_dirs = {name: inventory.hosts[name].work_dir for name in inventory.host_group("all")}
    found = read_nodes(transport, work_dirs, run)
    return any(node.jobs or node.belongs_to(run) for node in found.nodes.values())


def take_over(
    journal: Journal, nodes: Mapping[str, NodeRecord], forward: Plan, plan_of: PlanOf
) -> None:
    """Journal what `nodes` know beyond the journal, direction after direction."""
    manifest = agreed_manifest(fold(journal.events).run, nodes, needed_hosts(forward))
    for direction in ("forward", "undo", "clean"):
        state = fold(journal.events)
        if direction == "forward":
            plan = forward
        elif state.direction == direction or unknown_jobs(state, direction, nodes):
            plan = plan_of(direction, state)
        else:
            continue
        for kind, body in list(learned(state, plan, direction, nodes, manifest)):
            journal.append(kind, **body)


def needed_hosts(plan: Plan) -> frozenset[str]:
    """The hosts that the run cannot do without: each has taken part in every claim."""
    acts = (step for step in plan.steps if step.kind == "act" and not step.tolerate)
    return frozenset(host for step in acts for host in step.hosts)


def refuse_if_taken_over(state: RunState, nodes: Mapping[str, NodeRecord]) -> None:
    """Raises LockHeld where another journal of the same run has claimed a node since."""
    held = [(node.manifest, host) for host, node in nodes.items() if node.manifest]
    if not held or not state.journal:
        return
    newest, host = max(held, key=lambda pair: pair[0].age)
    before = (state.adopted.get("journal"), state.adopted.get("epoch", 0))
    if newest.journal == state.journal:
        return
    if newest.journal == before[0] and newest.epoch <= before[1]:
        return  # the controller whose nodes were adopted has not come back
    raise LockHeld(
        f"run {state.run} was taken over by {newest.who} (session {newest.epoch}): the journal on "
        "this machine is outdated",
        host=host,
        hint=f"continue there; if that machine is gone: drctl runs adopt {state.run} --inventory "
        f"{state.inventory}; if this is wrong, roll back on the other hosts: drctl rollback "
        f"--without {host}",
    )


# -- what a journal does not know ---------------------------------------------------------------


def learned(
    state: RunState,
    plan: Plan,
    direction: str,
    nodes: Mapping[str, NodeRecord],
    manifest: Manifest | None,
) -> Iterator[Fact]:
    """What the nodes know of the run beyond `state`: newer sessions and values, claims, intents
    with what was seen before them, and steps that must be over because later ones began. `plan`
    is that of `direction`, `manifest` what most nodes keep. An intact journal learns nothing."""
    unknown = unknown_jobs(state, direction, nodes)
    session = _newer_session(state, plan, direction, nodes, bool(unknown))
    yield from session
    values = _newer_values(state, manifest)
    for name, value in values.items():
        yield "value", {"name": name, "value": value, "learned": True}
    ours = {host for host, node in nodes.items() if node.belongs_to(state.run)}
    owned = bool(ours - state.unreleased.keys())  # those are known to be left over
    if owned and not state.claimed:
        yield "claiming", {"learned": True}
    for host, job in unknown:
        known = {"step": job.step, "host": host, "attempt": job.attempt, "seen": job.seen}
        yield "intent", {**known, "learned": True}
    behind = bool(session or unknown) or any(s.id not in state.steps_done for s in plan.steps)
    ended = _ended(state, direction, nodes, anew=bool(session)) if behind else ""
    over = plan.steps if ended else _over(plan, direction, nodes, manifest)
    did = {(job.step, host) for host, job in _jobs(nodes, direction)}
    for step in over:
        if step.id not in state.steps_done:
            yield from _step_over(state, step, did)
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
    state: RunState,
    plan: Plan,
    direction: str,
    nodes: Mapping[str, NodeRecord],
    entering: bool,
) -> list[Fact]:
    """The session that the journal lost, or that began what is to be learned. The largest number
    that any node tells: a smaller one would be refused there."""
    owners = [node.owner for node in nodes.values() if node.owner and node.owner.run == state.run]
    epochs = [job.epoch for node in nodes.values() for job in node.jobs]
    epochs += [owner.epoch for owner in owners]
    epochs += [node.manifest.epoch for node in nodes.values() if node.manifest]
    epoch = max([state.epoch, *epochs])
    turned = direction not in ("forward", state.direction) and entering
    if not turned and (epoch == state.epoch or direction != state.direction):
        return []
    who = next((owner.who for owner in owners if owner.who), "")
    body = {"epoch": epoch, "direction": direction, "who": who, "learned": True}
    return [("session", {**body, "steps": plan.outline()})]


def _newer_values(state: RunState, manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None or manifest.journal != state.journal:
        return {}
    if manifest.age <= (state.epoch, state.values_at):
        return {}
    return {n: v for n, v in manifest.values.items() if state.values.get(n) != v}


def _ended(state: RunState, direction: str, nodes: Mapping[str, NodeRecord], *, anew: bool) -> str:
    """How the run ended, by the records of all nodes that had a part in it; "" where any of them
    has none. After its end a run may have claimed them again, for an undo or a clean."""
    part = [node for node in nodes.values() if node.manifest is not None]
    ends = {node.ending.state if node.ending else "" for node in part}
    claimed = any(node.belongs_to(state.run) for node in part)
    under_way = state.direction == direction and (state.unfinished or direction == "clean")
    if not (anew or under_way):
        return ""
    if direction == "undo":
        return "rolled-back" if ends == {"rolled-back"} and not claimed else ""
    if direction == "clean" and (claimed or "cleaned" not in ends):
        return ""  # hosts that keep no data stay `done`
    return "done" if ends and ends <= {"done", "cleaned"} else ""


def _furthest(plan: Plan, direction: str, nodes: Mapping[str, NodeRecord]) -> dict[str, int]:
    """Host -> the last step, by its place in the plan, that it began itself. Whoever was claimed
    has come as far as the first act: a claim is made for it, after all questions before it."""
    order = {step.id: place for place, step in enumerate(plan.steps)}
    claimed = {host for host, node in nodes.items() if node.manifest and direction == "forward"}
    first = min((order[s.id] for s in plan.steps if s.kind == "act"), default=0)
    furthest = dict.fromkeys(claimed, first)
    for host, job in _jobs(nodes, direction):
        if job.step not in order or plan.step(job.step).role == "untry":
            continue  # which also follows a refusal, past the steps before it
        if host in plan.step(job.step).tasks:
            furthest[host] = max(furthest.get(host, 0), order[job.step])
    return furthest


def _over(
    plan: Plan, direction: str, nodes: Mapping[str, NodeRecord], manifest: Manifest | None
) -> Iterator[PlannedStep]:
    """The steps that are over. A barrier stands between steps: where a later one began, those
    before it had ended on all hosts. One host's word is not enough for that: most of those that
    had something to do later must have come further. What is only one step behind the foremost may
    be looked at again, but for questions of which most nodes know the answers."""
    furthest = _furthest(plan, direction, nodes)
    foremost = max(furthest.values(), default=0)
    known = manifest.values if manifest else {}
    for place, step in enumerate(plan.steps[:foremost]):
        acts = (s for s in plan.steps[place + 1 : foremost + 1] if s.kind == "act")
        later = {host for act in acts for host in act.hosts if host in nodes}
        beyond = [host for host in later if furthest.get(host, 0) > place]
        answered = bool(step.yields) and all(name in known for name in step.yields)
        if 2 * len(beyond) > len(later) or answered:
            yield step


def _step_over(state: RunState, step: PlannedStep, did: set[tuple[str, str]]) -> Iterator[Fact]:
    for host in step.hosts:
        known = state.hosts.get((step.id, host))
        if known is None or known.state not in ("done", "unreachable"):
            missed = step.tolerate and step.kind == "act" and (step.id, host) not in did
            yield "result", _result(step.id, host, missed)
    yield "step-done", {"step": step.id, "learned": True}


def _result(step: str, host: str, missed: bool) -> dict[str, Any]:
    detail = "no record of this step on the node" if missed else ""
    state = "unreachable" if missed else "done"
    return {"step": step, "host": host, "state": state, "detail": detail, "learned": True}
