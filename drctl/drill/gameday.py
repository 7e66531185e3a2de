"""Game days: labs, disasters, restores by the product's own command line, proofs from outside it,
and a record of each. Labs are ended and removed whatever happens.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drctl import __version__
from drctl.drill import drivers, kubeworld, record, reporting, witness
from drctl.drill.drivers import LabOptions
from drctl.drill.operator import Operator
from drctl.drill.record import DrillRecord, HostMachine, TopologyNode, Versions
from drctl.drill.rehearsal import LATER_KEYS, Rehearsal
from drctl.drill.scenario import Needs, Scenario
from drctl.drill.times import utc_now
from drctl.errors import Aborted, DrctlError, Refused
from drctl.lab.gateway import GatewayError
from drctl.lab.kubeapi import KubeError
from drctl.lab.labs import Say
from drctl.lab.site import Site

__all__ = ["LATER_KEYS", "Drill", "StepTime", "lines", "split_by_phase"]


@dataclass(frozen=True)
class StepTime:
    """One (step, host) of a run, as `drctl runs show` tells it; times in seconds."""

    id: str
    phase: str
    host: str
    state: str
    started: str
    seconds: float


@dataclass
class Drill:
    """A number of scenarios, one after the other, with one driver.

    A lab is used again by the next scenario that needs the same, unless the one before failed or
    says that it leaves a lab to no other.
    """

    driver: str
    options: LabOptions
    state_dir: Path
    say: Say
    directory: Path | None = None  # the lab's folder; None: a temporary one
    staged: bool = False
    keep: bool = False  # leave the last lab up

    def __post_init__(self) -> None:
        self.practice = drivers.practice(self.driver)
        self._site: Site | None = None
        self._lab: tuple[object, ...] = ()  # the kind of lab that may be used again

    def left_of(self, scenarios: Sequence[Scenario]) -> list[Scenario]:
        """Those that have not passed yet with this drctl, driver and flavour, and with Kubernetes
        in front if that is asked for, by the records."""
        flavour = self.practice.flavour(self.options)
        real = self.options.kubernetes != "none"
        passed = {
            (made.scenario, made.staged)
            for made in reporting.records(self.state_dir, self.say)
            if made.proven
            and (bool(made.versions.kubernetes) or not real)
            and (made.driver, made.flavour) == (self.driver, flavour)
            and made.versions.drctl == __version__
        }
        left = [
            one
            for one in scenarios
            if (one.scenario, as_asked(one, staged=self.staged).staged) not in passed
        ]
        self.say(f"{len(scenarios) - len(left)} of {len(scenarios)} passed before")
        return left

    def run(self, scenarios: Sequence[Scenario]) -> list[DrillRecord]:
        """Drill each; every record is saved as soon as it is there. A scenario that cannot be run
        here is recorded as skipped. Raises Aborted; everything else is in the records."""
        place = self.directory or Path(tempfile.mkdtemp(prefix="drctl-drill-")) / "lab"
        made = None if self.directory else place.parent
        try:
            with _signals_as_errors():
                try:
                    return [self._drill(place, scenario) for scenario in scenarios]
                finally:
                    if not self.keep:
                        self._down(place)
        finally:
            if made and not self.keep:
                with contextlib.suppress(OSError):  # not empty when `down` has failed: it says so
                    made.rmdir()

    def _drill(self, place: Path, scenario: Scenario) -> DrillRecord:
        made = _Making(self, as_asked(scenario, staged=self.staged))
        reason = drivers.why_not(self.practice, scenario.needs, self.options)
        if reason:
            self.say(f"{scenario.scenario}: skipped: {reason}")
            return self._saved(made.skipped(reason))
        try:
            site = self._lab_for(place, scenario.needs)
        except Aborted:
            raise
        except DrctlError as error:
            self.say(f"{scenario.scenario}: no lab: {error}")
            return self._saved(made.failed(f"no lab: {error}"))
        self.say(f"== {scenario.scenario}: {scenario.title}")
        operator = Operator(site.inventory, site.directory / "state", self.say)
        rehearsal = Rehearsal(site, made.scenario, operator, self.say)
        versions = _versions(site)
        rehearsal.run()
        done = made.done(rehearsal, versions)
        if done.verdict != "passed" or scenario.needs.lab_of_its_own:
            self._lab = ()  # the next one gets a lab of its own
        return self._saved(done)

    def _lab_for(self, place: Path, needs: Needs) -> Site:
        wanted = needs.lab
        if self._site is not None and self._lab == wanted:
            return self._site
        self._down(place)
        self._site = drivers.up(self.practice, place, needs, self.options, self.say)
        self._lab = wanted
        return self._site

    def _down(self, place: Path) -> None:
        if self._site is not None:
            self._site, self._lab = None, ()
            drivers.down(self.practice, place, self.say)

    def _saved(self, made: DrillRecord) -> DrillRecord:
        record.save(made, self.state_dir)
        page = reporting.write_page(made, self.state_dir, self.say)
        self.say(f"report: {page}")
        return made


def as_asked(scenario: Scenario, *, staged: bool) -> Scenario:
    """The scenario, its restores in the staged order if that is asked for."""
    if not staged:
        return scenario
    items = tuple(
        item.model_copy(update={"staged": True}) if item.type == "restore" else item
        for item in scenario.restore
    )
    return scenario.model_copy(update={"restore": items})


class _Making:
    """A record in the making: what is known before the drill begins."""

    def __init__(self, drill: Drill, scenario: Scenario) -> None:
        self.scenario = scenario
        self._driver = drill.driver
        self._flavour = drill.practice.flavour(drill.options)
        self._started = utc_now()

    def skipped(self, reason: str) -> DrillRecord:
        return self._record(verdict="skipped", reason=reason)

    def failed(self, reason: str) -> DrillRecord:
        return self._record(verdict="failed", reason=reason)

    def done(self, seen: Rehearsal, versions: Versions) -> DrillRecord:
        """What the rehearsal came to."""
        scene, moments = seen.scene, seen.moments
        restored = self.scenario.restores and bool(moments.proven)
        lost = witness.differences(scene.later.content, scene.before.content)
        typed = [c for c in seen.commands if not c.typed.startswith("drctl backup")]
        figures = {
            "rto_seconds": moments.proven - moments.damaged,
            "rpo_seconds": moments.damaged - moments.backed_up,
            "rpo_revisions": scene.later.revision - scene.before.revision,
            "rpo_keys": len(lost),
        }
        return self._record(
            flavour=seen.site.flavour,
            versions=versions,
            topology=_topology(seen.site),
            actions=tuple(seen.actions),
            commands=tuple(seen.commands),
            runs=tuple(seen.reports),
            **(figures if restored else {}),
            rpo_objects=scene.kube_lost if restored else {},
            restore_seconds=sum(command.seconds for command in typed),
            phases=split_by_phase(_timeline(scene.runs)),
            proofs=tuple(seen.proofs),
            not_tested=(*self.scenario.not_tested, *seen.not_tested),
            verdict="failed" if seen.verdict else "passed",
            reason=seen.verdict,
            directory=str(seen.site.directory),
        )

    def _record(self, **known: Any) -> DrillRecord:
        scenario = self.scenario
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{scenario.scenario}-{secrets.token_hex(2)}"
        nothing = dict.fromkeys(("rto_seconds", "rpo_seconds", "rpo_revisions", "rpo_keys"))
        empty = dict.fromkeys(("topology", "actions", "commands", "runs", "proofs"), ())
        fields: dict[str, Any] = {
            "drill": stamp,
            "scenario": scenario.scenario,
            "title": scenario.title,
            "story": scenario.story.strip(),
            "driver": self._driver,
            "flavour": self._flavour,
            "staged": scenario.staged,
            "operator": f"{getpass.getuser()}@{socket.gethostname()}",
            "started": self._started,
            "finished": utc_now(),
            "machine": _machine(),
            "versions": Versions(__version__, "", ""),
            **empty,
            **nothing,
            "restore_seconds": 0.0,
            "phases": {},
            "rpo_objects": {},
            "not_tested": scenario.not_tested,
        }
        return DrillRecord(**fields | known)


def _machine() -> HostMachine:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return HostMachine(system, os.cpu_count() or 0, memory, platform.python_version())


def _versions(site: Site) -> Versions:
    try:
        with witness.gateway(site, witness.members(site)[0]) as door:
            etcd = str(door.status().get("version", ""))
    except GatewayError:
        etcd = ""
    return Versions(__version__, etcd, _kubernetes_version(site))


def _kubernetes_version(site: Site) -> str:
    if site.kubernetes is None:
        return ""
    try:
        with kubeworld.api(site, witness.members(site)[0]) as door:
            return str(door.get("/version")["gitVersion"])
    except KubeError:
        return ""


def _topology(site: Site) -> tuple[TopologyNode, ...]:
    return tuple(
        TopologyNode(node.name, tuple(sorted(node.roles)), node.address, node.member_name)
        for node in site.nodes
    )


@contextlib.contextmanager
def _signals_as_errors() -> Iterator[None]:
    """SIGTERM and SIGHUP would end Python without its `finally`, and leave the lab running."""

    def stop(number: int, _frame: object) -> None:
        raise Aborted(f"the drill was stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _timeline(runs: Sequence[Mapping[str, Any]]) -> tuple[StepTime, ...]:
    names = StepTime.__dataclass_fields__
    steps = [StepTime(**{name: s[name] for name in names}) for run in runs for s in run["steps"]]
    return tuple(sorted(steps, key=lambda step: step.started))


def split_by_phase(timeline: Sequence[StepTime]) -> dict[str, float]:
    """Seconds between each phase's first start and last end, in order of the first start."""
    spans: dict[str, tuple[float, float]] = {}
    for step in timeline:
        if not step.started:
            continue
        begun = datetime.fromisoformat(step.started).timestamp()
        first, last = spans.get(step.phase, (begun, begun))
        spans[step.phase] = min(first, begun), max(last, begun + step.seconds)
    return {phase: last - first for phase, (first, last) in spans.items()}


def lines(made: DrillRecord) -> list[str]:
    """A record for people."""
    marks = {True: "proven", False: "NOT PROVEN"}
    rows = [f"{marks[proof.ok]:>10}  {proof.what}: {proof.detail}" for proof in made.proofs]
    rows += [f"not tested  {what}" for what in made.not_tested]
    if made.rto_seconds is not None:
        rows += [
            f"RTO {made.rto_seconds:.1f} s from the damage to the last proof, "
            f"of which the restore took {made.restore_seconds:.1f} s:",
            *(f"{seconds:10.1f}  {phase}" for phase, seconds in made.phases.items()),
            f"RPO {made.rpo_seconds:.1f} s: {made.rpo_revisions} revisions and {made.rpo_keys} "
            "keys written after the backup are lost",
        ]
    return [*rows, f"{made.scenario}: {made.verdict}{f': {made.reason}' if made.reason else ''}"]


def outcome(records: Sequence[DrillRecord]) -> None:
    """Refused where nothing was drilled at all: skipped is not passed."""
    if records and all(made.verdict == "skipped" for made in records):
        reasons = "; ".join(f"{made.scenario}: {made.reason}" for made in records)
        raise Refused(f"nothing was drilled: {reasons}", hint="drctl drill list")
