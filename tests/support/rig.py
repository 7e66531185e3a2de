"""A simulated cluster on which things go wrong on purpose, and a clock that only sleep moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drctl.errors import DrctlError, Unreachable
from drctl.inventory import Inventory
from drctl.transport import CommandResult, Script
from tests.model.harness import Clock
from tests.model.simulation import SimulatedCluster

READ_ONLY = {
    "node/machine",
    "node/owner",
    "node/records",
    "node/runs",
    "node/reading",
    "prepare/facts",
    "etcd/facts",
    "try/report",
    "etcd/live",
    "etcd/living",
    "etcd/written",
    "etcd/state",
    "etcd/state/at",
    "etcd/restored",
    "kube/health",
    "kube/ready",
    "kube/settings",
    "kube/secrets",
    "backup/sweep",
    "backup/look",
}
"""What a dry run or a check may call. (etcd/probe writes a key; a check sweeps to look.)"""


@dataclass
class Trouble:
    """What happens `times` times when `script` (for jobs: of `step`) is called on `host`."""

    script: str
    host: str | None
    step: str | None
    outcome: CommandResult | DrctlError | Callable[[], None]
    times: int
    after: bool

    def strikes(self, host: str, script: str, env: Mapping[str, str]) -> bool:
        return (
            self.times > 0
            and script == self.script
            and self.host in (None, host)
            and self.step in (None, env.get("DRCTL_STEP"))
        )


class Rig(SimulatedCluster):
    """`silent` hosts are unreachable."""

    def __init__(self, inventory: Inventory, sha256: str, clock: Clock | None = None) -> None:
        super().__init__(inventory, sha256)
        self.clock = clock or Clock()
        self.silent: set[str] = set()
        self.troubles: list[Trouble] = []
        self.started: list[
            tuple[str, str]
        ] = []  # (host, step) of every job/start that came through

    def trouble(
        self,
        script: str,
        outcome: CommandResult | DrctlError | Callable[[], None],
        *,
        host: str | None = None,
        step: str | None = None,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """An error is raised, an answer given, a function called before going on; with `after`
        only once the effect is there."""
        self.troubles.append(Trouble(script, host, step, outcome, times, after))

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        if host in self.silent:
            self.calls.append((host, script.name))
            raise Unreachable("no route to host", host=host)
        found = next((t for t in self.troubles if t.strikes(host, script.name, env or {})), None)
        if found:
            found.times -= 1
            if found.after:
                super().run(host, script, env, deadline=deadline)
            if isinstance(found.outcome, DrctlError):
                raise found.outcome
            if isinstance(found.outcome, CommandResult):
                self.calls.append((host, script.name))
                self.clock.sleep(1)  # an answer takes its time, so that deadlines come
                return found.outcome
            found.outcome()
        if script.name == "job/start":
            self.started.append((host, (env or {})["DRCTL_STEP"]))
        return super().run(host, script, env, deadline=deadline)

    def upload(self, host: str, source: Path, target: str, **kwargs: Any) -> None:
        if host in self.silent:
            raise Unreachable("no route to host", host=host)
        super().upload(host, source, target, **kwargs)

    def close(self) -> None:
        """No host hears of it, so it is no call."""

    def disaster(self) -> None:
        """Every etcd is dead, so that no quorum has to be replaced."""
        for node in self.nodes.values():
            if "etcd" in node.services:
                node.services["etcd"] = False

    def scripts(self) -> set[str]:
        return {name for _, name in self.calls}

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {name: node.condition() for name, node in self.nodes.items()}
