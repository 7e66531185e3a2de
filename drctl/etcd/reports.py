"""What templates report to judges: the names of an answer's lines (`drctl.answer` reads them).

By the judge that asks for them:

etcd.can_restore
    now (seconds since the epoch), tools_missing (space-separated),
    etcd_version, etcdutl_version, etcdctl_version ('' = absent; the tool's own words will do),
    restore_flags (space-separated, without dashes), data_kind, wal_kind
    (directory|symlink|mount|absent|other; wal_kind also none), data_owner (uid:gid),
    data_mode (octal), stage, wal_stage, data_free, wal_free (bytes), same_fs (yes|no|none),
    certs_missing, certs_expired (space-separated paths),
    cert_not_after (ISO 8601, or as openssl prints it),
    units_missing (space-separated), manager (ok|missing),
    unsafe.<what>: KIND WHO PATH of a path that another user could change, '' where it is safe
etcd.snapshot_lets_us_in
    cert_name (the common name in the client certificate, '' for none, ? where it cannot be read)
etcd.is_prepared
    as etcd.can_restore
etcd.can_prepare
    there.NAME (absent|same|other, and more) of each file and the unit, unit_elsewhere, drop_ins
    (paths), holds (a path in the data or WAL directory), ports_taken (space-separated), arch (as
    uname -m), owner_missing, owner_wrong, unsafe.<file> (as above); all but arch and
    there '' where there is nothing
etcd.same_machine
    machine_id
etcd.nobody_else
    owner_run, owner_who, owner_since ('' = free), last_line (of its history, 0 for none),
    unsafe.work (as above; nothing else is said then)
etcd.whose
    owner_run, owner_who, owner_since ('' = free; absent where the place is not safe)
etcd.live_state, etcd.is_the_planned_cluster, etcd.is_the_blank_cluster, etcd.same_old_cluster,
etcd.common_revision, etcd.proven_revision, etcd.status
    status_json, members_json, alarms_json, hashkv_json: one line each of `etcdctl -w json`
    against the member's own endpoint only; empty when it does not answer. Beside each that failed,
    status_said and so on: the end of what etcdctl wrote to stderr, its lines parted by tabs
    gone.<host>: what the etcd of an abandoned host answers this one; empty for nothing
    hash_revision: the revision given to `endpoint hashkv --rev`, where one was given
etcd.no_stranger, etcd.lets_us_in
    as etcd.live_state; local_json: the list of members that this one knows without a quorum;
    root_json, root_said: whether it answers what only root may ask
etcd.choose_bump
    as etcd.live_state; restored: REVISION:AGE of each earlier restore, its record's age in seconds
etcd.what_would_be_lost
    as etcd.live_state; listed (yes, where all keys were counted), written (KIND:CREATED:CHANGED of
    each kind of key written since the proven revision), keys_left (how many of before are there
    still), keys_before (how many there were; '' where that revision is compacted)
etcd.is_planned_identity
    restored_cluster_id (hex)
etcd.may_be_removed
    kept_data, kept_wal (path), bytes_data, bytes_wal, swapped_data, swapped_wal (yes|no)
etcd.writes_and_reads
    probe (ok, or what went wrong)
kube.serves
    ready.<service> (ok, or what it said)
kube.is_ready_now, kube.tells_if_not_ready
    as kube.serves; runs.<service> (yes|no); asked '' where the old cluster has no quorum
kube.settings_fit
    member_ca, etcd_ca (a digest per certificate); and where there is a kube-apiserver:
    etcd_servers, etcd_prefix, etcd_overrides (the flags' values), apiserver_from
    (written|running), encryption (a digest, none or unreadable), account_keys, account_signing,
    controller_signing (digests)
kube.kubelets_end_pods
    kubelet_age (seconds; '' where no static pods are run), apiserver (answers|silent)
kube.reads_secrets
    secrets_status (of HTTP, or 'not asked'), secrets_read (how many), secrets_said
"""
