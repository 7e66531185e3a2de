"""This machine's journal of a run, held against what the run's nodes remember: is it the journal
that they saw, and which runs came after?

What this shows and does not show is said in docs/journal.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from drctl.errors import Refused
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, fold
from drctl.nodes.history import Entry, History

FORGOTTEN = "it has no record of this run, which changed it"
ABOUT_A_HOST = ("machine_id.", "history.")
"""Drift of a host, not of a field: it may be another machine, or have no memory of the run."""


def excused(accepted: Collection[str]) -> frozenset[str]:
    """The hosts whose memory of a run does not count, because the operator says why it is gone."""
    hosts = (name.partition(".")[2] for name in accepted if name.startswith(ABOUT_A_HOST))
    return frozenset(hosts)


def compare(
    journal: Journal,
    told: Mapping[str, History],
    silent: Mapping[str, str],
    excused: frozenset[str] = frozenset(),
) -> None:
    """Hold the journal against the histories that the run's nodes `told`, and journal the outcome.

    Raises Refused where most of the nodes that know of the run saw another journal; one that
    differs becomes a warning. `excused` hosts are passed over: the operator answered for
    them. A journal that is shorter than what the nodes saw lost its tail: which heads went with it
    is journalled first, so that they are known when other events have taken their numbers.
    """
    state = fold(journal.events)
    heard = {host: history for host, history in told.items() if host not in excused}
    agree, differ = _held(journal, state, heard)
    if _is_anothers(agree, differ):
        raise _not_this_journal(journal, state, differ)
    if lost := list(_lost(journal, state, heard)):
        journal.append(
            "tail-lost",
            kept=journal.head[0],
            hosts=sorted({host for host, _ in lost}),
            heads={digest: seq for _, (seq, digest) in lost},
            silent=sorted(silent),
        )
    journal.append(
        "compared",
        agree=agree,
        differ=differ,
        silent=sorted(silent),
        excused=sorted(excused & told.keys()),
        lines={host: history.last for host, history in told.items() if not history.problem},
        followed=_followed(state, heard),
    )


def refuse_if_followed(state: RunState) -> None:
    """Raises Refused where the change of a later run stands on any node of this one, or where most
    of them have no memory of this one, so that nobody can say who came after it."""
    agree, differ = (state.compared.get(name, ()) for name in ("agree", "differ"))
    if _is_majority(differ, agree):
        raise _forgotten(state, differ)
    if not state.followers:
        return
    told = [
        f"{host}: run {later['run']} of {later['who']} ({later['at']})"
        for host, later in state.followers.items()
    ]
    newest = max(state.followers.values(), key=lambda later: later["at"])["run"]
    few = not _is_majority(state.followers, [h for h in agree if h not in state.followers])
    without = " ".join(f"--without {host}" for host in state.followers)
    inventory = f"--inventory {state.inventory}"
    others = f"drctl rollback {state.run} {inventory} {without}"
    lies = f"; if this is wrong, roll back on the other hosts: {others}" if few else ""
    raise Refused(
        "\n  ".join([f"another run changed these nodes after run {state.run}:", *told]),
        hint="roll that run back first, on the machine where it was started: drctl rollback "
        f"{newest} {inventory}; if that machine is gone, adopt it: drctl runs adopt {newest} "
        f"{inventory}{lies}",
    )


def is_anothers(journal: Journal, told: Mapping[str, History]) -> bool:
    """Whether most of the nodes that know of the run saw another journal than this."""
    return _is_anothers(*_held(journal, fold(journal.events), told))


def compared(state: RunState) -> list[str]:
    """How far a report that is made from the journal alone can be believed: when a session last
    held it against the nodes, and with what outcome."""
    offline = "from this machine's journal only, not compared with the nodes"
    last = state.compared
    if not last:
        return [f"{offline} so far: the next resume, rollback or clean does that"]
    outcome = [f"it matched {', '.join(last['agree']) or 'no node'}"]
    outcome += [f"{host}: {why}" for host, why in last["differ"].items()]
    outcome += [f"{host} did not answer" for host in last["silent"]]
    outcome += [f"{host} was left out, as requested" for host in last["excused"]]
    lost = (
        f"the journal had lost everything after event {tail['kept']}, which "
        f"{', '.join(tail['hosts'])} saw: that part is known from the nodes' records only"
        for tail in state.lost
    )
    return [f"{offline} for this; compared at {last['at'][:19]}: {'; '.join(outcome)}", *lost]


# -- is it the journal that the nodes saw? -------------------------------------------------------


def _held(
    journal: Journal, state: RunState, heard: Mapping[str, History]
) -> tuple[list[str], dict[str, str]]:
    """(hosts that saw this journal, host -> in what its memory of the run is not this journal's);
    neither has those that know nothing of the run and need not."""
    found = ((host, _difference(journal, state, host, told)) for host, told in heard.items())
    differ = {host: why for host, why in found if why}
    agree = [host for host, h in heard.items() if host not in differ and h.of(state.run)]
    return agree, differ


def _difference(journal: Journal, state: RunState, host: str, history: History) -> str:
    if history.problem:
        return history.problem
    ours = history.of(state.run)
    if not ours and history.whole and was_changed(state, host):
        return FORGOTTEN
    for entry in _of_this_journal(state, host, ours):
        seq, digest = entry.head
        if entry.journal != state.journal:
            return f"it saw a different journal of this run, by {entry.who} ({entry.at})"
        if seq > journal.head[0] or _is_known_lost(state, host, entry.head):
            continue
        if seq and journal.hash_of(seq) != digest:
            return f"up to event {seq} ({entry.at}) it saw a different journal"
    return ""


def _of_this_journal(state: RunState, host: str, ours: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The run's lines without those of the journal that it was adopted from: up to the one that
    this node had then, and all where it did not answer then."""
    if not state.adopted:
        return ours
    seen = state.adopted.get("lines", {})
    if host not in seen:
        return tuple(e for e in ours if e.journal == state.journal)
    return tuple(entry for entry in ours if entry.seq > int(seen[host]))


def was_changed(state: RunState, host: str) -> bool:
    """Whether, by its journal, the run meant to change this host."""
    return any(at == host and known.attempts for (_, at), known in state.hosts.items())


def _is_known_lost(state: RunState, host: str, head: tuple[int, str]) -> bool:
    seq, digest = head
    return any(
        digest in tail["heads"] or (host in tail["silent"] and seq > tail["kept"])
        for tail in state.lost
    )


def _lost(
    journal: Journal, state: RunState, heard: Mapping[str, History]
) -> Iterator[tuple[str, tuple[int, str]]]:
    """(host, head) of the heads that this journal no longer reaches."""
    for host, history in heard.items():
        for entry in history.of(state.run):
            known = entry.journal != state.journal or _is_known_lost(state, host, entry.head)
            if entry.head[0] > journal.head[0] and not known:
                yield host, entry.head


# -- and if it is not ----------------------------------------------------------------------------


def _is_majority(differ: Collection[str], agree: Collection[str]) -> bool:
    return len(differ) > len(agree)


def _is_anothers(agree: Collection[str], differ: Mapping[str, str]) -> bool:
    others = [host for host, why in differ.items() if why != FORGOTTEN]
    return _is_majority(others, [*agree, *(differ.keys() - others)])


def _not_this_journal(journal: Journal, state: RunState, differ: Mapping[str, str]) -> Refused:
    return Refused(
        f"the journal on this machine ({journal.path}) is not the one the nodes saw: it was "
        "changed, or is someone else's" + _spelled(differ),
        hint=f"drctl runs adopt {state.run} --inventory {state.inventory} rebuilds it from the "
        "nodes and keeps this one",
    )


def _forgotten(state: RunState, differ: Mapping[str, str]) -> Refused:
    accept = " ".join(f"--accept-drift history.{host}" for host in differ)
    return Refused(
        f"most nodes have no record of run {state.run}, which changed them: they were "
        "reinstalled, or their work_dir was removed" + _spelled(differ),
        hint=f"find out which; to continue anyway, accept it by name: {accept}",
    )


def _spelled(differ: Mapping[str, str]) -> str:
    return "".join(f"\n  {host}: {why}" for host, why in differ.items())


# -- which runs came after? ----------------------------------------------------------------------


def _followed(state: RunState, heard: Mapping[str, History]) -> dict[str, dict[str, str]]:
    found = {}
    for host, history in heard.items():
        later = history.follower(state.run, changed=was_changed(state, host))
        if later:
            found[host] = {"run": later.run, "who": later.who, "at": later.at}
    return found
