"""What is known and does not go together, or is known of a part only: questions that can wait."""

from __future__ import annotations

from collections.abc import Iterator

from drctl.answer import shown
from drctl.discovery.composed import Composer
from drctl.discovery.looked import Looked, former


def doubts(composer: Composer) -> None:
    """Write them into a composer's draft."""
    for path, question in (*_edited(composer), *_members(composer), *_workers(composer)):
        composer.draft.ask(path, question)


_Question = tuple[tuple[str, ...], str]


def _edited(composer: Composer) -> Iterator[_Question]:
    """What runs and what would start may differ: a restore restarts."""
    for each in composer.members:
        data = each.etcd.data_dir.value if each.etcd else ""
        planned = each.next.data_dir if each.next and not each.next.unread else None
        if planned and planned.value and data and planned.value != data:
            what = f"its etcd runs with {data}, and would be started with {planned.value} "
            what += f"({planned.where}): restart it, or put that back"
            yield ("etcd", "members", composer.name(each)), what


def _members(composer: Composer) -> Iterator[_Question]:
    """The cluster's own list of members beside what their flags say."""
    running = [each for each in composer.members if each.etcd and each.etcd.process]
    asked = [each for each in running if each.listed is not None]
    if running and not asked:
        why = f"{running[0].machine.name}: {running[0].unasked or 'not asked'}"
        yield (
            ("groups", "etcd"),
            f"no etcd told who belongs to the cluster ({why}): compare with etcdctl member list",
        )
    for one in former(composer.known.looked):
        yield (
            ("groups", "etcd"),
            f"{one.source} names {one.member} at {one.url}, and the living cluster has no such "
            "member: left out",
        )
    for each in running:
        for member in asked[0].listed or () if asked else ():
            if each.etcd and member.name == each.etcd.said("name").value:
                yield from _elsewhere(composer, each, [url.rstrip("/") for url in member.peer_urls])


def _elsewhere(composer: Composer, looked: Looked, urls: list[str]) -> Iterator[_Question]:
    """A member whose peer URL was changed in the cluster and not in its flags."""
    if {*urls} != {*looked.peer_urls} and looked.peer_urls:
        at, own = ", ".join(urls), ", ".join(looked.peer_urls)
        yield (
            ("etcd", "members", composer.name(looked)),
            f"the living cluster has it at {shown(at, 200)}, its own flags say {shown(own, 200)}: "
            "make these the same (etcdctl member update, or the flag)",
        )


def _workers(composer: Composer) -> Iterator[_Question]:
    """Neither etcd nor an apiserver's flags name a worker."""
    groups = composer.draft.data.get("groups", {})
    kubelets = composer.draft.data.get("services", {}).get("kubelet", "seen")
    if groups.get("control_plane") and not groups.get("workers") and kubelets:
        yield (
            ("groups", "workers"),
            "which hosts are workers? No etcd and no apiserver's flags name them, and a restore "
            "restarts their kubelets: name them by --host, or --from a file that lists them",
        )
