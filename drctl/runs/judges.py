"""Every judge that a runbook may name."""

from __future__ import annotations

from drctl import etcd, kube, reading
from drctl.verdict import Judge

JUDGES: dict[str, Judge] = {**etcd.JUDGES, **kube.JUDGES, **reading.JUDGES}
