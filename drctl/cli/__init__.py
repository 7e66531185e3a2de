"""The command line: arguments in, exit status out. The one place that ends the process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drctl import __version__
from drctl.asked import wants_json
from drctl.cli.common import Options
from drctl.cli.complete import completing
from drctl.cli.ends import status_of
from drctl.cli.lazy import LazyGroup
from drctl.shipped import data_folder
from drctl.ui.console import print_text
from drctl.ui.streams import unbroken

if TYPE_CHECKING:
    from drctl.runs.controller import Controller


def show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """The version, and the directories from which this drctl reads its runbooks and templates."""
    if not wanted or context.resilient_parsing:
        return
    print_text(f"drctl {__version__}")
    for name in ("runbooks", "templates"):
        folder = data_folder(name)
        inside = folder.parent == Path(__file__).parents[1]
        origin = "the installed package" if inside else "a checkout"
        print_text(f"{name:<9} {folder} ({origin})")
    context.exit()


PLACES = {
    **{
        name: f"drctl.cli.restore:{name}_command"
        for name in ("restore", "rollback", "clean", "run")
    },
    **{
        name: f"drctl.cli.look:{name}_command"
        for name in ("preflight", "status", "verify", "backup", "trust")
    },
    "runs": "drctl.cli.runs:runs_group",
    "inventory": "drctl.cli.files:inventory_group",
    "runbook": "drctl.cli.files:runbook_group",
    "lab": "drctl.cli.lab:lab_group",
    "drill": "drctl.cli.drill:drill_group",
}
"""Every command, and where it is."""


@click.group(
    cls=LazyGroup,
    places=PLACES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version, and where its runbooks and templates come from.",
)
@click.option("-v", "--verbose", count=True, help="-vv adds a traceback to an error.")
@click.pass_context
def cli(context: click.Context, verbose: int) -> None:
    """Restore a Kubernetes control plane's etcd over SSH: checkpointed, resumable, undoable."""
    if context.obj is None:  # `main` passes its own, to show errors in the requested form
        context.obj = Options()
    context.obj.verbose = verbose


def main(make: Callable[..., Controller] | None = None) -> None:
    """Run the command line and exit with the documented status. `make` makes the controller: tests
    pass one with another way to the hosts, or another clock."""
    if completing(cli):
        return
    options = Options(make=make, json=wants_json(sys.argv[1:]))

    def work() -> None:
        with cli.make_context("drctl", sys.argv[1:], obj=options) as context:
            cli.invoke(context)

    with unbroken() as (out, _):
        status = status_of(work, options, out)
    sys.exit(status)
