"""What state the cluster is in now, what is safe to do, and what to run next: one pure function of
a run's journal. Error messages, `runs show`, JSON documents and docs/when-it-fails.md read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from drctl.journal.abandoned import abandoned, back_again
from drctl.journal.meanings import SITUATIONS
from drctl.journal.runstate import RunState


@dataclass(frozen=True)
class Situation:
    """`word` is a key of SITUATIONS; `details` say it host by host; `commands` are what to run, the
    preferred one first."""

    word: str
    details: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def now(self) -> str:
        return SITUATIONS[self.word].now

    @property
    def safe(self) -> str:
        return SITUATIONS[self.word].safe

    def document(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "word": self.word,
            "now": self.now,
            "details": list(self.details),
            "safe": self.safe,
            "commands": list(self.commands),
        }

    def lines(self) -> list[str]:
        """What an error's hint and `runs show` say, in the order in which one needs it."""
        return [
            f"now:  {self.now}",
            *(f"      {detail}" for detail in self.details),
            f"safe: {self.safe}",
            *(f"{'or:  ' if n else 'then:'} {way}" for n, way in enumerate(self.commands)),
        ]


@dataclass(frozen=True)
class _Step:
    """A step that changes something, with the hosts on which it was touched and done."""

    id: str
    service: str
    want: str
    role: str
    hosts: tuple[str, ...]
    touched: tuple[str, ...]
    done: tuple[str, ...]


def situation(state: RunState) -> Situation:
    """What `state`'s run has made of the cluster so far."""
    steps = _steps(state)
    word = _word(state, steps)
    details = (*_details(state, steps, word), *reserved(state))
    return Situation(word, details, tuple(commands(state)))


def reserved(state: RunState) -> list[str]:
    """Which nodes the run could not release at its end, and what releases them."""
    return [
        f"lock not released: {host} is still locked by this run; the next restore from this "
        "machine releases it"
        for host in state.left_over
    ]


def left_out(state: RunState) -> list[str]:
    """Where a finished rollback rolled nothing back."""
    return [
        f"LEFT OUT: {host}: not rolled back; once it is repaired: drctl rollback {state.run} "
        f"--inventory {state.inventory}"
        for host in state.left_out
    ]


def _steps(state: RunState) -> list[_Step]:
    steps = []
    for step in state.plan.get("steps", ()):
        if step["kind"] != "act":
            continue
        known = {h: state.hosts.get((step["id"], h)) for h in step["tasks"]}
        done = tuple(h for h, k in known.items() if k and k.state == "done")
        touched = tuple(h for h, k in known.items() if k and (k.attempts or k.state == "done"))
        about = {name: step[name] for name in ("id", "service", "want", "role")}
        steps.append(_Step(**about, hosts=tuple(known), touched=touched, done=done))
    return steps


def _word(state: RunState, steps: list[_Step]) -> str:
    if state.state == "rolled-back":
        return "partly-taken-back" if state.left_out else "rolled-back"
    if state.taking_back:
        return "taking-back"
    if state.cleaned:
        return "cleaning" if state.direction == "clean" else "cleaned"
    if state.followers:
        return "followed"
    if state.state == "done" and not state.attempted and state.tried:
        return "tried"
    # A rollback that has not undone anything yet leaves the run as it was.
    if "done" in (state.state, state.before_undo[0] if state.direction == "undo" else ""):
        return "done" if _proven(state) else "own-runbook-done"
    if not state.attempted:
        return "untouched"
    exchange = _exchange(steps)
    if not exchange:
        return "own-runbook"
    if any(step.touched for step in exchange):
        if any(set(step.done) != set(step.hosts) for step in exchange):
            return "mixed"
        return _after_the_exchange(state, steps)
    return _before_the_exchange(steps)


def exchanges(state: RunState) -> bool:
    """Whether the run's plan puts other data in the place of the cluster's."""
    return any(step["role"] == "exchange" for step in state.plan.get("steps", ()))


