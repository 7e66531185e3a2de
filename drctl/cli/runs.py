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
from drctl.journal.chain import now
from drctl.journal.diagnosis import situation
from drctl.journal.runstate import RunState, fold
from drctl.journal.store import Store
from drctl.nodes.comparison import compared
from drctl.plan.model import TEMPLATE
from drctl.runs.drift import TEMPLATES
from drctl.ui.console import print_json, print_table, print_text, tell
from drctl.ui.documents import human_seconds, run_document


@click.group("runs")
def runs_group() -> None:
    """Runs on this machine."""


@runs_group.command("list")
@state_dir_option
@output_option
@click.pass_obj
def list_runs(options: Options) -> None:
    """All runs, oldest first."""
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
    """The run's state; a damaged journal is told on stderr, and does not hide the other runs."""
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
    "--inventory", "-i", type=FILE, help="The latest run of the cluster it names."
)


@runs_group.command("show")
@click.argument("run", required=False, shell_complete=complete.runs)
@_inventory_option
@state_dir_option
@output_option
@click.pass_obj
def show(options: Options, run: str | None, inventory: Path | None) -> None:
    """One run, by default the latest: every step on every host, and what to type next."""
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
    if document["error"]:
        print_text(f"error: {document['error']['message']}")
    for line in compared(state):
        print_text(f"note: {line}")
    for line in situation(state).lines():
        print_text(line)


@runs_group.command("report")
@click.argument("run", required=False, shell_complete=complete.runs)
@_inventory_option
@click.option("--html", type=FILE, help="Write the page here: one file, for people.")
@state_dir_option
@output_option
@click.pass_obj
def report(options: Options, run: str | None, inventory: Path | None, html: Path | None) -> None:
    """What one run proves, by default the latest: verdict, times, losses, every check.

    It reads the journal and nothing else, also of a run that failed, still runs, or whose journal
    is damaged. Values that the operator gave are not shown.
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
@click.option("--snapshot", type=FILE, help="The run's snapshot, where it is on this machine.")
@click.option("--runbook", type=FILE, help="The run's runbook, if it was a file of its own.")
@click.option("--gone", is_flag=True, help="The machine that ran it is gone: do not wait for it.")
@click.option(
    "--without",
    multiple=True,
    metavar="HOST",
    help="Do not ask this host.",
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
    """Take over a run whose machine is lost: rebuild its journal from what the nodes keep.

    Changes no node. The resume or rollback after it claims them anew, and from then on the old
    machine is turned away."""
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
    print_table(("host", "claimed by", "session", "jobs", "last job", "status", "ended"), rows)
    for host, why in adopted.silent.items():
        tell(f"warning: {host}: no answer, it is asked again at the resume: {why}")
    for host, why in adopted.unbelieved.items():
        tell(f"warning: {host}: what it keeps is not believed: {why}")
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
        tell(f"warning: {told}: this one can be cleaned, not taken back")
    tell(f"run {state.run} of {state.cluster} is adopted: {state.state}")
    for line in situation(state).lines():
        print_text(line)
