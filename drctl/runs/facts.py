"""What is known on this machine before a run: the snapshot, and the binaries and files that it
sends. No connection here."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drctl.errors import InvalidInput
from drctl.etcd.snapshot import inspect_snapshot
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.plan.prepare import installation
from drctl.plan.runbook import Runbook


def snapshot_facts(path: Path) -> dict[str, Any]:
    """What judges and the confirmation know of the snapshot; raises InvalidInput (exit 3)."""
    snapshot = inspect_snapshot(path.absolute())
    plain: dict[str, Any] = json.loads(json.dumps(snapshot.as_facts(time.time())))
    return plain


def snapshot_again(state: RunState, given: Path | None) -> dict[str, Any]:
    """The same for an unfinished run: as it was, with the file's path and digest as they are now.
    A file that was sent everywhere is not read again, and may be gone."""
    recorded: dict[str, Any] = state.plan["facts"].get("snapshot") or {}
    if not recorded:
        return {}
    path = given or Path(recorded["path"])
    sent = _sending_steps(state.plan, recorded["path"])
    if given is None and all(step in state.steps_done for step in sent):
        return recorded
    found = inspect_snapshot(path)
    return {**recorded, "path": str(path.absolute()), "sha256": found.sha256}


def _sending_steps(recorded: Mapping[str, Any], path: str) -> list[str]:
    """The steps of a journalled plan that send the local file."""
    return [
        step["id"]
        for step in recorded["steps"]
        if any(path in task["sources"].values() for task in step["tasks"].values())
    ]


def tool_facts(inventory: Inventory) -> dict[str, Any]:
    """The binaries that are sent to nodes, each with its digest; raises InvalidInput (exit 3)."""
    paths = {member.tools.upload for member in inventory.members} - {None}
    sent = {}
    for path in paths:
        try:
            with Path(str(path)).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InvalidInput(
                f"{path} cannot be read on this machine: {error.strerror}",
                hint=f"fix etcd.etcdutl in {inventory.path}",
            ) from error
        sent["etcdutl"] = {"path": str(path), "sha256": digest}
    return {"tools": sent} if sent else {}


def prepare_facts(inventory: Inventory, book: Runbook) -> dict[str, Any]:
    """What is to be installed, where the runbook and the inventory speak of it; else {}. Raises
    InvalidInput where the local files are invalid (exit 3)."""
    return installation(inventory) if book.prepares else {}


def prepare_facts_again(inventory: Inventory, book: Runbook, state: RunState) -> dict[str, Any]:
    """The same for an unfinished run. Files that were installed everywhere may be gone or expired
    by now: then they are what they were."""
    recorded: dict[str, Any] = state.plan["facts"].get("prepare", {})
    installing = [s["id"] for s in state.plan["steps"] if s["role"] == "install"]
    try:
        return prepare_facts(inventory, book)
    except InvalidInput:
        if recorded and all(step in state.steps_done for step in installing):
            return recorded
        raise


def prepare_facts_of_nodes(prepare: Mapping[str, Any]) -> dict[str, Any]:
    """The same as nodes report it: without the local files that they name. What is sent is read
    from this machine's own inventory."""
    hosts = {
        host: {**what, "files": [{**file, "source": ""} for file in what["files"]]}
        for host, what in prepare.get("hosts", {}).items()
    }
    return {**prepare, "hosts": hosts} if hosts else {}
