"""What a run leaves on each of its nodes, for later commands (`drctl.nodes.files` reads it)."""

from __future__ import annotations

import json

from drctl import __version__
from drctl.etcd.values import SHOWN
from drctl.journal.chain import now
from drctl.journal.diagnosis import kept_places
from drctl.journal.runstate import FORMAT, RunState
from drctl.plan.model import Plan


def manifest(plan: Plan, state: RunState, who: str) -> str:
    """What each node keeps of an unfinished run: all that another machine needs to take
    it over. `epoch` and `values_at` tell which of two is newer."""
    return json.dumps(
        {
            "format": FORMAT,
            "run": state.run,
            "cluster": state.cluster,
            "runbook": state.runbook,
            "journal": state.journal,
            "epoch": state.epoch,
            "values_at": state.values_at,
            "plan": state.digests[-1],
            "plans": state.digests,
            "meaning": state.plan["meaning"],
            "options": state.plan["options"],
            "snapshot": plan.facts.get("snapshot") or {},
            "prepare": plan.facts.get("prepare") or {},
            "values": {name: v for name, v in state.values.items() if name not in SHOWN},
            "kept": kept_places(plan.facts, state),
            "who": who,
            "started": state.started,
            "drctl": __version__,
        },
        sort_keys=True,
    )


def record(plan: Plan, state: RunState, ended: str, who: str) -> str:
    """What each node keeps of the run once it is over: when, from what, where the old data is."""
    snapshot = plan.facts.get("snapshot") or {}
    lost = state.values.get("would_be_lost") or {}  # a rollback saw how far clients had come
    reached = [r for r in (state.values.get("proven_revision"), lost.get("latest")) if r]
    return json.dumps(
        {
            "run": state.run,
            "cluster": state.cluster,
            "state": ended,
            "at": now().isoformat(timespec="seconds"),
            "snapshot": {k: snapshot.get(k) for k in ("sha256", "size", "revision", "taken_at")},
            "cluster_id": state.values.get("cluster_id"),
            "reached": max(reached, default=None),  # the next restore bumps above it
            "kept": kept_places(plan.facts, state) if ended == "done" else [],
            "who": who,
            "drctl": __version__,
        },
        sort_keys=True,
    )
