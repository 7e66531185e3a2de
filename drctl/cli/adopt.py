"""`drctl runs adopt`: the run of a machine that is lost."""

from __future__ import annotations

from pathlib import Path

import click

from drctl import __version__
from drctl.cli import complete
from drctl.cli.common import FILE, Options, inventory_option, output_option, state_dir_option
from drctl.commands.adopt import Adopted, adopt
from drctl.inventory import load_inventory
from drctl.journal.diagnosis import situation
from drctl.plan.model import TEMPLATE
from drctl.runs.drift import TEMPLATES
from drctl.ui.console import print_json, print_table, print_text, tell
from drctl.ui.documents import run_document


@click.command("adopt")
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
