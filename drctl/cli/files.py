"""`drctl inventory` and `drctl runbook`: the files an operator writes."""

from __future__ import annotations

from pathlib import Path

import click

from drctl.cli import complete
from drctl.cli.common import FILE, Options, output_option
from drctl.cli.lazy import LazyGroup
from drctl.inventory import inventory_schema, load_inventory
from drctl.plan.prepare import installation
from drctl.plan.runbook import load_runbook, runbook_path, runbook_schema, shipped_runbooks
from drctl.ui.console import print_json, print_table, print_text, tell


@click.group(
    "inventory",
    cls=LazyGroup,
    places={
        "diff": "drctl.cli.diff:diff_inventory",
        "discover": "drctl.cli.discover:discover_command",
    },
)
def inventory_group() -> None:
    """Inventories: which hosts make up a cluster."""


@inventory_group.command("validate")
@click.argument("file", type=FILE)
@output_option
@click.pass_obj
def validate_inventory(options: Options, file: Path) -> None:
    """Check a file: every error at once, each with file, line and path."""
    inventory = load_inventory(file)
    installation(inventory)  # the local files that it names, too
    if options.json:
        print_json({"cluster": inventory.cluster, "warnings": inventory.warnings})
        return
    for warning in inventory.warnings:
        tell(f"warning: {warning}")
    print_text(f"{file}: cluster {inventory.cluster}, {len(inventory.hosts)} hosts: valid")


@inventory_group.command("schema")
def show_inventory_schema() -> None:
    """Print the JSON Schema, for editors."""
    print_json(inventory_schema())


@click.group("runbook")
def runbook_group() -> None:
    """Runbooks: the procedure as data."""


@runbook_group.command("list")
@output_option
@click.pass_obj
def list_runbooks(options: Options) -> None:
    """List the shipped runbooks."""
    books = {name: load_runbook(name) for name in shipped_runbooks()}
    if options.json:
        print_json([{"name": name, "title": book.title} for name, book in books.items()])
    else:
        print_table(("name", "title"), ((name, book.title) for name, book in books.items()))


@runbook_group.command("show")
@click.argument("runbook", shell_complete=complete.runbooks)
def show_runbook(runbook: str) -> None:
    """Print a runbook."""
    print_text(runbook_path(runbook).read_text(encoding="utf-8"), end="")


@runbook_group.command("validate")
@click.argument("runbook", shell_complete=complete.runbooks)
def validate_runbook(runbook: str) -> None:
    """Check a file: every error at once, each with file, line and path."""
    book = load_runbook(runbook)
    print_text(f"{runbook}: {len(book.steps)} steps in {len(book.phases)} phases: valid")


@runbook_group.command("schema")
def show_runbook_schema() -> None:
    """Print the JSON Schema, for editors."""
    print_json(runbook_schema())
