"""What must be true in the end, judged from outside the product: identity, not just health."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from drctl.drill import witness
from drctl.drill.context import Scene
from drctl.drill.expectation import SHOWN, Expectation, NotHere, Seen
from drctl.drill.kubeproofs import KUBE_PROOFS
from drctl.drill.witness import Sight
from drctl.etcd.answers import version_tuple
from drctl.lab import data, probe
from drctl.lab.gateway import GatewayError
from drctl.lab.site import SiteNode

CAN_BUMP = (3, 5, 10)  # the first 3.5 whose etcdutl knows --bump-revision
_WATCH_SECONDS = 5.0


def members_answer(scene: Scene) -> Seen:
    """Exactly the lab's members, each serving linearizable reads."""
    with witness.gateway(scene.site, scene.members[0]) as door:
        listed = door.call("/v3/cluster/member/list", {"linearizable": True})["members"]
    names = sorted(member.get("name", "") for member in listed)
    wanted = sorted(node.member_name for node in scene.members)
    revisions = [witness.revision(scene.site, node) for node in scene.members]
    return Seen(
        names == wanted,
        f"{', '.join(names)} at revisions {revisions}",
        {"members": names, "revisions": revisions},
    )


def new_cluster(scene: Scene) -> Seen:
    """One cluster id on all members, and not the old one: no old member can join."""
    seen = {witness.cluster_id(scene.site, node) for node in scene.members}
    shown = ", ".join(f"{int(number):x}" for number in sorted(seen))
    was = f"{int(scene.before.cluster_id):x}"
    ok = len(seen) == 1 and scene.before.cluster_id not in seen
    return Seen(ok, f"id {shown}, before {was}", {"now": shown, "before": was})


def old_data_back(scene: Scene) -> Seen:
    """All that the backup holds, key by key, at the first revision that was served again."""
    node = scene.members[-1]
    first = scene.before.revision + scene.bump
    seen = witness.look(scene.site, node, first).content
    differing = witness.differences(scene.before.content, seen)
    differing += sorted(seen.keys() - scene.before.content.keys())
    if differing:
        return Seen(False, f"{len(differing)} keys differ, among them {differing[:SHOWN]}")
    digest = data.digest(scene.before.content)
    count = len(scene.before.content)
    return Seen(
        True,
        f"{count} keys equal at revision {first}, sha256 {digest[:16]}",
        {"keys": count, "sha256": digest, "revision": first},
    )


def later_data_gone(scene: Scene) -> Seen:
    """Nothing that was written after the backup."""
    seen = witness.look(scene.site, scene.members[-1]).content
    remaining = sorted(scene.written & seen.keys())
    total = len(scene.written)
    if remaining or not total:
        return Seen(False, f"{len(remaining)} of {total} keys remain: {remaining[:SHOWN]}")
    return Seen(True, f"{total} keys gone", {"gone": total})


def same_hash(scene: Scene) -> Seen:
    """All members hold the same, by etcd's own hash at one revision."""
    revision = min(witness.revision(scene.site, node) for node in scene.members)
    seen = {witness.hash_at(scene.site, node, revision) for node in scene.members}
    shown = ", ".join(f"{digest} (compacted to {compacted})" for digest, compacted in sorted(seen))
    return Seen(
        len(seen) == 1,
        f"hash {shown} at revision {revision}",
        {"hashes": sorted(digest for digest, _ in seen), "revision": revision},
    )


def _can_bump(scene: Scene) -> str:
    """ "" where etcd here can raise revisions, else the reason why that was not tested."""
    with witness.gateway(scene.site, scene.members[0]) as door:
        version = str(door.status().get("version", ""))
    found = version_tuple(version) or (0, 0, 0)
    return "" if found >= CAN_BUMP else f"etcd {version} cannot bump revisions (needs 3.5.10)"


def revision_ahead(scene: Scene) -> Seen:
    """No client that saw the old cluster is ever shown a smaller revision."""
    if why_not := _can_bump(scene):
        raise NotHere(why_not)
    revision = witness.revision(scene.site, scene.members[0])
    return Seen(
        revision > scene.later.revision,
        f"{revision}, before the damage {scene.later.revision}",
        {"now": revision, "before": scene.later.revision},
    )


