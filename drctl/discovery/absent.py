"""Members that were not looked at: what others know of them is written, the rest is asked."""

from __future__ import annotations

from drctl.answer import shown
from drctl.discovery.composed import Composer
from drctl.discovery.looked import Named


def absent_members(composer: Composer) -> None:
    """Write them into a composer's draft; without the answers it is no inventory."""
    draft = composer.draft
    for one in composer.known.unseen:
        if one.url:
            _named(composer, one)
    for machine in composer.known.silent_machines:
        if "etcd" in machine.roles:
            at = ("etcd", "members", composer.names[machine.name], "data_dir")
            draft.ask(at, f"which is its --data-dir? It was not looked at{_others(composer)}",
                      blocking=True)  # fmt: skip


def _named(composer: Composer, one: Named) -> None:
    draft = composer.draft
    path = ("etcd", "members", composer.names[one.address])
    if one.member:
        draft.put((*path, "name"), one.member, one.source)
    else:
        question = f"{one.source}: start it, or etcdctl member remove"
        draft.ask((*path, "name"), question, blocking=True)
    draft.put((*path, "peer_urls"), [one.url], one.source)
    if clients := _client_urls(composer, one):
        draft.put((*path, "client_urls"), clients, "member list")
    else:
        question = "which are its --advertise-client-urls? It was not looked at"
        draft.ask((*path, "client_urls"), question, blocking=True)
    question = f"which is its --data-dir? It was not looked at{_others(composer)}"
    draft.ask((*path, "data_dir"), question, blocking=True)


def _client_urls(composer: Composer, one: Named) -> list[str]:
    """As the cluster's own list has them; "" is what etcd has of a member that never started."""
    for each in composer.known.looked:
        for member in each.listed or ():
            if one.url in {url.rstrip("/") for url in member.peer_urls}:
                return [url.rstrip("/") for url in member.client_urls if url]
    return []


def _others(composer: Composer) -> str:
    found = {each.etcd.data_dir.value for each in composer.members if each.etcd} - {""}
    return f" (the others have {', '.join(shown(path, 100) for path in sorted(found))})" * bool(
        found
    )
