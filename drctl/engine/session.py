"""What the parts of the engine share during one controller's life: the plan, the way to the hosts,
the journal and what it says so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from drctl.engine.jobs import Jobs
from drctl.errors import Aborted, DrctlError
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, apply_event, fold
from drctl.plan.model import Plan, PlannedStep
from drctl.transport import Transport

T = TypeVar("T")


class Listener(Protocol):
    """Hears what has no place in the journal: bytes moved, and questions asked again."""

    def progress(self, step: PlannedStep, host: str, done: int, total: int) -> None: ...

    def waiting(self, step: PlannedStep, why: str) -> None: ...


class Silent:
    """A listener that does not listen."""

    def progress(self, step: PlannedStep, host: str, done: int, total: int) -> None:
        pass

    def waiting(self, step: PlannedStep, why: str) -> None:
        pass


def each(hosts: Sequence[str], work: Callable[[str], T], *, at_once: int) -> Iterator[T]:
    """What `work` makes of each host, in their order; where one at a time, as it is asked for."""
    if min(at_once, len(hosts)) <= 1:
        yield from map(work, hosts)
        return
    with ThreadPoolExecutor(max_workers=min(at_once, len(hosts))) as pool:
        made = list(pool.map(work, hosts))  # all are over before anybody hears of the first
    yield from made


Confirm = Callable[[PlannedStep, RunState], str | None]
"""Ask the operator; how it was answered ("typed 'prod'", "--yes"), or None for no."""


@dataclass
class Session:
    """One plan under way. `stop` asks for an end at the next safe point."""

    plan: Plan
    transport: Transport
    journal: Journal
    jobs: Jobs
    manifest: Callable[[RunState], str]  # what each node keeps of the run while it is under way
    record: Callable[[RunState, str], str]  # and, given how it ended, what it keeps afterwards
    listener: Listener = field(default_factory=Silent)
    stop: threading.Event = field(default_factory=threading.Event)
    parallel: int = 8  # hosts that are worked on at the same time
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time  # to hold the hosts' clocks against

    def __post_init__(self) -> None:
        self.state = fold(self.journal.events)
        self._lock = threading.Lock()

    def note(self, kind: str, **body: Any) -> None:
        """Journal an event; when this returns it is on disk and in `state`."""
        with self._lock:
            apply_event(self.state, self.journal.append(kind, **body))

    def note_all(self, kind: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        """The same for several events of one kind, with one wait for the disk."""
        with self._lock:
            for event in self.journal.append_all((kind, body) for body in bodies):
                apply_event(self.state, event)

    def check_stop(self) -> None:
        """A safe point: raises Aborted where the operator asked for an end."""
        if self.stop.is_set():
            raise Aborted("stopped by the operator at a safe point", hint="resume or roll back")

    def begun(self, step_id: str) -> bool:
        """Whether this step was meant to change any host."""
        return step_id in self.state.intended

    @property
    def changed(self) -> bool:
        """Whether the run changed any node; of an undo (or a clean), whether that did yet."""
        if self.state.direction != "forward":
            return any(self.begun(step.id) for step in self.plan.steps)
        return self.state.changed

    def each_host(self, step: PlannedStep, work: Callable[[str], None]) -> dict[str, DrctlError]:
        """Run `work` for every host; one that fails does not stop those that go with it, but those
        that come after. Returns the failures."""
        failures: dict[str, DrctlError] = {}

        def guarded(host: str) -> None:
            try:
                work(host)
            except DrctlError as error:
                error.host = error.host or host
                failures[host] = error

        at_once = min(self.parallel, step.at_once or self.parallel)
        for wave in self._waves(step):
            for _ in each(wave, guarded, at_once=at_once):
                pass
            if failures:
                break
        return failures

    def _waves(self, step: PlannedStep) -> Iterator[tuple[str, ...]]:
        """The step's hosts in the order of its strategy, each wave all at once."""
        named = self.state.values.get(step.last) or ()
        last = [host for host in step.hosts if host in named]
        others = tuple(host for host in step.hosts if host not in last)
        alone = {"one-by-one": len(others), "first-alone": 1}.get(step.strategy, 0)
        yield from ((host,) for host in others[:alone])
        if others[alone:]:
            yield others[alone:]
        yield from ((host,) for host in last)
