"""A run's plan made again, and held to what it meant when the run began."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from drctl.errors import Drifted
from drctl.inventory import Inventory
from drctl.journal.runstate import RunState
from drctl.plan.model import Plan, drift
from drctl.runs.basis import Basis


def plan_again(
    inventory: Inventory,
    basis: Basis,
    state: RunState,
    *,
    hint: str,
    accepted: Collection[str] = (),
    counts: Callable[[str], bool] = lambda _: True,
) -> Plan:
    """The plan of `state`'s run, made again. Raises Drifted where a field of its meaning is another
    one than then: one that `counts` for this command, and that was not `accepted` by name. In
    `hint`, {accept} stands for the options that would accept those fields."""
    plan = basis.plan(inventory)
    changed = drift(state.plan["meaning"], plan.meaning, accepted)
    refused = {name: pair for name, pair in changed.items() if counts(name)}
    if refused:
        accept = " ".join(f"--accept-drift {name}" for name in refused)
        raise drifted(state.run, refused, hint.replace("{accept}", accept))
    return plan


def drifted(run: str, changed: Mapping[str, tuple[str, str]], hint: str) -> Drifted:
    """The refusal that names every field with its old and its new value."""
    lines = [f"{name}: was {then!r}, is {is_!r}" for name, (then, is_) in changed.items()]
    return Drifted("\n  ".join([f"since run {run} began, this changed:", *lines]), hint=hint)
