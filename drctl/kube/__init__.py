"""What drctl knows about Kubernetes: text in, findings out. Opens no connection."""

from drctl.kube import judges
from drctl.verdict import Judge

JUDGES: dict[str, Judge] = {"kube.serves": judges.serves}
"""Every judge of this package by the name that a runbook uses."""
