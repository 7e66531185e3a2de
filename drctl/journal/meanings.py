"""How a run can have left the cluster: every situation, and what is safe to do in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """One kind of situation: how the cluster is, and what is safe to do."""

    now: str
    safe: str


WAIT = "waiting does no harm, even across a reboot"
SITUATIONS: Mapping[str, Meaning] = {
    "untouched": Meaning(
        "nothing was changed: services and data are as they were before this run",
        "fix the cause; waiting is safe",
    ),
    "tried": Meaning(
        "what a restore needs was tried, and removed again: services and data are as they were",
        "nothing needs doing",
    ),
    "beside": Meaning(
        "no service was stopped and no data touched; there are only new files beside the data",
        "waiting does no harm; a rollback removes those files",
    ),
    "preparing": Meaning(
        "new hosts are being prepared; no service was stopped and no data touched",
        "waiting does no harm; a rollback removes what was installed there",
    ),
    "services-stopped": Meaning(
        "etcd was not stopped, its data is untouched; other services are stopped and fenced",
        f"{WAIT}; do not start fenced services by hand: both commands below do that",
    ),
    "down-with-old-data": Meaning(
        "etcd is stopped or stopping, and fenced; the old data is untouched and in place",
        f"{WAIT}; do not start etcd by hand: both commands below lift the fence at the right point",
    ),
    "mixed": Meaning(
        "etcd is down and fenced, in the middle of the data swap; all old data is kept",
        f"{WAIT}; do not start etcd or move data by hand: members of two clusters would meet",
    ),
    "down-with-restored-data": Meaning(
        "etcd is down and fenced; the restored data is in place on every member, the old data is "
        "kept",
        f"{WAIT}; do not start single members by hand",
    ),
    "not-verified": Meaning(
        "etcd was started on the restored data and is NOT verified; this run has not started "
        "Kubernetes",
        "keep Kubernetes stopped until etcd is verified: a rollback loses nothing until Kubernetes "
        "writes",
    ),
    "verified": Meaning(
        "etcd serves the restored data, verified; this run has not started Kubernetes",
        f"{WAIT}; a rollback loses nothing until Kubernetes writes",
    ),
    "starting-kubernetes": Meaning(
        "etcd serves the restored data, verified; Kubernetes is starting and does not fully answer "
        "yet",
        "resume rather than roll back: a rollback would lose what Kubernetes has written; it says "
        "how much and asks first",
    ),
    "done": Meaning(
        "the restored cluster serves and is verified; the old data is kept",
        "take a backup; a rollback would lose what was written since; it says how much and asks "
        "first",
    ),
    "cleaning": Meaning(
        "the restored cluster serves and is verified; its old data is being removed, as requested",
        "finish the removal; a rollback is no longer possible",
    ),
    "cleaned": Meaning(
        "the restored cluster serves and is verified; the old data was removed, as requested",
        "take a backup; a rollback is no longer possible",
    ),
    "taking-back": Meaning(
        "a rollback of the run has begun and is not finished; all old data is kept",
        f"{WAIT}; finish the rollback first (it continues where it stopped): until then a resume "
        "is refused",
    ),
    "rolled-back": Meaning(
        "the run was rolled back: services and data are as they were before it",
        "check that the old cluster serves; you may start a new restore",
    ),
    "partly-taken-back": Meaning(
        "the run was rolled back, except on the hosts left out; on the others services and data "
        "are as they were before it",
        "check that the old cluster serves on the others; finish the rollback on the hosts left "
        "out before you start a new restore",
    ),
    "followed": Meaning(
        "another run changed these nodes after this one and was not rolled back: its data is in "
        "use",
        "leave this run alone; to get back to the state before it, roll back the later run first",
    ),
    "own-runbook": Meaning(
        "a runbook that does not swap data has begun and is not finished",
        "look at its steps (drctl runs show): only its author knows what they mean for the cluster",
    ),
    "own-runbook-done": Meaning(
        "every step of the runbook has ended; it swapped no data, or did not check the result",
        "look at its steps (drctl runs show): only its author knows what they mean for the cluster",
    ),
}
"""Every situation, from the beginning of a run to its end."""
