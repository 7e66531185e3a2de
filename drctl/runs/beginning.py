"""How a run begins: its id, the values that are made new for it, and the first event."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from drctl import __version__
from drctl.etcd.identity import predict
from drctl.journal.chain import Journal, now
from drctl.journal.runstate import FORMAT
from drctl.nodes.files import Manifest
from drctl.plan.model import Plan


def new_run_id() -> str:
    """When the run began, to the millisecond, so that ids sort as the runs began; and a bit of
    chance against another machine's."""
    at = now()
    return f"{at:%Y%m%d-%H%M%S}-{at.microsecond // 1000:03x}{secrets.token_hex(2)[:3]}"


def begin(journal: Journal, plan: Plan, *, run: str, runbook: str, inventory: str) -> None:
    """The first event of a run: the whole plan and the new values, in one record, so that no run
    exists without its token."""
    began = {"run": run, "cluster": plan.cluster, "values": new_values(plan, run)}
    _begin(journal, **began, plan=plan.record(), runbook=runbook, inventory=inventory)


def begin_adopted(
    journal: Journal,
    plan: Plan,
    found: Manifest,
    *,
    runbook: str,
    inventory: str,
    adopted: Mapping[str, Any],
) -> None:
    """The first event of a journal that is rebuilt from the manifest `found` on the nodes;
    `adopted` says from what."""
    _begin(
        journal,
        run=found.run,
        cluster=found.cluster,
        values=found.values,
        plan={**plan.record(), "meaning": found.meaning, "digest": found.plan},
        runbook=runbook,
        inventory=inventory,
        started=found.started,
        begun_with=found.drctl,
        digests=found.plans[:-1],
        adopted=adopted,
    )


def _begin(journal: Journal, **began: Any) -> None:
    own = {"drctl": __version__, "format": FORMAT, "journal_id": secrets.token_hex(8)}
    journal.append("run-started", **own, **began)


def new_values(plan: Plan, run: str) -> dict[str, str]:
    """The operator's `--var`s and the values that a runbook asks to be made new, journalled
    before their first use."""
    token, blank = f"{plan.cluster}-{run}", f"{plan.cluster}-{run}-blank"
    members = {m["name"]: m["peer_urls"] for m in plan.facts["members"].values()}
    makers = {
        "token": lambda: token,
        "cluster-id": lambda: predict(members, token).cluster_hex,
        "blank-token": lambda: blank,
        "blank-cluster-id": lambda: predict(members, blank).cluster_hex,
    }
    made = {name: makers[kind]() for name, kind in plan.new_values.items()}
    return {**plan.options.get("vars", {}), **made}
