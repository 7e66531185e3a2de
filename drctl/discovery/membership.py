"""Who belongs to the living cluster by its own word: `etcdctl member list`, asked of each etcd that
runs, with the certificates and the programs that were found there."""

from __future__ import annotations

from dataclasses import replace

from drctl.answer import Answer, shown
from drctl.discovery.inventories import best_draft, loaded
from drctl.discovery.known import Known
from drctl.discovery.looked import Looked
from drctl.errors import InvalidInput
from drctl.etcd.judges.common import voice
from drctl.inventory import Inventory
from drctl.inventory.presets import STANDARD_SERVICES
from drctl.inventory.questions import UNKNOWN


def to_ask(looked: Looked) -> Inventory | str:
    """An inventory of this host alone, with which its own etcd can be asked; or why it cannot."""
    if not looked.etcd or not looked.etcd.process:
        return "no etcd runs there"
    draft = best_draft(Known(looked=(replace(looked, machine=replace(looked.machine, jump=None)),)))
    etcd = {**(draft.data.get("services", {}).get("etcd") or {})}
    if etcd.get("units") == UNKNOWN:
        etcd["units"] = ["etcd"]  # it is asked, not stopped
    draft.data["services"] = {
        **dict.fromkeys(STANDARD_SERVICES[1:]),
        **({"etcd": etcd} if etcd else {}),
    }
    try:
        return loaded(draft.text())
    except InvalidInput as error:
        return shown(str(error.faults[0].message if error.faults else error.message), 200)


def with_list(looked: Looked, answer: Answer) -> Looked:
    """The host with what its etcd answered. Raises AnswerError where that is no such list."""
    heard = voice(answer)
    told = heard.members or heard.local
    if told is None:
        why = next(iter(heard.why.values()), "it does not answer")
        return replace(looked, unasked=shown(why, 200))
    return replace(looked, listed=told.members, by_quorum=heard.has_quorum)
