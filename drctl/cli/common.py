"""What the commands share: options, the question, JSON."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from drctl.errors import Aborted, NotWritten, UsageError
from drctl.printable import printable
from drctl.ui.console import print_json, tell
from drctl.ui.documents import error_document
from drctl.ui.streams import is_heard

if TYPE_CHECKING:  # what a command does not use is not imported
    from drctl.journal.store import Store
    from drctl.plan.secrets import Secrets
    from drctl.runs.controller import Ask, Controller

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)


@dataclass
class Options:
    """The options that stand before and beside the command itself."""

    verbose: int = 0
    json: bool = False
    state_dir: Path | None = None
    parallel: int | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    make: Callable[..., Controller] | None = None

    @property
    def store(self) -> Store:
        from drctl.journal.store import Store

        return Store(self.state_dir or default_state_dir())

    def controller(
        self, *, yes: bool = False, meant: str = "", secrets: Secrets | None = None
    ) -> Controller:
        """`meant` is the option that goes beyond --yes, for the journal."""
        from drctl.plan.secrets import Secrets
        from drctl.runs.controller import Controller

        return (self.make or Controller)(
            state_dir=self.store.folder,
            ask=agree(f"--yes {meant}".rstrip()) if yes else ask,
            confirm=(lambda _: True) if yes else confirmed,
            quiet=self.json,
            secrets=secrets or Secrets(),
            stop=self.stop,
            parallel=self.parallel,
        )


def default_state_dir() -> Path:
    """$DRCTL_STATE_DIR, else $XDG_STATE_HOME/drctl, else ~/.local/state/drctl."""
    if said := os.environ.get("DRCTL_STATE_DIR"):
        return Path(said)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "drctl"


def _set_json(context: click.Context, _parameter: click.Parameter, value: str) -> None:
    context.obj.json = value == "json"


def _set_state_dir(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    context.obj.state_dir = value


def output_option(command: F) -> F:
    return click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        expose_value=False,
        is_eager=True,
        callback=_set_json,
        help="json: one document on stdout, everything else on stderr.",
    )(command)


def state_dir_option(command: F) -> F:
    return click.option(
        "--state-dir",
        type=FOLDER,
        expose_value=False,
        is_eager=True,
        callback=_set_state_dir,
        help="Where runs are kept [default: $DRCTL_STATE_DIR, $XDG_STATE_HOME/drctl].",
    )(command)


def _set_parallel(context: click.Context, _parameter: click.Parameter, value: int | None) -> None:
    context.obj.parallel = value


def inventory_option(command: F) -> F:
    """The cluster that a command works on, and how many of its hosts at once."""
    parallel = click.option(
        "--parallel",
        type=click.IntRange(1, 1000),
        metavar="N",
        expose_value=False,
        callback=_set_parallel,
        help="Work on so many hosts at once [default: the inventory's, or 64].",
    )
    inventory = click.option(
        "--inventory", "-i", type=FILE, required=True, help="The cluster's inventory (YAML)."
    )
    return inventory(parallel(command))


def yes_option(command: F) -> F:
    return click.option("--yes", is_flag=True, help="Do not ask; the journal records it.")(command)


def write_page(path: Path, page: str) -> None:
    """Write a page for people, with the operator's usual permissions."""
    write_new(path, page, option="--html")
    tell(f"written: {path}")


def write_new(path: Path, text: str, option: str = "--write") -> None:
    """Write what was made to the operator's own file. Raises UsageError where there can be none,
    NotWritten where its disk is full."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        kind = NotWritten if full else UsageError
        raise kind(
            f"cannot write {path}: {error.strerror}", hint=f"give another path: {option} FILE"
        ) from error


def agree(how: str) -> Ask:
    """Says yes without asking, because of the options `how`."""

    def agreed(text: str, _words: str) -> str | None:
        tell(text)
        return how

    return agreed


def ask(text: str, words: str) -> str | None:
    """Show `text`; the operator types `words`, anything else means no."""
    tell(text)
    if not can_ask():
        raise Aborted("no terminal to ask on", hint="to go ahead without the question: --yes")
    what = words if " " in words else f"the cluster's name ({words})"
    with _answering():
        typed = click.prompt(
            printable(f"type {what} to continue"), err=True, default="", show_default=False
        )
    return f"typed {words!r}" if typed.split() == words.split() else None


def confirmed(question: str) -> bool:
    """Whether the operator says yes to `question`."""
    with _answering():
        return click.confirm(printable(question), err=True)


def hidden_answer(question: str) -> str:
    """What the operator types, which the terminal does not show."""
    with _answering():
        typed: str = click.prompt(printable(question), hide_input=True, err=True)
    return typed


@contextmanager
def _answering() -> Iterator[None]:
    """Around a question. Raises Aborted where nobody could see it: that is no yes."""
    unseen = Aborted(
        "nobody sees the question: standard error or the terminal is closed",
        hint="to go ahead without it: --yes",
    )
    if not is_heard():
        raise unseen
    try:
        yield
    except OSError as error:  # of a terminal that is gone
        raise unseen from error
    if not is_heard():
        raise unseen


def can_ask() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def stop_on_signals(options: Options) -> None:
    """Ctrl-C and SIGTERM stop a run at a safe point; a second one exits at once. Jobs on the nodes
    then keep running, the journal is complete, and a resume attaches to them. A terminal that is
    closed stops nothing: a run must not end half-way because nobody looks."""

    def first(_number: int, _frame: object) -> None:
        if options.stop.is_set():
            words = "exiting now; jobs on the nodes keep running, resume attaches to them"
            if options.json and not getattr(sys.stdout, "begun", False):
                hint = "drctl runs show"
                print_json(error_document(Aborted(f"stopped by the operator: {words}", hint=hint)))
            tell(words)
            os._exit(Aborted.exit_code)
        options.stop.set()
        tell("stopping at the next safe point; Ctrl-C again exits now")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, first)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def tidy_on_signals() -> None:
    """SIGTERM and a closed terminal end a command as Ctrl-C does: it removes what it made. Under
    nohup a closed terminal ends nothing."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


accept_node_option = click.option(
    "--accept-drift",
    multiple=True,
    metavar="NAME",
    help="Accept a refusal by the name in its brackets: node.HOST.FIELD, ready.SERVICE.",
)


def refuse_unknown(accept_drift: tuple[str, ...]) -> None:
    """Raises UsageError for what only a run that began may accept."""
    from drctl.runs.drift import IN_STEP_1

    if other := [name for name in accept_drift if not name.startswith(IN_STEP_1)]:
        raise UsageError(
            f"nothing like {', '.join(other)} can be accepted here",
            hint="what may be accepted has a name in brackets, node.HOST.FIELD or "
            "ready.SERVICE; what changed since a run began is accepted with --resume",
        )
