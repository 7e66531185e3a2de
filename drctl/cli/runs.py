"""`drctl runs`: what was done."""

from __future__ import annotations

from pathlib import Path

import click

from drctl import __version__
from drctl.cli import complete
from drctl.cli.common import (
    FILE,
    Options,
    inventory_option,
    output_option,
    state_dir_option,
    write_page,
)
from drctl.commands.adopt import Adopted, adopt
from drctl.errors import Refused
from drctl.evidence.document import run_evidence
from drctl.evidence.page import run_page, run_text
from drctl.inventory import load_inventory
from drctl.journal.abandoned import back_again_lines
from drctl.journal.chain import now
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store
from drctl.nodes.comparison import compared
from drctl.plan.model import TEMPLATE
from drctl.runs.drift import TEMPLATES
from drctl.ui.console import indented, print_json, print_table, print_text, tell
from drctl.ui.documents import human_seconds, run_document


@click.group("runs")
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
    cluster = load_inventory(inventory).cluster if inventory else None
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


@runs_group.command("adopt")
@click.argument("run", required=False, shell_complete=complete.runs)
@inventory_option
@click.option("--snapshot", type=FILE, help="The run's snapshot file, on this machine.")
@click.option("--runbook", type=FILE, help="The run's runbook, if it was your own file.")
@click.option("--gone", is_flag=True, help="The machine that ran it is gone for good: do not wait.")
@click.option(
    "--without",
    multiple=True,
    metavar="HOST",
    help="Leave this host out.",
    shell_complete=complete.hosts,
)
@state_dir_option
@output_option
@click.pass_obj
def adopt_run(
    options: Options,
    run: str | None,
    inventory: Path,
    snapshot: Path | None,
    runbook: Path | None,
    gone: bool,
    without: tuple[str, ...],
) -> None:
    """Take over a run whose machine is lost.

    Rebuilds its journal from what the nodes keep; changes no node. The next resume or rollback
    locks the nodes for this machine; from then on they refuse the old one."""
    adopted = adopt(
        options.controller(),
        load_inventory(inventory),
        run,
        snapshot=snapshot,
        runbook=str(runbook) if runbook else None,
        gone=gone,
        without=without,
    )
    if options.json:
        names = ("nodes", "silent", "unbelieved", "drift")
        found = {name: getattr(adopted, name) for name in names}
        print_json({**run_document(adopted.state), **found})
    else:
        _show_adopted(adopted)


def _show_adopted(adopted: Adopted) -> None:
    state = adopted.state
    rows = [
        (
            host,
            (node["owner"] or {}).get("who", "nobody"),
            (node["owner"] or {}).get("epoch", ""),
            node["jobs"],
            node["last_job"],
            node["last_status"],
            node["ended"],
        )
        for host, node in adopted.nodes.items()
    ]
    print_table(("host", "locked by", "session", "jobs", "last job", "status", "ended"), rows)
    for host, why in adopted.silent.items():
        tell(f"warning: {host}: unreachable, resume tries it again: {why}")
    for host, why in adopted.unbelieved.items():
        tell(f"warning: {host}: its records are not trusted: {why}")
    scripts = [name for name in adopted.drift if name.startswith(TEMPLATE)]
    for name, (then, is_) in adopted.drift.items():
        if name not in scripts:
            tell(f"warning: {name}: was {then!r}, is {is_!r}: a resume will refuse")
    if scripts:
        tell(
            f"warning: drctl {__version__} here has other scripts than the run ({len(scripts)}): "
            f"where they are still to run, accept them: --accept-drift {TEMPLATES}"
        )
    for host, later in state.followers.items():
        told = f"{host}: run {later['run']} of {later['who']} changed it after this one"
        tell(f"warning: {told}: this one can be cleaned, not rolled back")
    tell(f"run {state.run} of {state.cluster} is adopted: {state.state}")
    for line in situation(state).lines():
        print_text(line)