def _proven(state: RunState) -> bool:
    """Whether the plan has a judge look at what an exchange put in place."""
    places = [n for n, s in enumerate(state.plan["steps"]) if s["role"] == "exchange"]
    return bool(places) and any(s["judges"] for s in state.plan["steps"][places[-1] :])


def _before_the_exchange(steps: list[_Step]) -> str:
    fenced = [step for step in steps if step.want == "fenced" and step.touched]
    if any(step.role == "store" for step in fenced):
        return "down-with-old-data"
    if fenced:
        return "services-stopped"
    preparing = any(step.touched for step in steps if step.role == "install")
    return "preparing" if preparing else "beside"


def _after_the_exchange(state: RunState, steps: list[_Step]) -> str:
    ids = [step["id"] for step in state.plan["steps"]]
    starts = [step for step in steps if step.want in ("running", "restarted")]
    start = next((step for step in starts if step.role == "store"), None)
    if start is None or not start.touched:
        return "down-with-restored-data"
    # What else is done to etcd before it is verified (an alarm disarmed) lets no client in.
    clients = [step for step in starts if step.role == "client"]
    later = [step for step in clients if ids.index(step.id) > ids.index(start.id)]
    if any(step.touched for step in later):
        return "starting-kubernetes"
    first = ids.index(start.id)
    phases = [step["phase"] for step in state.plan["steps"]]
    if later:
        proofs = ids[first : ids.index(later[0].id)]
    else:  # nothing else is started: the proofs are the rest of the phase
        proofs = [ids[n] for n in range(first, len(ids)) if phases[n] == phases[first]]
    judged = any(step["judges"] for step in state.plan["steps"] if step["id"] in proofs)
    return "verified" if judged and set(proofs) <= state.steps_done else "not-verified"


def _details(state: RunState, steps: list[_Step], word: str) -> list[str]:
    given_up = abandoned(state.plan.get("facts", {}))
    if word == "followed":
        return [
            f"{host}: run {later['run']} of {later['who']} ({later['at']})"
            for host, later in state.followers.items()
        ]
    if word in ("rolled-back", "partly-taken-back"):
        places = restored_places(state.plan.get("facts", {}), state)
        kept = [f"data written since the restore is kept: {place}" for place in places]
        return [*kept, *left_out(state)]
    if word == "untouched":
        reserved = "the nodes stay locked by this run until one of the commands below has finished"
        return [reserved] if state.claimed else []
    lines: list[str] = given_up
    exchange = _exchange(steps)
    if word in ("services-stopped", "down-with-old-data", "own-runbook", "own-runbook-done"):
        lines += [f"fenced: {name} on {', '.join(hosts)}" for name, hosts in _fenced(steps).items()]
    if word == "mixed":
        untouched = [h for s in exchange for h in s.hosts if h not in s.touched]
        lines += [f"the old data is still in place on {', '.join(untouched)}"] * bool(untouched)
    if word not in ("taking-back", "cleaning", "cleaned"):
        moved = {h for s in exchange for h in s.touched}
        unsure = moved - {h for s in exchange for h in s.done}
        for place in old_data(state.plan.get("facts", {}), state):
            host = place.partition(":")[0]
            doubt = ", or still in place" if host in unsure else ""
            lines += [f"old data kept: {place}{doubt}"] * (host in moved)
    lines += [
        f"{step}: result on {host} unknown; the next command checks it first"
        for (step, host), known in state.hosts.items()
        if known.state == "intended"
    ]
    return lines


def _exchange(steps: list[_Step]) -> list[_Step]:
    return [step for step in steps if step.role == "exchange"]


def _fenced(steps: list[_Step]) -> dict[str, list[str]]:
    """Service -> the hosts on which it was fenced, and not started since."""
    last = {(s.service, host): s.want for s in steps if s.service for host in s.touched}
    fenced: dict[str, list[str]] = {}
    for (service, host), want in last.items():
        if want == "fenced":
            fenced.setdefault(service, []).append(host)
    return fenced


