"""`drctl inventory` and `drctl runbook`: the files an operator writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drctl.cli import complete
from drctl.cli.common import FILE, Options, inventory_option, output_option, write_new
from drctl.cli.discover import discover_command
from drctl.commands.inventory_diff import inventory_diff
from drctl.errors import Refused, UsageError
from drctl.inventory import Inventory, inventory_schema, load_inventory
from drctl.inventory.corrected import corrected
from drctl.plan.prepare import installation
from drctl.plan.runbook import load_runbook, runbook_path, runbook_schema, shipped_runbooks
from drctl.ui.console import print_json, print_table, print_text, tell


@click.group("inventory")
def inventory_group() -> None:
    """Inventories: which hosts make up a cluster."""


inventory_group.add_command(discover_command)


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


@inventory_group.command("diff")
@inventory_option
@click.option("--snapshot", type=FILE, help="Also hold this snapshot against the nodes.")
@click.option(
    "--write",
    "new",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the corrected inventory to this new file.",
)
@output_option
@click.pass_context
def diff_inventory(
    context: click.Context, inventory: Path, snapshot: Path | None, new: Path | None
) -> None:
    """Hold the inventory against what runs on the nodes. Changes nothing there.

    Ends with 4 where a restore with this inventory would go wrong."""
    options: Options = context.obj
    if new and new.exists():
        raise UsageError(f"{new} exists", hint="name a new file, and compare the two")
    loaded = load_inventory(inventory)
    document = inventory_diff(options.controller(), loaded, snapshot)
    left = _write_corrected(loaded, document["differences"], new) if new else []
    if options.json:
        print_json({**document, "written": str(new) if new else None, "left": left})
    else:
        _print_differences(document)
    for each in left:
        tell(f"by hand: {each['host']}: {each['write']}")
    if any(each["weight"] == "refused" for each in document["differences"]):
        context.exit(Refused.exit_code)


def _print_differences(document: dict[str, Any]) -> None:
    for warning in document["warnings"]:
        tell(f"warning: {warning}")
    for each in document["differences"]:
        where = f" ({each['where']})" if each["where"] else ""
        print_text(f"{each['file']}:{each['line']}: {each['inventory']}")
        print_text(f"  {each['host']}: {each['seen']}{where}")
        print_text(f"  {each['weight']}: {each['write']}")
    for finding in document["findings"]:
        print_text(finding)


def _write_corrected(
    inventory: Inventory, differences: list[dict[str, Any]], new: Path
) -> list[dict[str, Any]]:
    """Write what one value mends, as a file that is a valid inventory; what is left to a person is
    returned: what no value mends, and where a node shows two."""
    wanted: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in differences:
        if each["edit"]:
            wanted.setdefault(tuple(each["edit"]["path"]), []).append(each)
    clear = {
        path: group
        for path, group in wanted.items()
        if group[0]["edit"]["append"] or all(g["edit"] == group[0]["edit"] for g in group)
    }
    edits = [each["edit"] for group in clear.values() for each in group]
    text = corrected(inventory.path, ((tuple(e["path"]), e["value"], e["append"]) for e in edits))
    write_new(new, text)
    load_inventory(new)
    tell(f"written: {new}; compare it with {inventory.path}, then use it")
    done = [each for group in clear.values() for each in group]
    return [each for each in differences if each not in done]


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
