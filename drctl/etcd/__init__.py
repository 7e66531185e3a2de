"""What drctl knows about etcd: bytes and text in, findings out. Opens no connection."""

from drctl.etcd import judges
from drctl.verdict import Judge

JUDGES: dict[str, Judge] = {
    "etcd.can_prepare": judges.can_prepare,
    "etcd.can_restore": judges.can_restore,
    "etcd.can_reach": judges.can_reach,
    "etcd.can_rely": judges.can_rely,
    "etcd.can_write": judges.can_write,
    "etcd.is_prepared": judges.is_prepared,
    "etcd.is_the_blank_cluster": judges.is_the_blank_cluster,
    "etcd.nobody_else": judges.nobody_else,
    "etcd.live_state": judges.live_state,
    "etcd.who_answers": judges.who_answers,
    "etcd.who_leads": judges.who_leads,
    "etcd.choose_bump": judges.choose_bump,
    "etcd.is_planned_identity": judges.is_planned_identity,
    "etcd.is_the_planned_cluster": judges.is_the_planned_cluster,
    "etcd.same_old_cluster": judges.same_old_cluster,
    "etcd.writes_and_reads": judges.writes_and_reads,
    "etcd.is_out_of_reach": judges.is_out_of_reach,
    "etcd.may_be_removed": judges.may_be_removed,
    "etcd.same_machine": judges.same_machine,
    "etcd.common_revision": judges.common_revision,
    "etcd.proven_revision": judges.proven_revision,
    "etcd.what_would_be_lost": judges.what_would_be_lost,
    "etcd.status": judges.status,
    "etcd.whose": judges.whose,
    "etcd.lets_us_in": judges.lets_us_in,
    "etcd.snapshot_lets_us_in": judges.snapshot_lets_us_in,
    "etcd.no_stranger": judges.no_stranger,
}
"""Every judge of this package by the name that a runbook uses."""
