"""Completion for bash, zsh and fish: what a TAB offers beside options and files.

The shell runs `drctl` itself with `_DRCTL_COMPLETE` set. Nothing here connects, asks or writes, and
what cannot be read is not offered: a half-typed line is no place for an error.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from drctl.cli.common import Options, default_state_dir
from drctl.ui.console import print_text

VARIABLE = "_DRCTL_COMPLETE"

Offer = tuple[str, str]
"""A word and what is known about it, which zsh and fish show."""


def completing(cli: click.Group) -> bool:
    """Whether a shell asked for its script or for what a TAB offers; if so it is on stdout now."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return False
    shell, _, what = wanted.partition("_")
    if (kind := get_completion_class(shell)) and what in ("source", "complete"):
        completion = kind(cli, {"obj": Options()}, "drctl", VARIABLE)
        with contextlib.suppress(Exception):  # whatever went wrong: no offer, and no traceback
            print_text(completion.source() if what == "source" else completion.complete())
    return True


def _offers(
    found: Callable[[click.Context], Iterable[Offer]], *, files: bool = False
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What `shell_complete` of a parameter wants: those of `found` that begin as what is typed."""

    def complete(
        context: click.Context, _parameter: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        # Files first: bash's script drops what it had where it meets them.
        offered = [CompletionItem(typed, type="file")] if files else []
        with contextlib.suppress(Exception):  # a broken inventory, no lab on this machine, ...
            given = [CompletionItem(word, help=about or None) for word, about in found(context)]
            offered += [item for item in given if item.value.startswith(typed)]
        return offered

    return complete


def _state_dir(context: click.Context) -> Path:
    options = context.find_object(Options)
    return options.state_dir if options and options.state_dir else default_state_dir()


def _inventory(context: click.Context) -> Path | None:
    """The inventory that the line names so far; the lab's own where it names a lab's directory."""
    named: Path | None = context.params.get("inventory")
    if named is None and (folder := context.params.get("directory")):
        named = Path(folder) / "inventory.yaml"
    return named


def _runs(context: click.Context) -> Iterable[Offer]:
    """Newest first; of one cluster only where the line names an inventory."""
    from drctl.inventory import load_inventory
    from drctl.journal.store import Store

    path = _inventory(context)
    cluster = load_inventory(path).cluster if path else None
    found = Store(_state_dir(context)).runs(cluster)
    return ((run, of) for of, run in reversed(found))


def _hosts(context: click.Context) -> Iterable[Offer]:
    from drctl.inventory import load_inventory

    path = _inventory(context)
    if path is None:
        return ()
    return ((host.name, host.address) for host in load_inventory(path).hosts.values())


def _runbooks(_context: click.Context) -> Iterable[Offer]:
    from drctl.plan.runbook import shipped_runbooks

    return ((name, "shipped with drctl") for name in shipped_runbooks())


def _scenarios(_context: click.Context) -> Iterable[Offer]:
    from drctl.drill import scenario

    return ((name, "scenario") for name in scenario.shipped())


def _breaks(context: click.Context) -> Iterable[Offer]:
    from drctl.drill.breaks import KINDS

    kinds = (name for name, kind in KINDS.items() if kind.by_hand)
    return (*_scenarios(context), *((name, "one kind of damage") for name in kinds))


def _drills(context: click.Context) -> Iterable[Offer]:
    from drctl.drill import reporting

    found = reporting.records(_state_dir(context), lambda _warning: None)
    return ((made.drill, made.scenario) for made in reversed(found))


runs = _offers(_runs)
hosts = _offers(_hosts)
runbooks = _offers(_runbooks, files=True)
scenarios = _offers(_scenarios, files=True)
breaks = _offers(_breaks)
drills = _offers(_drills)
