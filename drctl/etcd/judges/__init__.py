"""Judges over etcd: pure functions from `Gathered` to `Verdict`.

`ready` asks whether hosts can take a restore, `blank` whether new ones can be prepared, `living`
what still runs and what must not be lost, `restored` whether what came up is what was planned. No
answer is never a yes. What a host answers is believed for that host only, and is what it must be
(`drctl.answer`); what is made of several hosts' answers stands in `drctl.etcd.values.SHARED`.
"""

from drctl.etcd.judges.access import lets_us_in, no_stranger, snapshot_lets_us_in
from drctl.etcd.judges.blank import can_prepare, is_the_blank_cluster
from drctl.etcd.judges.bump import choose_bump
from drctl.etcd.judges.kept import (
    common_revision,
    may_be_removed,
    proven_revision,
    same_machine,
)
from drctl.etcd.judges.living import (
    is_out_of_reach,
    live_state,
    nobody_else,
    same_old_cluster,
    who_answers,
    who_leads,
    whose,
)
from drctl.etcd.judges.losses import what_would_be_lost
from drctl.etcd.judges.places import can_write
from drctl.etcd.judges.reach import can_reach
from drctl.etcd.judges.ready import can_restore, is_prepared
from drctl.etcd.judges.restored import (
    is_planned_identity,
    is_the_planned_cluster,
    writes_and_reads,
)
from drctl.etcd.judges.status import status
from drctl.etcd.judges.tried import can_rely

__all__ = [
    "can_prepare",
    "can_reach",
    "can_rely",
    "can_restore",
    "can_write",
    "choose_bump",
    "common_revision",
    "is_out_of_reach",
    "is_planned_identity",
    "is_prepared",
    "is_the_blank_cluster",
    "is_the_planned_cluster",
    "lets_us_in",
    "live_state",
    "may_be_removed",
    "no_stranger",
    "nobody_else",
    "proven_revision",
    "same_machine",
    "same_old_cluster",
    "snapshot_lets_us_in",
    "status",
    "what_would_be_lost",
    "who_answers",
    "who_leads",
    "whose",
    "writes_and_reads",
]
