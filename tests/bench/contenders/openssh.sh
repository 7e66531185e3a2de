#!/usr/bin/env bash
# The restore by hand, as fast as OpenSSH and shell can: what a good operator has in a drawer.
#
#     openssh.sh plain|zstd|staged NODES SNAPSHOT
#
# NODES has one line per machine: NAME PORT ADDRESS MEMBER. From the environment: KEY, KNOWN_HOSTS,
# TOKEN, BUMP. Every step runs on all machines at once, over one connection each; the followers stop
# together, then the leader. `staged` sends (by zstd) and rebuilds while the old cluster serves.
#
# What it leaves out, and drctl does not: any check before the first stop but `ssh true`, a fence
# against what starts again, sha256 and fsync of the copy, proof of the result (one cluster, equal
# hashes, a write through each member), undo, and a record of any of it.
#
# Prints "phase NAME SECONDS" for each phase.
set -euo pipefail
order=$1 nodes=$2 snapshot=$3
: "$KEY" "$KNOWN_HOSTS" "$TOKEN" "$BUMP"

names=() ports=() addresses=() members=()
while read -r name port address member; do
  names+=("$name") ports+=("$port") addresses+=("$address") members+=("$member")
done <"$nodes"
cluster=
for i in "${!names[@]}"; do cluster+="${cluster:+,}${members[i]}=https://${addresses[i]}:2380"; done

scratch=$(mktemp -d /tmp/by-hand.XXXXXX)
finish() {
  for i in "${!names[@]}"; do on "$i" -O exit 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap finish EXIT

on() { # INDEX WORDS...
  local i=$1
  shift
  ssh -F /dev/null -i "$KEY" -p "${ports[i]}" -o UserKnownHostsFile="$KNOWN_HOSTS" \
    -o StrictHostKeyChecking=yes -o BatchMode=yes -o LogLevel=ERROR -o IdentityAgent=none \
    -o ControlMaster=auto -o ControlPath="$scratch/%p" -o ControlPersist=60 \
    ops@127.0.0.1 "$@"
}

together() { # COMMAND [INDEX...]: as root, on all of them at once (or on those)
  local command=$1 each=() jobs=() i
  shift
  if [ $# -gt 0 ]; then each=("$@"); else each=("${!names[@]}"); fi
  for i in "${each[@]}"; do
    on "$i" sudo sh -eus <<<"NAME=${members[i]} ADDRESS=${addresses[i]}; $command" &
    jobs+=($!)
  done
  for i in "${jobs[@]}"; do wait "$i"; done
}

began=$EPOCHREALTIME
phase() { # NAME: what was done since the last one
  local now=$EPOCHREALTIME
  awk -v name="$1" -v from="$began" -v to="$now" \
    'BEGIN { printf "phase %s %.3f\n", name, to - from }'
  began=$now
}

connect() {
  together 'true'
  phase connect
}

stop_apiservers() {
  together 'systemctl stop kube-apiserver-stand-in'
  phase stop-apiserver
}

# All at once would cost 7 s: the leader would offer its leadership to members that are going too.
stop_etcd() {
  local followers=() leader=() i
  together 'etcdctl --endpoints=http://127.0.0.1:2379 endpoint status -w fields |
    awk -F" : " -v name="$NAME" "/MemberID/ { id = \$2 } /Leader/ { leader = \$2 }
      END { if (id == leader) print name }"' >"$scratch/leader"
  for i in "${!names[@]}"; do
    if grep -qxF "${members[i]}" "$scratch/leader"; then leader+=("$i"); else followers+=("$i"); fi
  done
  together 'systemctl stop etcd' "${followers[@]}"
  [ ${#leader[@]} = 0 ] || together 'systemctl stop etcd' "${leader[@]}"
  phase stop-etcd
}

send() {
  local i jobs=() file=$snapshot through=cat
  if [ "$order" != plain ]; then
    file=$scratch/snapshot.zst through='zstd -dqc'
    zstd -1 -q -T0 -o "$file" "$snapshot"
  fi
  for i in "${!names[@]}"; do
    on "$i" "sudo sh -euc 'mkdir -p /var/lib/bench; $through >/var/lib/bench/snapshot.db'" <"$file" &
    jobs+=($!)
  done
  for i in "${jobs[@]}"; do wait "$i"; done
  phase send
}

rebuild() {
  together "rm -rf /var/lib/bench/new
    etcdutl snapshot restore /var/lib/bench/snapshot.db --data-dir /var/lib/bench/new \
      --name \$NAME --initial-cluster '$cluster' --initial-cluster-token '$TOKEN' \
      --initial-advertise-peer-urls https://\$ADDRESS:2380 \
      --bump-revision '$BUMP' --mark-compacted >/var/lib/bench/log 2>&1
    rm /var/lib/bench/snapshot.db"
  phase rebuild
}

swap() {
  together "mv /var/lib/etcd /var/lib/etcd.$TOKEN; mv /var/lib/bench/new /var/lib/etcd"
  phase swap
}

start_etcd() {
  together 'systemctl start etcd
    until etcdctl --endpoints=http://127.0.0.1:2379 endpoint health >/dev/null 2>&1; do
      sleep 0.1
    done'
  phase start-etcd
}

start_apiservers() {
  together 'systemctl start kube-apiserver-stand-in
    until curl -fs --max-time 5 "http://$ADDRESS:6443/readyz" >/dev/null; do sleep 0.05; done'
  phase start-apiserver
}

connect
if [ "$order" = staged ]; then
  send
  rebuild
  stop_apiservers
  stop_etcd
else
  stop_apiservers
  stop_etcd
  send
  rebuild
fi
swap
start_etcd
start_apiservers
