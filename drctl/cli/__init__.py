"""The command line: arguments in, exit status out. The one place that ends the process."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from drctl import __version__
from drctl.cli.common import Options
from drctl.cli.complete import completing
from drctl.cli.drill import drill_group
from drctl.cli.files import inventory_group, runbook_group
from drctl.cli.lab import lab_group
from drctl.cli.look import (
    backup_command,
    preflight_command,
    status_command,
    trust_command,
    verify_command,
)
from drctl.cli.restore import clean_command, restore_command, rollback_command, run_command
from drctl.cli.runs import runs_group
from drctl.errors import DrctlError, UsageError
from drctl.render import data_folder
from drctl.runs.controller import Controller
from drctl.ui.console import indented, print_json, print_text, tell


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


for command in (
    restore_command,
    rollback_command,
    clean_command,
    run_command,
    preflight_command,
    status_command,
    verify_command,
    backup_command,
    trust_command,
):
    cli.add_command(command)
for group in (runs_group, inventory_group, runbook_group, lab_group, drill_group):
    cli.add_command(group)


def show_error(error: DrctlError, options: Options) -> None:
    """One message on stderr, or the same as one JSON document on stdout."""
    if options.json:
        told = {
            "code": error.code,
            "exit": error.exit_code,
            "message": error.message,
            "host": error.host,
            "hint": error.hint,
        }
        how = {"situation": error.situation} if error.situation else {}
        print_json({"error": told, **how})
    else:
        tell(f"error: {indented(str(error), 2)}")
        for number, line in enumerate((error.hint or "").splitlines()):
            tell(f"hint: {line}" if number == 0 else f"      {line.rstrip()}")


def main(make: Callable[..., Controller] = Controller) -> None:
    """Run the command line and exit with the documented status. `make` makes the controller: tests
    pass one with another way to the hosts, or another clock."""
    if completing(cli):
        return
    options = Options(make=make)
    try:
        with cli.make_context("drctl", sys.argv[1:], obj=options) as context:
            cli.invoke(context)
        status = 0
    except click.exceptions.Exit as ended:
        status = ended.exit_code
    except click.ClickException as error:
        if options.json:
            show_error(UsageError(error.format_message(), hint="drctl --help"), options)
        else:
            words = io.StringIO()
            error.show(words)
            tell(words.getvalue().rstrip())
        status = 2
    except (click.Abort, KeyboardInterrupt):
        tell("aborted")
        status = 10
    except DrctlError as error:
        if options.verbose > 1 or error.exit_code == 1:
            tell(traceback.format_exc())
        show_error(error, options)
        status = error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        status = 0
    except Exception:
        tell(traceback.format_exc())
        tell(
            "error: this is a bug in drctl; nothing more was done after it\nhint: report it with "
            "the text above and the output of `drctl runs show`"
        )
        status = 1
    sys.exit(status)
