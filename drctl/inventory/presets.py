"""What each layout supplies by default. Sources: the documented procedure, kubeasz's roles, the
manifests that kubeadm writes, and of kubernetes-sigs/kubespray its own files, FILE@commit:
roles/kubespray_defaults/defaults/main/main.yml@73b3e9b5 (bin_dir, etcd_data_dir, etcd_cert_dir,
etcd_member_name, kube_cert_dir, kube_manifest_dir, etcd_deployment_type: host),
roles/etcd/templates/etcd-host.service.j2@cfc60204 (etcd.service, run by the user etcd, with all
settings in /etc/etcd.env), roles/etcd/files/make-ssl-etcd.sh@67356867 (admin-, member- and
node-HOST.pem) and roles/etcdctl_etcdutl/tasks/main.yml@183fa4a6 (both tools are in bin_dir)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drctl.inventory.model import EtcdFile, KubernetesFile, ServiceFile, TlsFile

STANDARD_SERVICES = ("etcd", "apiserver", "controllers", "kubelet", "dependents")
"""Names that the shipped runbooks use. An inventory always has them; some may have no host."""

KUBERNETES_SERVICES = STANDARD_SERVICES[1:4]

STOP_SECONDS = {"apiserver": 5.0, "controllers": 5.0, "etcd": 10.0}
"""What a fenced service gets to stop by itself before it is killed; what is not here is never
killed. An apiserver and the controllers hold no state, but an apiserver may serve its watches for a
minute longer. etcd acknowledges nothing that is not in its log; a leader that waits for a member
that stopped before it takes up to 7 s (measured, etcd 3.5.16)."""


@dataclass(frozen=True)
class Preset:
    """A layout's defaults. `groups` are those that its services cannot do without."""

    etcd: EtcdFile
    services: Mapping[str, ServiceFile]
    groups: tuple[str, ...]
    kubernetes: KubernetesFile


_ETCD = ServiceFile(hosts=("etcd",), units=("etcd",))  # its ports follow from the URLs
_SSL = "/etc/kubernetes/ssl"

# kubeasz binds the apiserver to the node's own address and has switched anonymous requests off
# in many releases, so the question is asked there and with the apiserver's own certificate.
_READY = (
    f"curl -fsk --max-time 5 --cert {_SSL}/kubernetes.pem --key {_SSL}/kubernetes-key.pem "
    "https://{address}:6443/readyz"
)

_PKI = "/etc/kubernetes/pki"
# The certificate that kubeadm's apiserver shows to kubelets belongs to an administrator.
_ADMIN = KubernetesFile(
    ca=f"{_PKI}/ca.crt",
    cert=f"{_PKI}/apiserver-kubelet-client.crt",
    key=f"{_PKI}/apiserver-kubelet-client.key",
)


def _pods(admin: KubernetesFile) -> dict[str, ServiceFile]:
    """The control plane as kubeadm lays it out, and the kubelets that run it."""
    return {
        "apiserver": ServiceFile(
            hosts=("control_plane",),
            units=("kube-apiserver",),
            ports=(6443,),
            start="first-alone",
            ready=f"curl -fsk --max-time 5 --cert {admin.cert} --key {admin.key} "
            "https://{address}:6443/readyz",
            manager="static-pod",
        ),
        "controllers": ServiceFile(
            hosts=("control_plane",),
            units=("kube-controller-manager", "kube-scheduler"),
            manager="static-pod",
        ),
        "kubelet": ServiceFile(
            hosts=("control_plane", "workers"), units=("kubelet",), manager="systemd"
        ),
    }


# kubespray has kubeadm keep its certificates in another folder, and etcd's elsewhere.
_KUBESPRAY_ADMIN = KubernetesFile(
    ca=f"{_SSL}/ca.crt",
    cert=f"{_SSL}/apiserver-kubelet-client.crt",
    key=f"{_SSL}/apiserver-kubelet-client.key",
)
_ETCD_SSL = "/etc/ssl/etcd/ssl"

PRESETS: Mapping[str, Preset] = {
    "kubeadm": Preset(
        etcd=EtcdFile(
            tools="image",
            member_name="{host}",
            tls=TlsFile(
                ca=f"{_PKI}/etcd/ca.crt",
                cert=f"{_PKI}/etcd/healthcheck-client.crt",
                key=f"{_PKI}/etcd/healthcheck-client.key",
            ),
        ),
        services={
            "etcd": _ETCD.model_copy(update={"manager": "static-pod"}),
            **_pods(_ADMIN),
        },
        kubernetes=_ADMIN,
        groups=("control_plane",),
    ),
    "kubespray": Preset(
        etcd=EtcdFile(
            bin_dir="/usr/local/bin",
            data_dir="/var/lib/etcd",
            member_name="etcd{number}",
            tls=TlsFile(
                ca=f"{_ETCD_SSL}/ca.pem",
                cert=f"{_ETCD_SSL}/admin-{{host}}.pem",
                key=f"{_ETCD_SSL}/admin-{{host}}-key.pem",
            ),
        ),
        services={
            "etcd": _ETCD.model_copy(update={"manager": "systemd"}),
            **_pods(_KUBESPRAY_ADMIN),
        },
        kubernetes=_KUBESPRAY_ADMIN,
        groups=("control_plane",),
    ),
    "none": Preset(
        etcd=EtcdFile(), services={"etcd": _ETCD}, groups=(), kubernetes=KubernetesFile()
    ),
    "kubeasz": Preset(
        etcd=EtcdFile(
            bin_dir="/usr/local/bin",
            data_dir="/var/lib/etcd",
            member_name="etcd-{address}",
            tls=TlsFile(
                ca=f"{_SSL}/ca.pem",
                cert=f"{_SSL}/kubernetes.pem",
                key=f"{_SSL}/kubernetes-key.pem",
            ),
        ),
        services={
            "etcd": _ETCD,
            "apiserver": ServiceFile(
                hosts=("control_plane",),
                units=("kube-apiserver",),
                ports=(6443,),
                start="first-alone",
                ready=_READY,
            ),
            "controllers": ServiceFile(
                hosts=("control_plane",), units=("kube-controller-manager", "kube-scheduler")
            ),
            "kubelet": ServiceFile(
                hosts=("control_plane", "workers"), units=("kubelet", "kube-proxy")
            ),
        },
        kubernetes=KubernetesFile(ca=f"{_SSL}/ca.pem"),
        groups=("control_plane",),
    ),
}
