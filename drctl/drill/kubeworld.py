"""What a drill writes through a real apiserver, and what it sees there: every object's UID."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from drctl.lab.kubeapi import NOT_FOUND, KubeApi, KubeError, Object
from drctl.lab.site import Site, SiteNode
from drctl.lab.waiting import until

NAMESPACE = "drill"
GROUP = "drill.drctl.example"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/widgets"
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
_SECONDS = 90.0
_MIRROR = "kubernetes.io/config.mirror"
PASSING = "after-"
"""How the names of those begin that are made after a restore, and deleted again."""
# They come and go by themselves: nobody restores them, nobody misses them. The endpoint slice
# controller of 1.20 races with its own cache, makes a Service two slices and takes one away later
# (kubernetes/kubernetes#92928): that slices follow the pods is a proof of its own. What a server
# says of itself goes with it: the storage versions of an apiserver, the candidacy of a controller.
_FLEETING = {"events", "endpointslices", "storageversions", "leasecandidates"}
# Labels on what an apiserver makes of its own accord, and makes anew when it starts: APIServices,
# and since 1.26 the Lease by which the others know it.
_ITS_OWN = {
    "kube-aggregator.kubernetes.io/automanaged",
    "apiserver.kubernetes.io/identity",
}

ObjectKey = tuple[str, str, str]  # resource with its group, namespace, name


@dataclass(frozen=True)
class KubeSight:
    """Every object that the apiserver lists, and its UID. `changing` is the text in the ConfigMap
    that a drill changes after the backup."""

    uids: Mapping[ObjectKey, str] = field(default_factory=dict)
    revision: int = 0
    changing: str = ""

    def counts(self) -> dict[str, int]:
        """Objects of each kind."""
        return dict(sorted(Counter(kind for kind, _, _ in self.uids).items()))

    def missing_from(self, other: KubeSight) -> list[ObjectKey]:
        """What is here and not in `other`, by UID: the same name is not the same object."""
        there = set(other.uids.values())
        return sorted(who for who, uid in self.uids.items() if uid not in there)


def api(site: Site, node: SiteNode, *, timeout: float = 15.0) -> KubeApi:
    """A connection to the host's apiserver as an administrator."""
    assert site.kubernetes
    return KubeApi(node.apiserver_url, site.kubernetes, timeout=timeout)


def look(door: KubeApi) -> KubeSight:
    """List everything that can be listed."""
    uids = {
        (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"]): str(
            item["metadata"]["uid"]
        )
        for kind, path in _listable(door)
        for item in door.items(path)
        if "uid" in item["metadata"] and not _made_anew(item)
    }
    newest = int(door.get(f"{CONFIGMAPS}?limit=1")["metadata"]["resourceVersion"])
    return KubeSight(uids, newest, _changing(door))


def write_before(door: KubeApi, name: str) -> None:
    """Workloads as objects, of which some stand for a user's, and the drill's own sentinels.

    Returns when the controllers have made of them what they make.
    """
    door.ensure("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    _define_widgets(door)
    for number in range(3):
        body = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": f"w{number}"}}
        door.ensure(WIDGETS, body | {"spec": {"size": number}})
    door.ensure(_DEPLOYMENTS, deployment("web"))
    door.ensure(f"/api/v1/namespaces/{NAMESPACE}/services", service("web"))
    until(lambda: bool(replica_sets(door, "web")), _SECONDS, "the replica set of drill/web")
    door.ensure(CONFIGMAPS, _config("drill-changing", ""))
    door.replace(f"{CONFIGMAPS}/drill-changing", _config("drill-changing", f"before {name}"))
    door.create(CONFIGMAPS, _config(f"before-{name}", name))
    door.create(SECRETS, secret(f"before-{name}", name))


def write_later(door: KubeApi, name: str) -> None:
    """What is written after the backup, and lost by a restore of it."""
    for number in range(5):
        door.create(CONFIGMAPS, _config(f"later-{number}-{name}", name))
    door.create(SECRETS, secret(f"later-{name}", name))
    door.replace(f"{CONFIGMAPS}/drill-changing", _config("drill-changing", f"later {name}"))


def delete_namespace(door: KubeApi) -> None:
    """Delete the users' namespace and wait until nothing of it is left."""
    place = f"/api/v1/namespaces/{NAMESPACE}"
    door.delete(place)
    until(lambda: not exists(door, place), _SECONDS, "the end of the namespace drill")


def exists(door: KubeApi, path: str) -> bool:
    """Whether there is something at `path`; KubeError when the apiserver does not say."""
    try:
        door.get(path)
    except KubeError as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return True


def deployment(name: str) -> Object:
    """Two pods of an image that no lab has: the controllers act, nothing needs to run."""
    labels = {"app": name}
    container = {"name": "c", "image": "lab.local/none:1", "imagePullPolicy": "Never"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def service(name: str) -> Object:
    """In front of the deployment of that name."""
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    }


def secret(name: str, value: str) -> Object:
    return {"metadata": {"name": name}, "stringData": {"value": value}}


def replica_sets(door: KubeApi, name: str) -> list[Object]:
    """Those of the deployment `name`."""
    found = door.items(f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets")
    return [one for one in found if one["metadata"].get("labels", {}).get("app") == name]


def endpoint_slices(door: KubeApi, name: str) -> list[Object]:
    """Those of the service `name`."""
    version = door.get("/apis/discovery.k8s.io")["preferredVersion"]["groupVersion"]
    found = door.items(f"/apis/{version}/namespaces/{NAMESPACE}/endpointslices")
    label = "kubernetes.io/service-name"
    return [one for one in found if one["metadata"].get("labels", {}).get(label) == name]


def new_name() -> str:
    """A name that no drill had."""
    return f"{time.time_ns():x}"


def _made_anew(item: Object) -> bool:
    """What the control plane itself recreates: an apiserver its own objects while it starts; a
    kubelet the mirrors of its static pods when their manifests change, as by a restore they do; and
    what an earlier drill made to see whether controllers act may still be on its way out."""
    about = item["metadata"]
    return (
        not _ITS_OWN.isdisjoint(about.get("labels", {}))
        or _MIRROR in about.get("annotations", {})
        or about["name"].startswith(PASSING)
    )


def _config(name: str, text: str) -> Object:
    return {"metadata": {"name": name}, "data": {"text": text}}


def _changing(door: KubeApi) -> str:
    try:
        return str(door.get(f"{CONFIGMAPS}/drill-changing")["data"]["text"])
    except KubeError as error:
        if error.status != NOT_FOUND:
            raise
        return ""


def _define_widgets(door: KubeApi) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    body = {
        "metadata": {"name": f"widgets.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    door.ensure("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    until(lambda: exists(door, WIDGETS), _SECONDS, "the resource widgets")


def _listable(door: KubeApi) -> Iterator[tuple[str, str]]:
    """(resource.group, path) of everything that can be listed, in each group's own version."""
    groups: list[dict[str, Any]] = door.get("/apis")["groups"]
    for base in ("/api/v1", *(f"/apis/{g['preferredVersion']['groupVersion']}" for g in groups)):
        group = "" if base == "/api/v1" else base.split("/")[2]
        for resource in door.get(base)["resources"]:
            name = resource["name"]
            if "list" in resource["verbs"] and "/" not in name and name not in _FLEETING:
                yield (f"{name}.{group}" if group else name), f"{base}/{name}"
