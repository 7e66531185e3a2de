"""What drctl knows about Kubernetes: text in, findings out. Opens no connection."""

from drctl.kube import judges
from drctl.kube.judges import READY
from drctl.kube.kubelets import kubelets_end_pods, one_manifest_each
from drctl.kube.secrets import reads_secrets
from drctl.kube.settings import settings_fit
from drctl.verdict import Judge

__all__ = ["JUDGES", "READY"]

JUDGES: dict[str, Judge] = {
    "kube.serves": judges.serves,
    "kube.is_ready_now": judges.is_ready_now,
    "kube.tells_if_not_ready": judges.tells_if_not_ready,
    "kube.settings_fit": settings_fit,
    "kube.kubelets_end_pods": kubelets_end_pods,
    "kube.one_manifest_each": one_manifest_each,
    "kube.reads_secrets": reads_secrets,
}
"""Every judge of this package by the name that a runbook uses."""
