# A machine with systemd, laid out as kubeasz does it.
KEPT=/root/kept
CERT=/etc/kubernetes/ssl/kubernetes.pem
KEY=/etc/kubernetes/ssl/kubernetes-key.pem
CA=/etc/kubernetes/ssl/ca.pem
BIN=/usr/local/bin
UNITS=/etc/systemd/system
UNIT=$UNITS/etcd.service
DROP_IN=$UNITS/etcd.service.d/local.conf
ctl() { timeout 10 etcdctl --endpoints="https://$ADDRESS:2379" --cacert="$CA" --cert="$CERT" --key="$KEY" "$@"; }
answers() { ctl endpoint health; }
flag() { edit "$UNIT" "s|^ *--name=.*|&\n  $1 \\\\|"; } # in what starts etcd
drop_in() { # LINE... of [Service]: read by systemd, and etcd not restarted
  mkdir -p "${DROP_IN%/*}"
  printf '[Service]\n' > "$DROP_IN"
  for line; do printf '%s\n' "$line" >> "$DROP_IN"; done
  systemctl daemon-reload
}
no_drop_in() { rm -r "${DROP_IN%/*}"; systemctl daemon-reload; }
again() { # [UNIT]
  systemctl daemon-reload
  systemctl restart "${1:-etcd}"
  wait_for 40 answers
}
told() { sed -n "s/^ *--$1=\([^ ]*\).*/\1/p" "$UNIT"; } # FLAG: its value in etcd's unit
config_file() { # DATA_DIR: a configuration file of etcd's
  cat > /etc/etcd.yml <<YAML
name: $MEMBER
data-dir: $1
listen-peer-urls: https://$ADDRESS:2380
listen-client-urls: https://$ADDRESS:2379,http://127.0.0.1:2379
initial-advertise-peer-urls: https://$ADDRESS:2380
advertise-client-urls: https://$ADDRESS:2379
initial-cluster: $(told initial-cluster)
initial-cluster-token: $(told initial-cluster-token)
initial-cluster-state: existing
client-transport-security: {cert-file: $CERT, key-file: $KEY, trusted-ca-file: $CA, client-cert-auth: true}
peer-transport-security: {cert-file: $CERT, key-file: $KEY, trusted-ca-file: $CA, client-cert-auth: true}
YAML
}
env_file() { # DATA_DIR: as kubespray keeps etcd's settings
  cat > /etc/etcd.env <<ENV
ETCD_NAME=$MEMBER
ETCD_DATA_DIR=$1
ETCD_LISTEN_PEER_URLS=https://$ADDRESS:2380
ETCD_LISTEN_CLIENT_URLS=https://$ADDRESS:2379,http://127.0.0.1:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://$ADDRESS:2380
ETCD_ADVERTISE_CLIENT_URLS=https://$ADDRESS:2379
ETCD_INITIAL_CLUSTER=$(told initial-cluster)
ETCD_INITIAL_CLUSTER_TOKEN=$(told initial-cluster-token)
ETCD_INITIAL_CLUSTER_STATE=existing
ETCD_CERT_FILE=$CERT
ETCD_KEY_FILE=$KEY
ETCD_TRUSTED_CA_FILE=$CA
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=$CERT
ETCD_PEER_KEY_FILE=$KEY
ETCD_PEER_TRUSTED_CA_FILE=$CA
ETCD_PEER_CLIENT_CERT_AUTH=true
ENV
}
in_memory() { # OPTIONS: the data lies on a filesystem of its own, of that size
  systemctl stop etcd
  mv "$DATA" "$DATA.aside"
  mkdir -m 700 "$DATA"
  mount -t tmpfs -o "mode=700,$1" tmpfs "$DATA"
  cp -a "$DATA.aside/." "$DATA/"
  again
}
on_disk() {
  systemctl stop etcd
  rm -rf "$DATA.aside/member"
  cp -a "$DATA/member" "$DATA.aside/"
  umount "$DATA"
  rmdir "$DATA"
  mv "$DATA.aside" "$DATA"
  again
}
hosts_back() { cat "$(kept_as /etc/hosts)" > /etc/hosts; } # Docker mounts it: it cannot be replaced
