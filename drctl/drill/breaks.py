"""What can be done to a lab. A kind is data: whom it strikes, and what it does to each host.

Nothing here goes through drctl: a kind is what hardware, colleagues and time do, or what an
operator does by hand at a host.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from drctl.drill import kubeworld, witness
from drctl.drill.context import Scene
from drctl.lab import certs
from drctl.lab.site import Component, SiteNode
from drctl.lab.waiting import until

_SECONDS = 60.0
_KUBEADM_CLIENT = "kube-apiserver-etcd-client"  # who kubeadm's apiservers are to etcd
Deed = Callable[[Scene, SiteNode], None]
On = Literal["first", "second", "last", "majority", "all", "spares", "nobody"]


@dataclass(frozen=True)
class ActKind:
    """One kind of damage, or its repair: `deeds` strike one host, in order."""

    summary: str
    on: On
    deeds: tuple[Deed, ...]
    by_hand: bool = True  # False: it needs what only a drill knows, as its snapshot


def shell(template: str) -> Deed:
    """Run templates/lab/breaks/TEMPLATE.sh.j2 on the host."""

    def do(scene: Scene, node: SiteNode) -> None:
        scene.sh(node, f"breaks/{template}")

    return do


def killed(part: Component) -> Deed:
    """The part's processes end by SIGKILL."""
    return lambda scene, node: scene.site.kill(node.name, part)


def stopped(part: Component) -> Deed:
    """The part is stopped as an operator would."""
    return lambda scene, node: scene.site.stop(node.name, part)


def started(part: Component) -> Deed:
    """The part is started as an operator would."""
    return lambda scene, node: scene.site.start(node.name, part)


def power_off(scene: Scene, node: SiteNode) -> None:
    """The host is off, at once."""
    scene.site.power_off(node.name)
    scene.down.add(node.name)


def power_on(scene: Scene, node: SiteNode) -> None:
    """The host is on again and lets us in."""
    scene.site.power_on(node.name)
    scene.down.discard(node.name)


def retired(scene: Scene, node: SiteNode) -> None:
    """The host plays no part any more."""
    scene.site.retire(node.name)


def enlisted(scene: Scene, node: SiteNode) -> None:
    """The blank machine is to be a member of etcd."""
    scene.site.enlist(node.name)


def cut(scene: Scene, node: SiteNode) -> None:
    """No packet passes between the host and the other members."""
    others = [other.name for other in witness.members(scene.site) if other != node]
    scene.site.cut(node.name, others)


def mend(scene: Scene, _node: SiteNode) -> None:
    """All packets pass again."""
    scene.site.mend()


def delete_namespace(scene: Scene, node: SiteNode) -> None:
    """Everything of one namespace is deleted, in good order, by someone with the right to."""
    if scene.site.kubernetes:
        with kubeworld.api(scene.site, node) as api:
            kubeworld.delete_namespace(api)
        return
    with witness.gateway(scene.site, node) as door:
        door.delete_all(witness.prefix(scene.site))


