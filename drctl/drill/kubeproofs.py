"""What real Kubernetes must say after a restore: the same objects, and controllers that act."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps

from drctl.drill import kubeworld, witness
from drctl.drill.context import Scene
from drctl.drill.expectation import SHOWN, Expectation, NotHere, Seen
from drctl.lab.kubeapi import KubeApi, Object
from drctl.lab.waiting import until

_ACT_SECONDS = 60.0
_RENEW_SECONDS = 45.0
_GONE = 410


def _real(ask: Callable[[Scene], Seen]) -> Callable[[Scene], Seen]:
    """What is expected of real Kubernetes."""

    @wraps(ask)
    def only_there(scene: Scene) -> Seen:
        if not _doors(scene):
            raise NotHere("no real Kubernetes uses this etcd")
        return ask(scene)

    return only_there


def _doors(scene: Scene) -> dict[str, KubeApi]:
    """Every apiserver that should answer."""
    on = [node for node in scene.site.nodes if node.name not in scene.down]
    nodes = [node for node in on if node.apiserver_url and scene.site.kubernetes]
    return {node.name: kubeworld.api(scene.site, node) for node in nodes}


@_real
def apiservers_ready(scene: Scene) -> Seen:
    """Each says of itself that it is ready."""
    said = {name: door.text("/readyz") for name, door in _doors(scene).items()}
    return Seen(set(said.values()) == {"ok"}, ", ".join(f"{k}: {v}" for k, v in said.items()))


@_real
def same_objects(scene: Scene) -> Seen:
    """Every object of before has the UID of before, kube-system's among them."""
    before = scene.kube_before
    now = kubeworld.look(next(iter(_doors(scene).values())))
    missing = before.missing_from(now)
    system = before.uids[("namespaces", "", "kube-system")]
    detail = f"{len(before.uids)} objects of {len(before.counts())} kinds, kube-system is {system}"
    if missing:
        detail = f"{len(missing)} of {len(before.uids)} objects: {missing[:SHOWN]}"
    measured = {"before": before.counts(), "now": now.counts(), "kube_system": system}
    return Seen(not missing, detail, measured)


@_real
def sentinels(scene: Scene) -> Seen:
    """Through every apiserver: what was written before is there, what was changed is as it was,
    what was written later is gone."""
    wrong = []
    before, name = scene.kube_before, scene.name
    uid = before.uids[("configmaps", "default", f"before-{name}")]
    for node, door in _doors(scene).items():
        kept = door.get(f"{kubeworld.CONFIGMAPS}/before-{name}")["metadata"]["uid"]
        changing = door.get(f"{kubeworld.CONFIGMAPS}/drill-changing")["data"]["text"]
        wrong += [f"{node}: another UID {kept}"] * (kept != uid)
        wrong += [f"{node}: still {changing!r}"] * (changing != before.changing)
        wrong += [
            f"{node}: {path} is still there"
            for path in (
                f"{kubeworld.CONFIGMAPS}/later-0-{name}",
                f"{kubeworld.SECRETS}/later-{name}",
            )
            if kubeworld.exists(door, path)
        ]
    lost = scene.kube_lost
    return Seen(
        not wrong,
        "; ".join(wrong) or f"before: UID {uid}; later: gone; lost: {_counted(lost)}",
        {"lost": lost},
    )


def _counted(lost: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in lost.items()) or "nothing"


@_real
def secrets_readable(scene: Scene) -> Seen:
    """An encrypted Secret reads through every apiserver, and is not readable in etcd."""
    name = f"before-{scene.name}"
    values = {
        node: door.get(f"{kubeworld.SECRETS}/{name}")["data"]["value"]
        for node, door in _doors(scene).items()
    }
    key = f"/registry/secrets/default/{name}"
    with witness.gateway(scene.site, scene.members[0]) as door:
        stored = door.read_all(key)[key]
    same = len(set(values.values())) == 1
    if not stored.startswith(b"k8s:enc:"):
        raise NotHere("this Kubernetes does not encrypt Secrets in etcd")
    provider = stored.split(b":")[2].decode(errors="replace")
    return Seen(
        same, f"{len(values)} apiservers decrypt it ({provider})", {"apiservers": len(values)}
    )


