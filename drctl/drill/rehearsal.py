"""One scenario in a lab that is up, from the backup to the last proof."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from drctl.drill import breaks, kubeworld, proofs, witness
from drctl.drill.context import Scene
from drctl.drill.expectation import NotHere, judged
from drctl.drill.operator import Operator
from drctl.drill.record import Action, Command, Proof
from drctl.drill.scenario import Act, Item, Scenario, chosen
from drctl.drill.times import utc_now
from drctl.errors import Aborted, DrctlError, NotProven
from drctl.lab import data
from drctl.lab.labs import Say
from drctl.lab.site import Site
from drctl.lab.waiting import until

# A survivor that led stays the leader for up to two election timeouts (etcd: 1 s each) after
# its peers are gone, on a slow machine longer, and a restore refuses to replace a cluster that has
# one. Nobody types so soon.
_NOTICED_SECONDS, _NOTICED_AT_LAST_SECONDS = 3.0, 60.0
LATER_KEYS = 25
_VALUE_BYTES = 256
TROUBLE = (DrctlError, OSError)


@dataclass
class Moments:
    """When what happened in a drill, on the monotonic clock; 0.0: not come yet."""

    backed_up: float = 0.0
    damaged: float = 0.0
    proven: float = 0.0


@dataclass
class Rehearsal:
    """What happened so far. `run` fills it and never raises what is the drill's own result."""

    site: Site
    scenario: Scenario
    operator: Operator
    say: Say
    scene: Scene = field(init=False)
    moments: Moments = field(default_factory=Moments)
    actions: list[Action] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    not_tested: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""

    def __post_init__(self) -> None:
        self.scene = Scene(self.site, self.operator, self.say)
        self._old_runs = set(self.operator.runs())

    def run(self) -> None:
        """Run the scenario. What goes wrong is in `trouble`; Aborted propagates."""
        try:
            self._before()
            self._disaster()
            for item in self.scenario.restore:
                self._item(item, "restore")
            self._prove(self.scenario.prove)
            self.moments.proven = time.monotonic()
            for item in self.scenario.afterwards:
                self._item(item, "afterwards")
        except Aborted:
            raise
        except TROUBLE as error:
            self.trouble = str(error)
            self.say(f"the drill stops here: {error}")
        self._report()

    def _report(self) -> None:
        """What the runs' journals prove, as long as they are there: they go with the lab."""
        for run in self.operator.runs():
            if run in self._old_runs:
                continue
            try:
                self.reports.append(self.operator.report(run))
            except TROUBLE as error:
                self.not_tested.append(f"what run {run} proves: {error}")

    @property
    def verdict(self) -> str:
        """Why it failed; "" when everything was as it must be."""
        if self.trouble:
            return self.trouble
        failed = [proof.what for proof in self.proofs if not proof.ok]
        return f"not proven: {', '.join(failed)}" if failed else ""

    def _before(self) -> None:
        self._write_before()  # first: what is prepared may refuse every write
        for act in self.scenario.prepare:
            self._act(act, "prepare")
        self.say("backing up")
        answer, made = self.operator.backup(self.site.directory / "backup")
        self.moments.backed_up = time.monotonic()
        self.commands.append(answer.command)
        scene, first = self.scene, self.scene.members[0]
        scene.snapshot = Path(str(made["path"]))
        scene.before = witness.look(self.site, first, int(made["revision"]))

    def _disaster(self) -> None:
        scene = self.scene
        for act in self.scenario.meanwhile:
            self._act(act, "meanwhile")
        self._write_later()
        scene.footprints = scene.footprint()
        self.say(f"the disaster: {self.scenario.title}")
        self.moments.damaged = time.monotonic()
        for act in self.scenario.damage:
            self._act(act, "damage")
        time.sleep(_NOTICED_SECONDS)
        until(
            lambda: not self._has_stale_leader(),
            _NOTICED_AT_LAST_SECONDS,
            "a pause without a leader",
        )

    def _has_stale_leader(self) -> bool:
        """Whether a minority that is left still follows a leader."""
        told = [witness.leader(self.site, node) for node in self.scene.members]
        heard = [one for one in told if one is not None]
        return any(heard) and len(heard) * 2 <= len(told)

    def _write_before(self) -> None:
        """What only real Kubernetes can hold: a lab's bare etcd was filled when it came up."""
        scene = self.scene
        if self.site.kubernetes is None:
            return
        with kubeworld.api(self.site, scene.members[0]) as door:
            kubeworld.write_before(door, scene.name)
            scene.kube_before = kubeworld.look(door)
        self.say(f"{len(scene.kube_before.uids)} Kubernetes objects, {scene.kube_before.counts()}")

    def _write_later(self) -> None:
        """Change the data after the backup: new keys, and one object replaced."""
        scene, site = self.scene, self.site
        pairs = list(
            data.items(f"later-{scene.name}", LATER_KEYS, _VALUE_BYTES, witness.prefix(site))
        )
        with witness.gateway(site, scene.members[0]) as door:
            door.put_all(pairs)
            if site.kubernetes is None:
                door.put_all([(data.NAMESPACE_KEY, data.namespace("after the backup"))])
        if site.kubernetes:
            with kubeworld.api(site, scene.members[0]) as api:
                kubeworld.write_later(api, scene.name)
                scene.kube_later = kubeworld.look(api)
        scene.written = frozenset(key for key, _ in pairs)
        scene.later = witness.look(site, scene.members[0])
        self.say(f"{LATER_KEYS} keys written after the backup")

    def _item(self, item: Item, part: str) -> None:
        if item.do:
            self._act(item.act, part)
        elif item.prove:
            self._prove(item.prove)
        else:
            self._type(item, part)

    def _act(self, act: Act, part: str, moment: str = "") -> None:
        kind = breaks.KINDS[act.do]
        for node in chosen(act.on or kind.on, self.site.nodes):
            self.say(f"{node.name}: {act.do}{f' (at {moment})' if moment else ''}")
            begun, at = time.monotonic(), utc_now()
            for deed in kind.deeds:
                deed(self.scene, node)
            seconds = round(time.monotonic() - begun, 3)
            self.actions.append(Action(act.do, kind.summary, node.name, part, moment, at, seconds))

    def _type(self, item: Item, part: str) -> None:
        holds = tuple(dict.fromkeys([held.at for held in item.during]))
        if item.kill_at:
            holds = (*holds, item.kill_at)
        arguments = self._arguments(item)
        self.say(f"running: drctl {' '.join(arguments)}")
        answer = self.operator.types(
            *arguments,
            expected=None if item.kill_at else item.exit_code,
            holds=holds,
            meanwhile=partial(self._meanwhile, item, part),
        )
        self.commands.append(answer.command)
        self._learn_runs()
        if not answer.command.as_expected:
            raise NotProven(surprise(answer.command))

    def _meanwhile(self, item: Item, part: str, moment: str) -> bool:
        for held in item.during:
            if held.at == moment:
                self._act(held, part, moment)
        return moment != item.kill_at

    def _arguments(self, item: Item) -> list[str]:
        snapshot = ["--snapshot", str(self.scene.snapshot)]
        on = [*self.operator.on]
        flags = ["--staged"] * item.staged + ["--replace-healthy"] * item.replace_healthy
        for node in chosen(item.abandon or "nobody", self.site.nodes):
            flags += ["--abandon", node.name]
        ways: Mapping[str, list[str]] = {
            "restore": ["restore", *snapshot, *on, *flags, "--yes"],
            "resume": ["restore", "--resume", *on, "--yes"],
            "rollback": ["rollback", *on, "--yes"],
            "preflight": ["preflight", *on, *snapshot],
            "verify": ["verify", *on],
        }
        return ways[item.type or ""]

    def _learn_runs(self) -> None:
        """Read what the journals of this drill's runs say now."""
        ours = [run for run in self.operator.runs() if run not in self._old_runs]
        self.scene.runs = [self.operator.run(run) for run in ours]

    def _prove(self, names: tuple[str, ...]) -> None:
        for name in proofs.spelled_out(names):
            expectation = proofs.PROOFS[name]
            try:
                proof = judged(name, expectation, self.scene)
            except NotHere as reason:
                self.not_tested.append(f"{expectation.what}: {reason}")
                continue
            self.proofs.append(proof)
            self.say(f"{'proven' if proof.ok else 'NOT PROVEN'}: {proof.what}: {proof.detail}")


def surprise(command: Command) -> str:
    """What a command did that the scenario does not say."""
    ended = "was killed" if command.exit_code is None else f"ended with {command.exit_code}"
    return f"{command.typed} {ended}, not with {command.expected}"