def watch_compacted(scene: Scene) -> Seen:
    """A watch opened at a revision of before is told to list again, not silently behind."""
    if why_not := _can_bump(scene):
        raise NotHere(why_not)
    with witness.gateway(scene.site, scene.members[0], timeout=_WATCH_SECONDS) as door:
        for message in door.watch(b"/", scene.before.revision):
            if found := message.get("compact_revision"):
                detail = f"opened at {scene.before.revision}: cancelled, compacted to {found}"
                return Seen(True, detail, {"compact_revision": int(found)})
            if message.get("events"):
                return Seen(False, f"a watch from {scene.before.revision} on got events")
    return Seen(False, "a watch at an old revision was not cancelled")


def nothing_staged(scene: Scene) -> Seen:
    """No copy of the snapshot, which holds every Secret, and no claim is left on any member."""
    left = []
    for name, paths in scene.footprint().items():
        files = [path.rpartition("/")[2] for path in paths.splitlines()]
        left += [f"{name}: {file}" for file in files if file in ("snapshot.db", "owner", "new")]
    return Seen(not left, ", ".join(left) or f"nothing on {len(scene.members)} hosts")


def old_data_kept(scene: Scene) -> Seen:
    """What each member had before the run lies beside its data, where the run says."""
    return _kept(scene, "stage")


def old_wal_kept(scene: Scene) -> Seen:
    """The leftovers in the WAL directory were put aside, not read and not deleted."""
    if not scene.members[0].wal_dir:
        raise NotHere("these members have no separate WAL directory")
    return _kept(scene, "wal_stage")


def _kept(scene: Scene, stage: str) -> Seen:
    run = scene.runs[-1]
    missing = []
    for node in scene.members:
        place = f"{run['values'][stage][node.name]}/{run['run']}/old"
        if not scene.site.sh(node.name, f"ls -A '{place}'", check=False).output.strip():
            missing.append(f"{node.name}: {place}")
    return Seen(not missing, f"nothing at {', '.join(missing)}" if missing else "on every member")


def untouched(scene: Scene) -> Seen:
    """The old cluster, all its data, and not one file of drctl more than before."""
    node = scene.members[0]
    now = _as_it_was(scene, node)
    lost = witness.differences(scene.later.content, now.content)
    traces = [
        name for name, was in scene.footprint().items() if scene.footprints.get(name, was) != was
    ]
    same = now.cluster_id == scene.later.cluster_id
    problems = [f"another cluster: {now.cluster_id}"] * (not same)
    problems += [f"{len(lost)} keys lost or changed: {lost[:SHOWN]}"] * bool(lost)
    problems += [f"files of drctl's on {', '.join(traces)}"] * bool(traces)
    detail = "; ".join(problems) or f"the same cluster, {len(now.content)} keys, no trace of drctl"
    return Seen(not problems, detail)


def _as_it_was(scene: Scene, node: SiteNode) -> Sight:
    """What the member holds of the revision at which the disaster struck: Kubernetes continues
    writing. Where that was compacted since, the keys that the drill itself wrote must do."""
    try:
        return witness.look(scene.site, node, scene.later.revision)
    except GatewayError as error:
        if "compacted" not in str(error):
            raise
    now = witness.look(scene.site, node)
    passing = {k: v for k, v in scene.later.content.items() if k not in scene.written}
    return Sight(now.cluster_id, now.revision, {**passing, **now.content})


def no_alarm(scene: Scene) -> Seen:
    """No alarm is in force."""
    with witness.gateway(scene.site, scene.members[0]) as door:
        raised = door.call("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", [])
    return Seen(not raised, f"alarms: {raised or 'none'}")


def auth_still_on(scene: Scene) -> Seen:
    """etcd still asks for a user: the restore opened no door."""
    node = scene.members[0]
    with witness.gateway(scene.site, node) as door:
        enabled = bool(door.call("/v3/auth/status", {}).get("enabled"))
    with witness.gateway(scene.site, node, user=False) as nobody:
        try:
            served = nobody.revision() > 0
        except GatewayError:
            served = False
    detail = (
        f"authentication {'on' if enabled else 'OFF'}, nobody is{'' if served else ' not'} served"
    )
    return Seen(enabled and not served, detail)


