"""How a command ends: its exit status, and the one document or the message that says why."""

from __future__ import annotations

import io
import traceback
from collections.abc import Callable

import click

from drctl.cli.common import Options
from drctl.errors import Aborted, DrctlError, NotWritten, UsageError
from drctl.ui.console import indented, print_json, tell
from drctl.ui.documents import error_document
from drctl.ui.streams import Unbroken


def show_error(error: DrctlError, options: Options, out: Unbroken) -> None:
    """One JSON document on stdout, where it was asked for and stdout has none yet; else, and where
    stdout takes none, one message on stderr."""
    if options.json and not out.begun:
        print_json(error_document(error))
        if out.lost is None:
            return
    tell(f"error: {indented(str(error), 2)}")
    for number, line in enumerate((error.hint or "").splitlines()):
        tell(f"hint: {line}" if number == 0 else f"      {line.rstrip()}")


def status_of(work: Callable[[], None], options: Options, out: Unbroken) -> int:
    """The documented exit status of `work`, whatever ends it; that is told, too."""
    status = _told(work, options, out)
    if out.missed is None:
        return status
    error = NotWritten(
        f"the result could not be written to standard output: {out.missed.strerror}",
        hint="write it elsewhere; what a run did is recorded: drctl runs show",
    )
    show_error(error, Options(), out)
    return status or error.exit_code


def _told(work: Callable[[], None], options: Options, out: Unbroken) -> int:
    try:
        work()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        _show_usage(error, options, out)
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        if options.json and not out.begun:
            show_error(Aborted("stopped by the operator"), options, out)
        tell("aborted")
        return Aborted.exit_code
    except DrctlError as error:
        if options.verbose > 1 or error.exit_code == DrctlError.exit_code:
            tell(traceback.format_exc())
        show_error(error, options, out)
        return error.exit_code
    except Exception:
        tell(traceback.format_exc())
        bug = DrctlError(
            "this is a bug in drctl; nothing more was done after it",
            hint="report it with the text above and the output of `drctl runs show`",
        )
        show_error(bug, options, out)
        return bug.exit_code
    return 0


def _show_usage(error: click.ClickException, options: Options, out: Unbroken) -> None:
    if options.json and not out.begun:
        context = getattr(error, "ctx", None)
        help_of = f"{context.command_path if context else 'drctl'} --help"
        show_error(UsageError(error.format_message(), hint=help_of), options, out)
        return
    words = io.StringIO()
    error.show(words)
    tell(words.getvalue().rstrip())
