"""`drctl preflight`, `status`, `verify`, `backup` and `trust`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from drctl.cli.common import (
    FILE,
    FOLDER,
    Options,
    accept_node_option,
    inventory_option,
    output_option,
    refuse_unknown,
    stop_on_signals,
    tidy_on_signals,
    yes_option,
)
from drctl.cli.discover import reach_options, way_to
from drctl.commands.backup import backup
from drctl.commands.preflight import preflight, preflight_with_tries
from drctl.commands.status import status
from drctl.commands.trust import trust
from drctl.commands.verify import verify
from drctl.errors import NotProven, UsageError
from drctl.inventory import load_inventory
from drctl.ssh import ScannedKey
from drctl.ui.console import print_json, print_table, print_text, tell
from drctl.ui.documents import human_bytes


@click.command("preflight")
@inventory_option
@click.option("--snapshot", type=FILE, help="Also check this snapshot against the hosts.")
@click.option(
    "--try",
    "tries",
    is_flag=True,
    help="Also try what a restore does to files, services and the wire, with things of no worth; "
    "they are removed again.",
)
@accept_node_option
@output_option
@click.pass_obj
def preflight_command(
    options: Options,
    inventory: Path,
    snapshot: Path | None,
    tries: bool,
    accept_drift: tuple[str, ...],
) -> None:
    """Check everything that can be checked before a restore.

    Changes nothing. With --try the nodes are locked for some seconds, and no service is touched."""
    refuse_unknown(accept_drift)
    if tries:
        stop_on_signals(options)
    check = preflight_with_tries if tries else preflight
    document = check(options.controller(), load_inventory(inventory), snapshot, accept_drift)
    if options.json:
        print_json(document)


@click.command("verify")
@inventory_option
@click.option("--snapshot", type=FILE, help="Also show this snapshot's facts.")
@output_option
@click.pass_obj
def verify_command(options: Options, inventory: Path, snapshot: Path | None) -> None:
    """Check for one healthy cluster with equal data.

    Also checks that every service answers. Changes nothing."""
    document = verify(options.controller(), load_inventory(inventory), snapshot)
    if options.json:
        print_json(document)


@click.command("status")
@inventory_option
@output_option
@click.pass_obj
def status_command(options: Options, inventory: Path) -> None:
    """Show members and alarms, as each member reports them.

    Ends with 9 where anything of it is not well; each such thing is a warning."""
    document = status(options.controller(), load_inventory(inventory))
    for warning in document["warnings"]:
        tell(f"warning: {warning}")
    if options.json:
        print_json(document)
    else:
        _print_status(document)
    if document["warnings"]:
        click.get_current_context().exit(NotProven.exit_code)


def _print_status(document: Mapping[str, Any]) -> None:
    print_text(f"cluster {document['cluster_id']}")
    columns = [
        "name",
        "id",
        "endpoint",
        "healthy",
        "leader",
        "learner",
        "version",
        "revision",
        "db_size",
        "hash",
    ]
    rows = ({**m, "db_size": human_bytes(m["db_size"] or 0)} for m in document["members"])
    print_table(columns, ([row[column] for column in columns] for row in rows))
    for alarm in document["alarms"]:
        print_text(f"ALARM {alarm['alarm']} on member {alarm['member_id']}")


@click.command("backup")
@inventory_option
@click.option("--to", "folder", type=FOLDER, required=True, help="Directory for the backup.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Back up even while a run of this cluster is unfinished; the backup says so.",
)
@output_option
@click.pass_obj
def backup_command(options: Options, inventory: Path, folder: Path, anyway: bool) -> None:
    """Save a verified snapshot of one healthy member.

    What a killed backup left on a node or in that directory is removed first."""
    tidy_on_signals()
    made = backup(options.controller(), load_inventory(inventory), folder, anyway=anyway)
    for warning in made["warnings"]:
        tell(f"warning: {warning}")
    if options.json:
        print_json(made)
    else:
        print_text(f"{made['path']}  {human_bytes(made['size'])}  revision {made['revision']}")


@click.command("trust")
@click.option("--inventory", "-i", type=FILE, help="The cluster's inventory (YAML).")
@reach_options
@yes_option
@output_option
@click.pass_obj
def trust_command(
    options: Options, /, inventory: Path | None, hosts: tuple[str, ...], yes: bool, **reach: Any
) -> None:
    """Show the hosts' key fingerprints and record them.

    Of an inventory's hosts, or of --host where there is none yet. Run it before a disaster.
    Nothing is recorded until you confirm."""
    controller = options.controller(yes=yes)
    show = (lambda _: None) if options.json else _show_keys
    if (inventory is None) == (not hosts):
        raise UsageError("which hosts?", hint="give --inventory FILE, or --host ADDRESS")
    where = load_inventory(inventory) if inventory else way_to(hosts, reach)
    done = trust(controller, where, show=show)
    if options.json:
        print_json([{**vars(key), "recorded": key in done.recorded} for key in done.keys])
    elif done.recorded:
        tell(f"{len(done.recorded)} keys recorded in {done.known_hosts}")
    else:
        tell("nothing new")


def _show_keys(keys: Sequence[ScannedKey]) -> None:
    columns = ("host", "address", "port", "key", "fingerprint (SHA256)", "known")
    print_table(
        columns,
        ((k.host, k.address, k.port, k.key_type, k.fingerprint_sha256, k.known) for k in keys),
    )
