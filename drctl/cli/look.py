"""`drctl preflight`, `status`, `verify`, `backup` and `trust`."""

from __future__ import annotations

from pathlib import Path

import click

from drctl.cli.common import (
    FILE,
    FOLDER,
    Options,
    inventory_option,
    output_option,
    tidy_on_signals,
    yes_option,
)
from drctl.errors import HostUnavailable
from drctl.inventory import load_inventory
from drctl.journal.runstate import RunState
from drctl.plan.runbook import load_runbook
from drctl.runs.rundata import snapshot_facts
from drctl.ui.console import print_json, print_table, print_text, tell
from drctl.ui.documents import human_bytes, snapshot_lines


def _check(options: Options, inventory: Path, runbook: str, snapshot: Path | None) -> RunState:
    app = options.app()
    loaded = load_inventory(inventory)
    facts = snapshot_facts(snapshot) if snapshot else None
    if facts and not options.json:
        tell("\n".join(snapshot_lines(facts)))
    return app.check(loaded, app.plan(loaded, load_runbook(runbook), snapshot=facts))


def _findings(options: Options, state: RunState) -> None:
    if options.json:
        snapshot = state.plan["facts"].get("snapshot")
        found = {"findings": state.findings, "warnings": state.warnings, "snapshot": snapshot}
        print_json({"ok": True, **found})


@click.command()
@inventory_option
@click.option("--snapshot", type=FILE, help="Check it against the hosts too.")
@output_option
@click.pass_obj
def preflight(options: Options, inventory: Path, snapshot: Path | None) -> None:
    """Everything that can be checked before a restore; changes nothing."""
    _findings(options, _check(options, inventory, "preflight", snapshot))


@click.command()
@inventory_option
@click.option("--snapshot", type=FILE, help="Show its facts beside the cluster's.")
@output_option
@click.pass_obj
def verify(options: Options, inventory: Path, snapshot: Path | None) -> None:
    """One healthy cluster with equal data, and every service answers? Changes nothing."""
    _findings(options, _check(options, inventory, "verify", snapshot))


@click.command()
@inventory_option
@output_option
@click.pass_obj
def status(options: Options, inventory: Path) -> None:
    """Members and endpoints, each asked through its own endpoint."""
    quiet = Options(json=True, state_dir=options.state_dir)
    state = _check(quiet, inventory, "status", None)
    document = {name: state.values[name] for name in ("cluster_id", "members", "alarms")}
    unreached = [f"{host}: {why}" for host, why in state.unreached.items()]
    if len(unreached) == len(document["members"]):
        raise HostUnavailable("\n  ".join(["no member's host could be asked", *unreached]))
    for line in unreached:
        tell(f"warning: {line}")
    if options.json:
        print_json(document)
        return
    print_text(f"cluster {document['cluster_id']}")
    columns = [
        "name",
        "id",
        "endpoint",
        "healthy",
        "leader",
        "version",
        "revision",
        "db_size",
        "hash",
    ]
    rows = ({**m, "db_size": human_bytes(m["db_size"] or 0)} for m in document["members"])
    print_table(columns, ([row[column] for column in columns] for row in rows))
    for alarm in document["alarms"]:
        print_text(f"ALARM {alarm['alarm']} on member {alarm['member_id']}")


@click.command()
@inventory_option
@click.option("--to", "folder", type=FOLDER, required=True, help="Folder for the backup.")
@output_option
@click.pass_obj
def backup(options: Options, inventory: Path, folder: Path) -> None:
    """Save a snapshot on one healthy member, verify it there and here, name it last.

    What a killed backup left, on a node or in that folder, is removed first."""
    from drctl.commands.backup import take_backup

    tidy_on_signals()
    made = take_backup(options.app(), load_inventory(inventory), folder)
    for warning in made["warnings"]:
        tell(f"warning: {warning}")
    if options.json:
        print_json(made)
    else:
        print_text(f"{made['path']}  {human_bytes(made['size'])}  revision {made['revision']}")


@click.command()
@inventory_option
@yes_option
@output_option
@click.pass_obj
def trust(options: Options, inventory: Path, yes: bool) -> None:
    """Show the hosts' key fingerprints and record them, once confirmed: before the disaster."""
    from drctl.cli.trust import show_and_record

    show_and_record(options, load_inventory(inventory), yes=yes)
