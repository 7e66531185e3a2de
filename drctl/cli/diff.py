"""`drctl inventory diff`: the inventory held against what runs on the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from drctl.cli.common import FILE, Options, inventory_option, output_option, write_new
from drctl.commands.inventory_diff import inventory_diff
from drctl.errors import Refused, UsageError
from drctl.inventory import Inventory, load_inventory
from drctl.inventory.corrected import corrected
from drctl.ui.console import print_json, print_text, tell


@click.command("diff")
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
