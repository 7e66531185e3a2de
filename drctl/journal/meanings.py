"""How a run can have left the cluster: every situation in words, what is safe to do in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """One kind of situation: how the cluster is, and what is safe to do."""

    now: str
    safe: str


WAIT = "nothing gets worse by waiting, not even by a reboot"
SITUATIONS: Mapping[str, Meaning] = {
    "untouched": Meaning(
        "nothing was changed: services and data are as they were before this run",
        "mend the cause in peace; leaving it so harms nothing",
    ),
    "beside": Meaning(
        "no service was stopped and no data touched; there are only new files beside the data",
        "leave it so as long as you like; a rollback removes the files",
    ),
    "preparing": Meaning(
        "new hosts are being prepared; no service was stopped and no data touched",
        "leave it so as long as you like; a rollback takes away what was installed there",
    ),
    "services-stopped": Meaning(
        "etcd was not stopped and its data not touched; other services are stopped and fenced",
        f"{WAIT}; do not start what is fenced by hand: both commands below do that",
    ),
    "down-with-old-data": Meaning(
        "etcd is stopped, or being stopped, and fenced; the old data lies untouched in its place",
        f"{WAIT}; do not start etcd by hand: both commands below lift the fence when it is time",
    ),
    "mixed": Meaning(
        "etcd is down and fenced in the middle of the exchange of its data; all old data is there",
        f"{WAIT}; do not start etcd and do not move data by hand: members of two clusters would "
        "meet",
    ),
    "down-with-restored-data": Meaning(
        "etcd is down and fenced; the restored data is in its place on every member, the old data "
        "is kept",
        f"{WAIT}; do not start etcd by hand on single members",
    ),
    "not-verified": Meaning(
        "etcd was started on the restored data and is NOT verified; Kubernetes is still stopped",
        "leave Kubernetes stopped until this is clear: as long as it has not written, a rollback "
        "loses nothing",
    ),
    "verified": Meaning(
        "etcd serves the restored data, verified; Kubernetes is not started yet",
        f"{WAIT}; a rollback loses nothing as long as Kubernetes has not written",
    ),
    "starting-kubernetes": Meaning(
        "etcd serves the restored data, verified; Kubernetes is being started and not all of it "
        "answers",
        "go on rather than back: what Kubernetes writes from now on would be lost by a rollback, "
        "which says how much and asks",
    ),
    "done": Meaning(
        "the restored cluster serves and is verified; the old data is kept",
        "take a backup; a rollback would lose what was written since: it says how much and asks",
    ),
    "cleaning": Meaning(
        "the restored cluster serves and is verified; its old data is being removed, as was asked",
        "let the removal end; a rollback is not possible any more",
    ),
    "cleaned": Meaning(
        "the restored cluster serves and is verified; the old data was removed, as was asked",
        "take a backup; a rollback is not possible any more",
    ),
    "taking-back": Meaning(
        "the run is being taken back and that has not ended; all old data is there",
        f"{WAIT}; a resume is refused now: let the rollback end first, it goes on where it stopped",
    ),
    "rolled-back": Meaning(
        "the run was taken back: services and data are as they were before it",
        "look whether the old cluster serves; a new restore may begin",
    ),
    "partly-taken-back": Meaning(
        "the run was taken back, but not on every host; on the others services and data are as "
        "they were before it",
        "look whether the old cluster serves on the others; let the rollback end on the host that "
        "was left out before a new restore begins",
    ),
    "followed": Meaning(
        "another run changed these nodes after this one, and that stands: what serves is its data",
        "leave this run as it is; to have what was before it, take the later one back first",
    ),
    "own-runbook": Meaning(
        "a runbook without the exchange of data was begun and has not ended",
        "look at its steps (runs show): what they mean for the cluster is known to its author",
    ),
}
"""Every situation, from the beginning of a run to its end."""
