"""The simulated cluster on a bad day: connections that break before or after the effect, answers
that say "still running", jobs that fail, and machines that die in the middle of a rename and come
back. What goes wrong is decided beforehand, by the number of the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drctl.engine.jobs import NOT_OWNER
from drctl.errors import ConnectionLost, Unreachable
from drctl.inventory import Inventory
from drctl.transport import CommandResult, Script
from tests.model.harness import MortalTransport
from tests.model.simulation import Env, Node, note_start

LOOK_FAULTS = ("unreachable", "lost", "fails", "unclear")
JOB_FAULTS = ("unreachable", "lost before", "lost after", "slow", "fails", "dies before", "dies")
UPLOAD_FAULTS = ("unreachable", "lost before", "lost after")


class Died(Exception):
    """The node's machine went down in the middle of a job."""


class Spoilt(Exception):
    """What a node's own script refuses: its job ends with status 1."""


@dataclass
class Weather:
    """What goes wrong: number of the call of that kind -> fault. Each strikes once."""

    looks: Mapping[int, str] = field(default_factory=dict)
    jobs: Mapping[int, str] = field(default_factory=dict)
    uploads: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._counts = {"looks": 0, "jobs": 0, "uploads": 0}

    def now(self, kind: str) -> str:
        number = self._counts[kind]
        self._counts[kind] += 1
        fault: str = getattr(self, kind).get(number, "")
        return fault


