"""`drctl runs`: what was done."""

from __future__ import annotations

from pathlib import Path

import click

from drctl.cli import complete
from drctl.cli.common import (
    FILE,
    Options,
    output_option,
    state_dir_option,
    write_page,
)
from drctl.cli.lazy import LazyGroup
from drctl.errors import Refused
from drctl.evidence.document import run_evidence
from drctl.evidence.page import run_page, run_text
from drctl.journal.abandoned import back_again_lines
from drctl.journal.chain import now
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store
from drctl.nodes.comparison import compared
from drctl.ui.console import indented, print_json, print_table, print_text, tell
from drctl.ui.documents import human_seconds, run_document


@click.group("runs", cls=LazyGroup, places={"adopt": "drctl.cli.adopt:adopt_run"})
def runs_group() -> None:
    """Runs known on this machine."""


@runs_group.command("list")
@state_dir_option
@output_option
@click.pass_obj
def list_runs(options: Options) -> None:
    """List all runs, oldest first."""
    store = options.store
    states = [readable(store, cluster, run) for cluster, run in store.runs()]
    if options.json:
        keys = ("run", "cluster", "state", "runbook", "started", "finished", "next")
        print_json([{k: run_document(s)[k] for k in keys} for s in states])
        return
    print_table(
        ("run", "cluster", "state", "runbook", "started"),
        ((s.run, s.cluster, s.state, s.runbook, s.started[:19]) for s in states),
    )


def readable(store: Store, cluster: str, run: str) -> RunState:
    """The run's state; a damaged journal is reported on stderr, and hides no other run."""
    try:
        return store.state(cluster, run)
    except Refused as error:
        tell(f"warning: {error}")
        return RunState(run=run, cluster=cluster, state="failed", runbook="(unreadable)")


def chosen(store: Store, run: str | None, inventory: Path | None) -> tuple[str, str]:
    """(cluster, run) of the run that was asked for, by default the latest."""
    cluster = None
    if inventory:
        from drctl.inventory import load_inventory

        cluster = load_inventory(inventory).cluster
    found = [pair for pair in store.runs(cluster) if run in (None, pair[1])]
    if not found:
        raise Refused(f"no run {run!r}" if run else "no runs yet", hint="drctl runs list")
    return found[-1]


_inventory_option = click.option(
    "--inventory", "-i", type=FILE, help="Take the latest run of this cluster."
)


@runs_group.command("show")
@click.argument("run", required=False, shell_complete=complete.runs)
@_inventory_option
@state_dir_option
@output_option
@click.pass_obj
def show(options: Options, run: str | None, inventory: Path | None) -> None:
    """Show every step of a run, and what to run next.

    Default: the latest run."""
    store = options.store
    state = store.state(*chosen(store, run, inventory))
    document = run_document(state)
    if options.json:
        print_json(document)
        return
    print_text(f"run {document['run']} of {document['cluster']}: {document['state']}")
    print_table(
        ("phase", "step", "host", "state", "took", ""),
        (
            (s["phase"], s["id"], s["host"], s["state"], human_seconds(s["seconds"]), s["detail"])
            for s in document["steps"]
        ),
    )
    if error := document["error"]:
        at = f"{error['host']}: " if error["host"] else ""
        print_text(f"error: {at}{indented(error['message'], 2)}")
    for line in compared(state):
        print_text(f"note: {line}")
    for line in (*situation(state).lines(), *back_again_lines(document["bring_back"])):
        print_text(line)


@runs_group.command("report")
@click.argument("run", required=False, shell_complete=complete.runs)
@_inventory_option
@click.option("--html", type=FILE, help="Write the report here, as one HTML page.")
@state_dir_option
@output_option
@click.pass_obj
def report(options: Options, run: str | None, inventory: Path | None, html: Path | None) -> None:
    """Report on a run: verdict, times, losses, every check.

    Default: the latest run. Reads the journal and nothing else; works for a run that failed, is
    still running, or has a damaged journal. Values given by --var are not shown.
    """
    store = options.store
    cluster, run = chosen(store, run, inventory)
    reading = store.read(cluster, run)
    state = fold(reading.events)
    state.run, state.cluster = run, cluster
    document = run_evidence(
        state,
        reading.events,
        made_at=now().isoformat(timespec="seconds"),
        problem=reading.problem,
        holder=store.holder(cluster),
    )
    if html:
        write_page(html, run_page(document))
    if options.json:
        print_json(document)
    else:
        print_text(run_text(document))