def kept_places(facts: Mapping[str, Any], state: RunState, name: str = "old") -> list[str]:
    """HOST:PATH of each member's old data, where the run keeps it or will, if there is any."""
    return [place for _, _, place in _places(facts, state, name)]


def old_data(facts: Mapping[str, Any], state: RunState) -> list[str]:
    """HOST:PATH as of `kept_places`, but for what the data swap saw to be absent."""
    swaps = [step["id"] for step in state.plan.get("steps", ()) if step["role"] == "exchange"]
    absent = {
        (host, inode)
        for (step, host), known in state.hosts.items()
        for inode, seen in known.seen.items()
        if step in swaps and seen == "absent"
    }
    places = _places(facts, state, "old")
    return [place for host, inode, place in places if (host, inode) not in absent]


def _places(facts: Mapping[str, Any], state: RunState, name: str) -> Iterator[tuple[str, str, str]]:
    """(host, by what word the swap's first look named it, HOST:PATH)."""
    for host in facts.get("members", {}):
        for value, inode in (("stage", "inode_data"), ("wal_stage", "inode_wal")):
            stage = state.values.get(value)
            if isinstance(stage, Mapping):  # else given by --var, for all hosts
                stage = stage.get(host)
            if stage:
                yield host, inode, f"{host}:{stage}/{state.run}/{name}"


def restored_places(facts: Mapping[str, Any], state: RunState) -> list[str]:
    """HOST:PATH of each member's restored data, where a rollback keeps it with what was written;
    none where it undid nothing."""
    kept = state.values.get("keep_restored") == "yes"
    places = kept_places(facts, state, "restored") if kept else []
    untouched = {*state.without, *state.left_out}
    return [place for place in places if place.partition(":")[0] not in untouched]


def bring_back(state: RunState) -> dict[str, list[str]]:
    """The steps by which each abandoned host comes back; none before the cluster is restored, or
    where something else stands there now."""
    facts = state.plan.get("facts", {})
    restored = situation(state).word in ("done", "cleaning", "cleaned")
    return back_again(facts) if restored else {}


def commands(state: RunState) -> list[str]:
    """What to run next, the preferred way first; a rollback where it is another way."""
    inventory = f"--inventory {state.inventory}"
    rollback = f"drctl rollback {state.run} {inventory}"
    if state.direction == "clean":
        return [f"drctl clean {state.run} {inventory}"]
    if state.followers and state.state != "rolled-back":
        kept = state.state == "done" and not state.cleaned
        clean = f"drctl clean {state.run} {inventory}"
        return [f"drctl status {inventory}", *([clean] if kept else [])]
    if state.state == "done":
        back = state.changed and not state.cleaned
        return [f"drctl backup {inventory} --to DIR", *([rollback] if back else [])]
    if state.state == "rolled-back":
        return [f"drctl status {inventory}", *([rollback] if state.left_out else [])]
    if not state.inventory:
        return ["drctl runs list"]
    if not state.changed:
        return [_again(state)]
    if state.direction == "undo":
        return [rollback]
    return [f"drctl restore --resume {state.run} {inventory}", rollback]


def _again(state: RunState) -> str:
    """The command that began the run, as far as the journal knows it."""
    snapshot = state.plan.get("facts", {}).get("snapshot")
    options = state.plan.get("options", {})
    verbs = {"restore": "restore", "restore-staged": "restore --staged", "try": "preflight --try"}
    verb = verbs.get(state.runbook)
    words = [f"drctl {verb or f'run {state.runbook}'}"]
    words += [f"--snapshot {quote(snapshot['path'])}"] if snapshot else []
    words += [f"--inventory {state.inventory}"]
    words += [f"--abandon {host}" for host in options.get("abandon", ())]
    words += ["--replace-healthy"] if options.get("replace_healthy") else []
    words += [
        f"--var {name}={quote(str(value))}" for name, value in options.get("vars", {}).items()
    ]
    words += [f"--secret {name}" for name in options.get("secrets", {})]
    return " ".join(words)
