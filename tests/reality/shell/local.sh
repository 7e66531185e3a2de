# A loopback host: its folder is the working directory.
KEPT=$PWD/root/kept
CERT=$PWD/etc/kubernetes/ssl/kubernetes.pem
KEY=$PWD/etc/kubernetes/ssl/kubernetes-key.pem
CA=$PWD/etc/kubernetes/ssl/ca.pem
BIN=$PWD/usr/local/bin
UNITS=$PWD/etc/supervisord.conf
ctl() { timeout 10 etcdctl --endpoints="https://$ADDRESS:2379" --cacert="$CA" --cert="$CERT" --key="$KEY" "$@"; }
answers() { ctl endpoint health; }
flag() { edit "$UNITS" "s|^  --name=.*|&\n  $1|"; } # in what starts etcd
again() { # supervisord reads its file, and starts everything anew
  kill -HUP "$(cat run/supervisord.pid)"
  sleep 1
  wait_for 40 answers
}
stopped() { "$PYTHON" -m supervisor.supervisorctl -c "$UNITS" stop etcd; } # until `again`