@_real
def watch_is_gone(scene: Scene) -> Seen:
    """A client that watches from a resourceVersion of before is told to list again (410)."""
    door = next(iter(_doors(scene).values()))
    revision = scene.kube_before.revision
    path = f"/api/v1/configmaps?watch=1&timeoutSeconds=5&resourceVersion={revision}"
    told = [json.loads(line) for line in door.text(path).splitlines()]
    codes = [event["object"].get("code") for event in told if event["type"] == "ERROR"]
    said = [event["object"].get("message") for event in told if event["type"] == "ERROR"]
    return Seen(_GONE in codes, f"from {revision} on: {said or f'{len(told)} events'}")


@_real
def controllers_act(scene: Scene) -> Seen:
    """A new deployment gets its replica set and pods, a new service its endpoint slice, and the
    controllers' own leases are renewed."""
    door = next(iter(_doors(scene).values()))
    name = f"{kubeworld.PASSING}{kubeworld.new_name()}"
    first = _renewals(door, "kube-system")
    place = f"/namespaces/{kubeworld.NAMESPACE}"
    door.create(f"/apis/apps/v1{place}/deployments", kubeworld.deployment(name))
    door.create(f"/api/v1{place}/services", kubeworld.service(name))

    def acted() -> bool:
        sets = kubeworld.replica_sets(door, name)
        pods = bool(sets) and sets[0]["status"].get("replicas", 0) == 2
        return pods and bool(kubeworld.endpoint_slices(door, name))

    until(acted, _ACT_SECONDS, "what the controllers create for a deployment and a service")
    renewed = _renewed(door, "kube-system", first)
    door.delete(f"/apis/apps/v1{place}/deployments/{name}")
    door.delete(f"/api/v1{place}/services/{name}")
    return Seen(
        bool(renewed), f"replica set, 2 pods, endpoint slice; renewed: {', '.join(renewed)}"
    )


@_real
def nodes_renewed(scene: Scene) -> Seen:
    """Every node's kubelet renews its lease again."""
    door = next(iter(_doors(scene).values()))
    nodes = {node["metadata"]["name"] for node in door.items("/api/v1/nodes")} - scene.down
    if not nodes:
        raise NotHere("no kubelet is registered")
    first = _renewals(door, "kube-node-lease")
    until(
        lambda: set(_changed(_renewals(door, "kube-node-lease"), first)) >= nodes,
        _RENEW_SECONDS,
        "the kubelets' leases",
    )
    return Seen(True, f"renewed: {', '.join(sorted(nodes))}")


def _renewals(door: KubeApi, namespace: str) -> dict[str, str]:
    """{lease: when it was renewed last}"""
    found: list[Object] = door.items(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    return {one["metadata"]["name"]: one["spec"].get("renewTime") or "" for one in found}


def _changed(now: Mapping[str, str], first: Mapping[str, str]) -> list[str]:
    return sorted(name for name, when in now.items() if when != first.get(name))


def _renewed(door: KubeApi, namespace: str, first: Mapping[str, str]) -> list[str]:
    """The leases that are renewed; returns when there is one."""
    until(
        lambda: bool(_changed(_renewals(door, namespace), first)), _ACT_SECONDS, "a renewed lease"
    )
    return _changed(_renewals(door, namespace), first)


KUBE_PROOFS: Mapping[str, Expectation] = {
    "apiservers-ready": Expectation("every apiserver is ready", apiservers_ready),
    "same-objects": Expectation("every Kubernetes object is back with its UID", same_objects),
    "sentinels": Expectation("sentinels from before are back, later ones gone", sentinels),
    "secrets-readable": Expectation(
        "an encrypted Secret reads through every apiserver", secrets_readable
    ),
    "watch-is-gone": Expectation(
        "a Kubernetes watch from before is told to restart", watch_is_gone
    ),
    "controllers-act": Expectation("controllers work again", controllers_act),
    "nodes-renewed": Expectation("kubelets renew their nodes' leases", nodes_renewed),
}
