"""What the cluster holds: objects that look, and shrink, like Kubernetes's.

A real cluster's snapshot shrinks to about a tenth with `zstd -1`: its objects share most of their
text and differ in names, uids, digests, times and addresses. Random bytes would not shrink at all,
and zeros would vanish; neither says anything about sending a snapshot. The document tells what
these shrank to. The same numbers give the same bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

PREFIX = "/registry/pods/bench/"
APPS = ("frontend", "checkout", "search", "ledger", "mailer", "ingest", "worker", "gateway")
_FIELDS = ("metadata", "labels", "annotations", "spec", "containers", "env", "resources", "status")
_SETTINGS = ("DATABASE", "CACHE", "QUEUE", "TRACING", "METRICS", "FEATURES", "LOCALE", "REGION")
_MARK = re.compile(r"<(\d+)>")  # so many hexadecimal digits, drawn anew for each object
_TIME = "2026-10-1<1>T0<1>:1<1>:2<1>Z"
_UID = "<8>-<4>-<4>-<4>-<12>"


def pods(first: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` keys "/registry/pods/bench/frontend-0000001" and so on, each with an object like a
    pod of about 5 kB."""
    drawn = random.Random(first)
    parts = {app: _MARK.split(json.dumps(_pod(app))) for app in APPS}
    for number in range(first, first + count):
        app = APPS[number % len(APPS)]
        text = [
            f"{drawn.getrandbits(4 * int(part)):0{part}x}" if place % 2 else part
            for place, part in enumerate(parts[app])
        ]
        yield f"{PREFIX}{app}-{number:07d}", "".join(text).encode()


def _pod(app: str) -> dict[str, Any]:
    managed: dict[str, Any] = {
        f"f:{one}": {f"f:{two}": {} for two in _FIELDS} for one in _FIELDS[:5]
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{app}-<10>",
            "namespace": "bench",
            "uid": _UID,
            "creationTimestamp": _TIME,
            "labels": {"app": app, "pod-template-hash": "<10>"},
            "annotations": {"checksum/config": "<64>", "checksum/secret": "<64>"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": _UID}],
            "managedFields": [
                {"manager": manager, "operation": "Update", "time": _TIME, "fieldsV1": managed}
                for manager in ("kube-controller-manager", "kubelet")
            ],
        },
        "spec": {
            "containers": [_container(f"{app}{part}") for part in ("", "-proxy", "-metrics")],
            "nodeName": "node-<2>",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
        },
        "status": {
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": _TIME}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [
                {
                    "name": f"{app}{part}",
                    "containerID": "containerd://<64>",
                    "imageID": "images.example/app@sha256:<64>",
                    "ready": True,
                    "restartCount": 0,
                    "started": True,
                }
                for part in ("", "-proxy", "-metrics")
            ],
            "podIP": "10.<1>.1<1>.2<1>",
            "phase": "Running",
            "startTime": _TIME,
        },
    }


def _container(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": "images.example/app@sha256:<64>",
        "env": [{"name": one, "value": f"{one.lower()}.bench.svc"} for one in _SETTINGS],
        "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