def damage_snapshot(scene: Scene, _node: SiteNode) -> None:
    """One bit in the middle of the snapshot file is another one."""
    raw = bytearray(scene.snapshot.read_bytes())
    raw[len(raw) // 2] ^= 1
    scene.snapshot.write_bytes(raw)


def raise_nospace(scene: Scene, node: SiteNode) -> None:
    """etcd's alarm NOSPACE is raised: from here on it refuses every write."""
    with witness.gateway(scene.site, node) as door:
        member = door.status()["header"]["member_id"]
        alarm = {"action": "ACTIVATE", "memberID": member, "alarm": "NOSPACE"}
        door.call("/v3/maintenance/alarm", alarm)


def disarm(scene: Scene, node: SiteNode) -> None:
    """What an operator types against NOSPACE, on one member for all."""
    for member in scene.members:
        witness.etcdctl(scene.site, member, "defrag")
    witness.etcdctl(scene.site, node, "alarm", "disarm")


def enable_auth(scene: Scene, node: SiteNode) -> None:
    """etcd asks everybody who they are: `root`, and those whose names the certificates of its
    clients carry, which may do everything, as Kubernetes must."""
    name, password = certs.common_name(scene.site.etcd.cert), "for-this-drill-only"
    with witness.gateway(scene.site, node) as door:
        for user in ("root", name, _KUBEADM_CLIENT):
            door.call("/v3/auth/user/add", {"name": user, "password": password})
            door.call("/v3/auth/user/grant", {"user": user, "role": "root"})
        door.call("/v3/auth/enable", {})
    # etcd's JSON gateway wants a token, and lets nobody in whose certificate carries a name.
    nameless = scene.site.authority.issue(None, organization="a drill's witness")
    user = json.dumps(
        {
            "name": name,
            "password": password,
            "cert": nameless.cert.decode(),
            "key": nameless.key.decode(),
        }
    )
    certs.write_private(scene.site.directory / witness.USER_FILE, user.encode())
    for member in scene.members:
        scene.sh(member, "breaks/etcd-user", user=user)


def expire_certificate(scene: Scene, node: SiteNode) -> None:
    """The host's certificate for etcd ran out yesterday."""
    expired = scene.site.authority.issue(
        "kubernetes", addresses=[node.address], valid=timedelta(days=-1)
    )
    scene.sh(
        node, "breaks/expire-certificate", cert=expired.cert.decode(), key=expired.key.decode()
    )


def old_data_returns(scene: Scene, node: SiteNode) -> None:
    """The member starts with the data that it had before the last run."""
    run = scene.runs[-1]
    stage = run["values"]["stage"][node.name]
    kept = f"{stage}/{run['run']}/old/{node.data_dir.rpartition('/')[2]}"
    scene.sh(node, "breaks/old-data-returns", kept=kept)


def answering(scene: Scene, node: SiteNode) -> None:
    """Wait until the host's member answers again."""
    until(partial(witness.answers, scene.site, node), _SECONDS, f"{node.name}: etcd")


KINDS: Mapping[str, ActKind] = {
    "lose-data": ActKind(
        "the data is gone and etcd died, as when a disk fails",
        "first",
        (shell("lose-data"), killed("etcd"), shell("forget-data")),
    ),
    "lose-data-only": ActKind(
        "the data directory is gone, the WAL directory on its own disk is not",
        "first",
        (shell("lose-data-only"), killed("etcd"), shell("forget-data-only")),
    ),
    "corrupt-data": ActKind(
        "random bytes in the member's database, and its etcd died",
        "last",
        (shell("corrupt-data"), killed("etcd")),
    ),
    "delete-namespace": ActKind(
        "someone deleted a whole namespace: etcd is healthy, its data is wrong",
        "first",
        (delete_namespace,),
    ),
    "damage-snapshot": ActKind(
        "one bit of the snapshot file is flipped", "first", (damage_snapshot,), by_hand=False
    ),
    "power-off": ActKind("the host loses power", "last", (power_off,)),
    "power-on": ActKind("the host is powered on again", "last", (power_on,)),
    "lose-machine": ActKind("the machine is gone for good", "all", (power_off, retired)),
    "new-machine": ActKind(
        "a new, blank machine with another address becomes a member", "spares", (enlisted,)
    ),
    "cut-network": ActKind("no packet reaches the other members", "last", (cut,)),
    "mend-network": ActKind("the network is back", "last", (mend,)),
    "fill-disk": ActKind("the disk that holds the data is full", "last", (shell("fill-disk"),)),
    "empty-disk": ActKind("someone freed space", "last", (shell("empty-disk"),)),
    "raise-nospace": ActKind("the alarm NOSPACE is raised", "first", (raise_nospace,)),
    "disarm": ActKind("an operator ran etcdctl defrag and alarm disarm", "first", (disarm,)),
    "enable-auth": ActKind("etcd requires authentication", "first", (enable_auth,)),
    "expire-certificate": ActKind("etcd's certificate expired", "last", (expire_certificate,)),
    "renew-certificate": ActKind(
        "etcd's certificate is renewed", "last", (shell("renew-certificate"), answering)
    ),
    "note-manifest": ActKind(
        "configuration management manages the apiserver's manifest",
        "last",
        (shell("note-manifest"),),
    ),
    "manifest-returns": ActKind(
        "configuration management restores the apiserver's manifest: it starts",
        "last",
        (shell("manifest-returns"),),
    ),
    "old-data-returns": ActKind(
        "the member comes back with the data from before the restore",
        "last",
        (stopped("etcd"), old_data_returns, started("etcd")),
        by_hand=False,
    ),
    "old-data-leaves": ActKind(
        "an operator puts the restored data back",
        "last",
        (stopped("etcd"), shell("old-data-leaves"), started("etcd"), answering),
    ),
    "cut-off-kubelet": ActKind(
        "the apiserver is down, and the kubelet was restarted since",
        "all",
        (
            stopped("kubelet"),
            killed("apiserver"),
            killed("controllers"),
            started("kubelet"),
            shell("controllers-run"),
        ),
    ),
    "restart-etcd": ActKind(
        "etcd is killed, and its supervisor starts it again", "last", (killed("etcd"), answering)
    ),
}
