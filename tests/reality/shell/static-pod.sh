# A machine with a kubelet, laid out as kubeadm does it.
KEPT=/root/kept
PKI=/etc/kubernetes/pki/etcd
CERT=$PKI/server.crt
KEY=$PKI/server.key
MANIFESTS=/etc/kubernetes/manifests
POD=$MANIFESTS/etcd.yaml
# The kubelet reads every file in its folder whose name does not begin with a dot.
parked() { mkdir -p "$KEPT" && mv "$POD" "$KEPT/parked.yaml" && wait_for 60 eval '! pgrep -x etcd'; }
unparked() { mv "$KEPT/parked.yaml" "$POD" && runs; }
listens() { # on 2379
  awk '$4 == "0A" && $2 ~ /:094B$/ { found = 1 } END { exit !found }' /proc/net/tcp /proc/net/tcp6; }
runs() { wait_for 90 eval 'pgrep -x etcd && listens'; }
written() { # SED: another manifest, and the pod that comes of it
  keep "$POD"
  mv "$POD" /root/etcd.yaml
  wait_for 60 eval '! pgrep -x etcd'
  sed "$1" /root/etcd.yaml > /root/etcd.new
  if cmp -s /root/etcd.new /root/etcd.yaml; then echo "nothing changed: $1"; exit 1; fi
  mv /root/etcd.new "$POD"
  rm /root/etcd.yaml
  runs
}
rewritten() {
  rm "$POD"
  wait_for 60 eval '! pgrep -x etcd'
  mv "$(kept_as "$POD")" "$POD"
  runs
}
