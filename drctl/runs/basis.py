"""What a plan is made of, besides the inventory. A new run's comes from this machine; that of an
earlier run from its journal, or from what the nodes keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan
from drctl.plan.planner import Planner
from drctl.plan.runbook import Runbook, load_runbook
from drctl.runs.facts import prepare_facts, snapshot_facts, tool_facts
from drctl.runs.judges import JUDGES


@dataclass(frozen=True)
class Basis:
    """`snapshot` and `prepare` (what is to be installed) are as in `drctl.runs.facts`, {} where
    there is none."""

    runbook: Runbook
    snapshot: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    prepare: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        inventory: Inventory,
        runbook: str,
        snapshot: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Basis:
        """`runbook` is a shipped one's name or a path. Raises InvalidInput for an invalid local
        file (exit 3)."""
        facts = snapshot_facts(snapshot) if snapshot else {}
        book = load_runbook(runbook)
        return cls(book, facts, options or {}, prepare_facts(inventory, book))

    @classmethod
    def recorded(cls, state: RunState) -> Basis:
        """As the run's journal has it; reads no local file but the runbook."""
        facts = state.plan["facts"]
        return cls(
            load_runbook(state.runbook),
            facts.get("snapshot") or {},
            state.plan["options"],
            facts.get("prepare") or {},
        )

    def planner(self, inventory: Inventory) -> Planner:
        """Makes plans of it; raises InvalidInput for a binary that cannot be sent (exit 3)."""
        facts = {"snapshot": self.snapshot, "prepare": self.prepare}
        return Planner(
            inventory=inventory.without(self.options.get("abandon", ())),
            facts={
                **{name: dict(known) for name, known in facts.items() if known},
                **tool_facts(inventory),
            },
            options=self.options,
            source=self.snapshot["path"] if self.snapshot else None,
            judges=frozenset(JUDGES),
        )

    def plan(self, inventory: Inventory) -> Plan:
        return self.planner(inventory).plan(self.runbook)
