"""A plan carried out from this machine: the engine put together with its journal, its way to the
hosts, its judges and those who watch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from drctl import __version__
from drctl.engine.jobs import Jobs
from drctl.engine.session import Session
from drctl.engine.walk import Engine
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, fold
from drctl.plan.model import Plan, PlannedStep
from drctl.plan.secrets import HidingTransport, hider
from drctl.runs.controller import Controller
from drctl.runs.judges import JUDGES
from drctl.runs.left_on_nodes import manifest, record
from drctl.runs.readback import refuse_unreadable
from drctl.runs.stray_copies import swept
from drctl.runs.unpacking import UnpackingTransport
from drctl.transport import Transport
from drctl.ui.console import Watch
from drctl.ui.prompts import question

ENDS = {"forward": "done", "undo": "rolled-back", "clean": "cleaned"}
"""Direction of a session -> the state of a run that it finished."""


def execute(
    controller: Controller,
    transport: Transport,
    plan: Plan,
    journal: Journal,
    direction: Literal["forward", "undo", "clean"],
) -> RunState:
    """A session of its own over what `plan` leaves to do; raises the error that ended it."""
    state = fold(journal.events)
    refuse_unreadable(plan, state, controller.who)
    journal.append(
        "session",
        epoch=state.epoch + 1,
        direction=direction,
        who=controller.who,
        process=os.getpid(),
        drctl=__version__,
        digest=plan.digest,
        steps=plan.outline(),
        **({"without": list(without)} if (without := plan.options.get("without")) else {}),
    )
    with (
        swept(transport, plan, journal, remove=True),
        engine_over(controller, transport, plan, journal) as engine,
    ):
        return engine.run(done=ENDS[direction])


@contextmanager
def engine_over(
    controller: Controller, transport: Transport, plan: Plan, journal: Journal
) -> Iterator[Engine]:
    """The engine over `plan`, watched on the terminal for as long as the block runs."""
    state = fold(journal.events)
    watch = Watch(plan, quiet=controller.quiet)
    if path := (plan.facts.get("snapshot") or {}).get("path"):
        transport = UnpackingTransport(transport, Path(path))
    transport = HidingTransport(transport, hider(controller.secrets.given))
    journal.subscribe(watch)
    jobs = Jobs(
        transport,
        run=state.run,
        epoch=state.epoch,
        who=controller.who,
        direction=state.direction,
        journal=state.journal,
        head=lambda: journal.head,
        work_dirs=plan.work_dirs,
        sleep=controller.sleep,
        clock=controller.clock,
    )

    def confirm(step: PlannedStep, so_far: RunState) -> str | None:
        watch.pause()
        answer = controller.ask(*question(plan, step, so_far))
        watch.__enter__()
        return answer

    for host, why in state.compared.get("differ", {}).items():
        watch.say(f"warning: {host}: {why}", "yellow")
    with watch:
        session = Session(
            plan=plan,
            transport=transport,
            journal=journal,
            jobs=jobs,
            manifest=lambda so_far: manifest(plan, so_far, controller.who),
            record=lambda so_far, ended: record(plan, so_far, ended, controller.who),
            listener=watch,
            stop=controller.stop,
            parallel=controller.at_once(plan),
            secrets=controller.secrets.given,
            sleep=controller.sleep,
            clock=controller.clock,
        )
        yield Engine(session, JUDGES, confirm)
