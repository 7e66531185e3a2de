# A machine with a kubelet, laid out as kubeadm does it.
KEPT=/root/kept
PKI=/etc/kubernetes/pki/etcd
CERT=$PKI/server.crt
KEY=$PKI/server.key
MANIFESTS=/etc/kubernetes/manifests
