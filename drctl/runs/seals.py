"""The secrets of a run, from one command to the next: its journal has a seal of each, made with a
key that stays in the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drctl.errors import UsageError
from drctl.journal.runstate import RunState
from drctl.plan.secrets import seal, sealed_again, used
from drctl.runs.controller import Controller
from drctl.ui.console import tell


def sealed(controller: Controller, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new plan, with the seals of what was given."""
    if not controller.secrets.given:
        return dict(options)
    key = controller.store.key()
    seals = {name: seal(key, value) for name, value in controller.secrets.given.items()}
    return {**options, "secrets": seals}


def sealed_anew(controller: Controller, state: RunState, *, undo: bool = False) -> dict[str, Any]:
    """The options of a recorded plan. The secrets that its scripts need again (with `undo`, to roll
    it back) are demanded, and what is given is sealed as it was then, so that another one shows as
    drift. Raises UsageError for one that cannot be given, or that the run does not have."""
    options: dict[str, Any] = dict(state.plan["options"])
    secrets, known = controller.secrets, _seals(state)
    if unknown := sorted(secrets.given.keys() - known.keys()):
        raise UsageError(f"run {state.run} has no secret {', '.join(unknown)}")
    if not known:
        return options
    key = controller.store.key()
    now = dict(known)
    for name in sorted(used(state.plan, undo=undo) | secrets.given.keys()):
        found = sealed_again(key, secrets.demand(name, state.run), known[name])
        if found is None:
            tell(
                f"warning: cannot tell on this machine whether {name} is the same secret as before"
            )
        now[name] = found or known[name]
    return {**options, "secrets": now}


def _seals(state: RunState) -> Mapping[str, str]:
    """As the run means them now: another one may have been accepted since it began."""
    given = state.plan.get("options", {}).get("secrets", {})
    return {n: state.plan["meaning"].get(f"secret.{n}", seal) for n, seal in given.items()}