class RoughCluster(MortalTransport):
    """`weather` is that of the current session; fair by default."""

    def __init__(self, inventory: Inventory, sha256: str) -> None:
        super().__init__(inventory, sha256)
        self.weather = Weather()
        self._dying = False
        self.units = {name: dict(node.services) for name, node in self.nodes.items()}
        self.pending: dict[tuple[str, str], int] = {}  # (host, job) -> answers "running" to come

    # -- what goes wrong --------------------------------------------------------------------

    def run(
        self,
        host: str,
        script: Script,
        env: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> CommandResult:
        if script.name == "job/start":
            return self._start_in(self.weather.now("jobs"), host, script, env, deadline)
        if script.name == "job/wait" and self.pending.get((host, (env or {})["DRCTL_JOB"]), 0):
            self.pending[host, (env or {})["DRCTL_JOB"]] -= 1
            return CommandResult(0, "running\n")
        if script.name.startswith("job/"):
            return super().run(host, script, env, deadline=deadline)
        fault = self.weather.now("looks")
        if fault == "unreachable":
            raise Unreachable("no route to host", host=host)
        if fault == "fails":
            return CommandResult(1, "", "sh: out of memory")
        answer = super().run(host, script, env, deadline=deadline)
        if fault == "lost":
            raise ConnectionLost("the connection broke before an answer came", host=host)
        if fault == "unclear" and "state=" in answer.stdout:
            return CommandResult(0, "state=unknown\nwhy=it cannot be told\n")
        return answer

    def _start_in(
        self, fault: str, host: str, script: Script, env: Mapping[str, str] | None, deadline: float
    ) -> CommandResult:
        call = dict(env or {})
        if fault == "unreachable":
            raise Unreachable("no route to host", host=host)
        if fault == "lost before":
            raise ConnectionLost("the connection broke before an answer came", host=host)
        if fault in ("fails", "dies before", "dies") and not self._turned_away(host, call):
            return self._spoilt(fault, host, script, call, deadline)
        answer = super().run(host, script, call, deadline=deadline)
        if fault == "lost after":
            raise ConnectionLost("the connection broke before an answer came", host=host)
        if fault == "slow" and answer.stdout.startswith("done"):
            self.pending[host, call["DRCTL_JOB"]] = 2
            return CommandResult(0, "running\n")
        return answer

    def _turned_away(self, host: str, call: Mapping[str, str]) -> bool:
        """Whether the node would only say whose it is, or what became of the job before."""
        owner = self.nodes[host].owner
        mine = (owner.get("run"), owner.get("epoch")) == (call["DRCTL_RUN"], call["DRCTL_EPOCH"])
        return not mine or f"{call['DRCTL_RUN']}/{call['DRCTL_JOB']}" in self.nodes[host].jobs

    def _spoilt(
        self, fault: str, host: str, script: Script, call: dict[str, str], deadline: float
    ) -> CommandResult:
        node, job = self.nodes[host], f"{call['DRCTL_RUN']}/{call['DRCTL_JOB']}"
        note_start(node, call)
        if fault == "fails":
            node.jobs[job] = 1
            return CommandResult(0, "done 1\n", "no space left on device")
        if fault == "dies":
            self._dying = True
            try:
                super().run(host, script, call, deadline=deadline)
            except Died:
                pass
            finally:
                self._dying = False
        node.jobs[job] = LOST
        self.reboot(host)
        raise ConnectionLost("the connection broke before an answer came", host=host)

    def upload(self, host: str, source: Path, target: str, **kwargs: Any) -> None:
        fault = self.weather.now("uploads")
        if fault == "unreachable":
            raise Unreachable("no route to host", host=host)
        if fault != "lost before":
            super().upload(host, source, target, **kwargs)
        if fault:
            raise ConnectionLost("the connection broke before an answer came", host=host)

    # -- what a machine does ----------------------------------------------------------------

    def reboot(self, host: str) -> None:
        """All that is enabled and not fenced comes up; half-written files are what they were."""
        node = self.nodes[host]
        for unit in node.services:
            node.services[unit] = unit not in node.fenced
            node.pids[unit] += 1

    def nudge(self, host: str, unit: str) -> None:
        """Somebody (a timer, configuration management) starts a unit."""
        node = self.nodes[host]
        node.services[unit] = node.services[unit] or unit not in node.fenced

    def _start(self, host: str, script: Script, env: Env) -> CommandResult:
        node = self.nodes[host]
        if node.jobs.get(f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}") == LOST:
            return CommandResult(0, "lost\n")
        try:
            return super()._start(host, script, env)
        except Spoilt as error:
            node.jobs[f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}"] = 1
            return CommandResult(0, "done 1\n", str(error))

    def _wait(self, host: str, script: Script, env: Env) -> CommandResult:
        if self.nodes[host].jobs.get(f"{env['DRCTL_RUN']}/{env['DRCTL_JOB']}") == LOST:
            return CommandResult(0, "lost\n")
        return super()._wait(host, script, env)

    # -- acts that can be torn in two ---------------------------------------------------------

    def _die_here(self) -> None:
        if self._dying:
            raise Died

    def _fence(self, node: Node, script: Script, env: Env) -> None:
        self._die_here()
        super()._fence(node, script, env)

    def _start_units(self, node: Node, script: Script, env: Env) -> None:
        super()._start_units(node, script, env)
        self._die_here()

    def _as_before(self, node: Node, script: Script, env: Env) -> None:
        super()._as_before(node, script, env)
        self._die_here()

    def _restart(self, node: Node, script: Script, env: Env) -> None:
        self._die_here()
        super()._restart(node, script, env)

    def _accept(self, node: Node, script: Script, env: Env) -> None:
        if node.file and not node.part:  # the name, and no mark yet: verified again
            node.file, node.part = False, True
        super()._accept(node, script, env)
        self._die_here()

    def _rebuild(self, node: Node, script: Script, env: Env) -> None:
        if node.moved_out:
            raise Spoilt("the swap has begun: the new data is not rebuilt any more")
        self._die_here()
        super()._rebuild(node, script, env)

    def _clean(self, node: Node, script: Script, env: Env) -> None:
        node.part, node.new = False, None
        self._die_here()
        super()._clean(node, script, env)

    def _swap(self, node: Node, script: Script, env: Env) -> None:
        assert not node.services["etcd"] and "etcd" in node.fenced, "swapped under a live etcd"
        if not node.moved_out:
            assert node.kept is None
            node.effects["swap"] += 1
            node.kept, node.live, node.moved_out = node.live, None, True
            self._die_here()
        if not node.moved_in:
            node.live, node.new, node.moved_in = node.new, None, True

    def _swap_back(self, node: Node, script: Script, env: Env) -> None:
        assert not node.services["etcd"] and "etcd" in node.fenced, "swapped under a live etcd"
        if node.moved_in:
            node.live, node.new, node.moved_in = None, node.live, False
            self._die_here()
        if node.moved_out:
            node.effects["swap back"] += 1
            node.live, node.kept, node.moved_out = node.kept, None, False


LOST = -1
"""The status of a job whose machine died: none."""
__all__ = ["JOB_FAULTS", "LOOK_FAULTS", "NOT_OWNER", "UPLOAD_FAULTS", "RoughCluster", "Weather"]
