"""`drctl drill`: game days. Breaks a lab, restores it, measures, proves."""

from __future__ import annotations

from pathlib import Path

import click

from drctl.cli.common import FOLDER, Options, output_option, print_json
from drctl.cli.lab import driver_option, etcd_option, say
from drctl.console import print_table
from drctl.errors import NotProven


@click.group("drill", invoke_without_command=True)
@click.pass_context
def drill_group(context: click.Context) -> None:
    """Break a lab's cluster, restore it with drctl's own commands, measure, prove."""
    if context.invoked_subcommand is None:
        context.invoke(drill_run)


@drill_group.command("run")
@driver_option
@click.argument("scenario", default="majority-data-lost")
@click.option("--staged", is_flag=True, help="Restore in the staged order.")
@etcd_option
@click.option("--dir", "directory", type=FOLDER, help="The lab's folder [default: temporary].")
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards.")
@output_option
@click.pass_obj
def drill_run(
    options: Options,
    scenario: str = "majority-data-lost",
    staged: bool = False,
    etcd: Path | None = None,
    directory: Path | None = None,
    keep: bool = False,
) -> None:
    """One drill, start to end; leaves nothing running."""
    from drctl.lab.drill import run_drill

    report = run_drill(
        directory.absolute() if directory else None,
        scenario=scenario,
        staged=staged,
        etcd=etcd,
        say=say,
        keep=keep,
    )
    if options.json:
        print_json(report.document())
    else:
        for line in report.lines():
            click.echo(line)
    if not report.proven:
        raise NotProven("the drill's proofs do not all hold", hint="look at the lines NOT PROVEN")


@drill_group.command("list")
@output_option
@click.pass_obj
def drill_list(options: Options) -> None:
    """The scenarios."""
    from drctl.lab import breaks

    kinds = {name: kind.summary for name, kind in breaks.KINDS.items()}
    if options.json:
        print_json(kinds)
    else:
        print_table(("scenario", "what happens"), kinds.items())
