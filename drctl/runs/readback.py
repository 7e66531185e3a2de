"""Before a run begins or resumes: can what it will leave on its nodes be read again? That is
checked against closed shapes (`drctl.nodes.files`), so a run with a value that does not fit there
could neither be resumed nor rolled back."""

from __future__ import annotations

from contextlib import closing

from pydantic import ValidationError

from drctl.errors import InvalidInput
from drctl.etcd.values import FOUND
from drctl.journal.chain import Journal
from drctl.journal.runstate import RunState, fold
from drctl.nodes.files import Manifest, first_fault
from drctl.plan.model import Plan
from drctl.runs.beginning import begin
from drctl.runs.left_on_nodes import manifest


def refuse_given_twice(plan: Plan) -> None:
    """Raises InvalidInput where the operator gave a value that drctl sets itself."""
    found = FOUND.union(*(step.yields for step in plan.steps))
    given = dict.fromkeys(plan.options.get("vars", {}), "--var")
    given |= dict.fromkeys(plan.options.get("secrets", {}), "--secret")
    if twice := sorted(given.keys() & found):
        raise InvalidInput(
            f"{given[twice[0]]} {twice[0]}: drctl sets this value itself",
            hint="leave it out; for the data's owner, use etcd.owner in the inventory",
        )


def refuse_unreadable(plan: Plan, state: RunState, who: str) -> None:
    """Raises InvalidInput where what the nodes would keep of this run could not be read again."""
    try:
        Manifest.model_validate_json(manifest(plan, state, who))
    except ValidationError as error:
        raise InvalidInput(
            f"the nodes could not store what this run needs: {first_fault(error)}",
            hint="nothing was changed; use a shorter value or name, without unusual characters",
        ) from error


def refuse_unreadable_beginning(plan: Plan, who: str, **names: str) -> None:
    """The same of a run that has not begun yet."""
    with closing(Journal(None)) as journal:
        begin(journal, plan, **names)
        refuse_unreadable(plan, fold(journal.events), who)