def old_member_shut_out(scene: Scene) -> Seen:
    """A member that runs on the old data finds no one, and the others continue without it."""
    *others, returned = scene.members
    if witness.answers(scene.site, returned):
        return Seen(False, f"{returned.name} serves clients with the old data")
    ids = {witness.cluster_id(scene.site, node) for node in others}
    revisions = [witness.revision(scene.site, node) for node in others]
    lost = witness.differences(
        {k: v for k, v in scene.before.content.items() if k.startswith(witness.prefix(scene.site))},
        witness.look(scene.site, others[0]).content,
    )
    ok = len(ids) == 1 and scene.before.cluster_id not in ids and not lost
    return Seen(
        ok,
        f"{returned.name} serves nobody; {len(others)} others serve at {revisions}, {len(lost)} "
        "keys lost",
    )


def stand_ins_serve(scene: Scene) -> Seen:
    """Each stand-in serves a value that had changed, as it was; none serves a key that is gone;
    and a value written now arrives."""
    if scene.site.flavour != "local":
        raise NotHere("only loopback labs have stand-ins for the apiserver")
    stale = [answer for node in scene.members if (answer := _stale(scene, node))]
    if stale:
        return Seen(False, "; ".join(stale))
    return Seen(True, f"{len(scene.members)} stand-ins serve the restored values")


def _stale(scene: Scene, node: SiteNode) -> str:
    """What is wrong with what this host's stand-in serves; empty when nothing is."""
    ask_stand_in(scene, node, "/readyz")
    changed = witness.differences(scene.before.content, scene.later.content)
    younger = sorted(scene.written - scene.before.content.keys())
    for key in [*changed[:SHOWN], *younger[:SHOWN]]:
        if stand_in_value(scene, node, key) != scene.before.content.get(key):
            return f"{node.name} serves a stale {key}"
    fresh = f"/registry/drill/{node.name}"
    with witness.gateway(scene.site, node) as door:
        door.put_all([(fresh, str(time.time_ns()).encode())])
        wanted = door.read_all(fresh)[fresh]
    for _ in range(20):
        if stand_in_value(scene, node, fresh) == wanted:
            return ""
        time.sleep(0.1)
    return f"{node.name} does not see what is written now"


def stand_in_value(scene: Scene, node: SiteNode, key: str) -> bytes | None:
    """What the host's stand-in serves for `key`, None when it answers that there is none."""
    try:
        answer = ask_stand_in(scene, node, data.stand_in_path(key))
    except OSError as error:
        if getattr(error, "code", None) == 404:
            return None
        raise
    return str(json.loads(answer)["value"]).encode()


def ask_stand_in(scene: Scene, node: SiteNode, path: str) -> bytes:
    """GET `path` from the host's stand-in; OSError unless it answers 200."""
    access = scene.site.etcd
    return probe.fetch(
        node.apiserver_url + path, str(access.ca), cert=str(access.cert), key=str(access.key)
    )


PROOFS: Mapping[str, Expectation] = {
    **KUBE_PROOFS,
    "members-answer": Expectation("every member answers", members_answer),
    "new-cluster": Expectation("a new cluster", new_cluster),
    "old-data-back": Expectation("data from before the backup is back", old_data_back),
    "later-data-gone": Expectation("data from after the backup is gone", later_data_gone),
    "same-hash": Expectation("all members have the same data", same_hash),
    "revision-ahead": Expectation("revisions do not go back", revision_ahead),
    "watch-compacted": Expectation("a watch from before is told to restart", watch_compacted),
    "stand-ins-serve": Expectation("every apiserver stand-in serves it", stand_ins_serve),
    "nothing-staged": Expectation("no copy of the snapshot is left on a host", nothing_staged),
    "old-data-kept": Expectation("the old data is kept", old_data_kept),
    "old-wal-kept": Expectation("the old WAL is set aside", old_wal_kept),
    "untouched": Expectation("the old cluster is untouched", untouched),
    "no-alarm": Expectation("no alarm is raised", no_alarm),
    "auth-still-on": Expectation("etcd still requires authentication", auth_still_on),
    "old-member-shut-out": Expectation("an old member does no harm", old_member_shut_out),
}

BUNDLES: Mapping[str, tuple[str, ...]] = {
    "restored": (
        "members-answer",
        "new-cluster",
        "old-data-back",
        "later-data-gone",
        "same-hash",
        "revision-ahead",
        "watch-compacted",
        "stand-ins-serve",
        *KUBE_PROOFS,
        "nothing-staged",
    ),
}
"""One word for several proofs."""


def spelled_out(names: tuple[str, ...]) -> list[str]:
    """The proofs that `names` mean, each once."""
    return list(dict.fromkeys(proof for name in names for proof in BUNDLES.get(name, (name,))))
