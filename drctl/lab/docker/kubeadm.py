"""A cluster laid out by kubeadm's own phases, run on the machines: certificates, kubeconfigs and
manifests are its own, and what `kubeadm init` would do over a network is not needed.
"""

from __future__ import annotations

import base64
import io
import re
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from drctl.errors import InvalidInput
from drctl.lab import flags
from drctl.lab.certs import Pair
from drctl.lab.docker import pki, podimages
from drctl.lab.docker.kubernetes import Release
from drctl.lab.docker.layout import PEER_PORT, DockerLab, Node
from drctl.lab.docker.machine import File, Machine
from drctl.lab.labs import Say
from drctl.render import render

_SECONDS = 300.0  # for phases that make RSA keys, on a busy machine
_TEMPLATES = "lab/docker/static-pod"
_PKI = "/etc/kubernetes/pki"
_CONFIG = "/root/kubeadm.yaml"
_PATCHES = "/root/patches"
_ETCD_PHASE = ("init", "phase", "etcd", "local")
_ENCRYPTION = "/etc/kubernetes/encryption.yaml"
# The authorities and the keys of service accounts, the same on every control plane.
_SHARED = [
    f"{_PKI}/{name}"
    for name in (
        *("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key"),
        *("etcd/ca.crt", "etcd/ca.key"),
    )
]


@dataclass(frozen=True)
class Api:
    """The format of kubeadm's configuration, as the given one writes it itself."""

    version: str  # kubeadm.k8s.io/v1beta4
    socket_scheme: str  # what a container runtime's socket begins with: "unix://", or nothing

    @classmethod
    def of(cls, kubeadm: Path) -> Api:
        """Ask it for its defaults; InvalidInput where it has none to show."""
        command = [str(kubeadm), "config", "print", "init-defaults"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        found = re.search(r"^apiVersion: (kubeadm\.k8s\.io/\S+)$", told.stdout, re.MULTILINE)
        if not found:
            raise InvalidInput(f"{kubeadm} shows no defaults: {told.stderr.strip()[:200]}")
        sockets = re.search(r"^ *criSocket: unix://", told.stdout, re.MULTILINE)
        return cls(found[1], "unix://" if sockets else "")

    def arguments(self, given: Mapping[str, str | None]) -> object:
        """Extra arguments in its form: since v1beta4 one may be given twice, so they are a list."""
        pairs = {name: value for name, value in given.items() if value}
        if self.version.rpartition("/")[2] in ("v1beta2", "v1beta3"):
            return pairs
        return [{"name": name, "value": value} for name, value in pairs.items()]


@dataclass(frozen=True)
class Kubeadm:
    """The cluster on booted machines."""

    lab: DockerLab
    machines: Mapping[str, Machine]
    kubernetes: Release

    @property
    def control_plane(self) -> list[Machine]:
        """The first of them makes what all share."""
        return [self.machines[node.name] for node in self.lab.having("control_plane")]

    @property
    def workers(self) -> list[Machine]:
        return [self.machines[node.name] for node in self.lab.having("worker")]

    def install(self, say: Say) -> None:
        """Everything up to started kubelets; leaves the operator's certificates in `lab.pki`."""
        self._give_files()
        self._give_images(say)
        self._share()
        known = flags.known(self._program("kubeadm"), *_ETCD_PHASE)
        script = render(
            f"{_TEMPLATES}/install.sh",
            config=_CONFIG,
            patches=_PATCHES if self.lab.wal_dir else None,
            patches_flag="patches" if "patches" in known else "experimental-patches",
        )
        _each(self.control_plane, lambda machine: machine.sh(script, seconds=_SECONDS))
        self._keep_access()
        start = "systemctl daemon-reload && systemctl enable --quiet --now --no-block kubelet"
        _each([*self.control_plane, *self.workers], lambda machine: machine.sh(start))
        say("certificates and manifests made by kubeadm, kubelets started")

    def registered(self, machine: Machine) -> bool:
        """Whether the cluster knows the machine as a ready node; a control plane is asked itself,
        by the admin's kubeconfig."""
        asked = machine if machine.node.has("control_plane") else self.control_plane[0]
        question = render(f"{_TEMPLATES}/registered.sh", name=machine.name)
        return asked.sh(question, check=False).status == 0

    def _give_files(self) -> None:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        encryption = render("lab/docker/encryption.yaml", secret=secret)
        pods = iter(range(1, 255))
        for machine in [*self.control_plane, *self.workers]:
            kubelet = self._program("kubelet")
            unit = flags.fitted(self._text("kubelet.service", machine), kubelet)
            files = {
                _CONFIG: self._config(machine.node),
                "/etc/systemd/system/kubelet.service": File(unit.encode()),
                "/var/lib/kubelet/config.yaml": self._rendered(
                    "kubelet.yaml", machine, flags=flags.known(kubelet)
                ),
                "/etc/cni/net.d/10-lab.conflist": self._rendered(
                    "cni.json", machine, pods=f"10.244.{next(pods)}.0/24"
                ),
            }
            if machine.node.has("control_plane"):
                files[_ENCRYPTION] = File(encryption.encode(), 0o600)
            if self.lab.wal_dir:
                folder = str(PurePosixPath(self.lab.wal_dir).parent)
                patch = self._rendered("etcd-wal.yaml", machine, folder=folder)
                files[f"{_PATCHES}/etcd.yaml"] = patch
            machine.put(files)

    def _config(self, node: Node) -> File:
        members = self.lab.having("etcd")
        text = render(
            f"{_TEMPLATES}/kubeadm.yaml",
            api=self._api,
            release=self.kubernetes.text,
            name=node.name,
            address=node.address,
            apiservers=pki.APISERVERS_NAME,
            endpoint=pki.APISERVERS_NAME if node.has("worker") else None,
            cluster=self.lab.cluster,
            encryption=_ENCRYPTION,
            data_dir=self.lab.data_dir,
            wal_dir=self.lab.wal_dir,
            etcd_tag=podimages.etcd_tag(self.lab),
            initial_cluster=",".join(
                f"{member.member_name}=https://{member.address}:{PEER_PORT}" for member in members
            ),
        )
        return File(text.encode())

    def _rendered(self, template: str, machine: Machine, **values: object) -> File:
        return File(self._text(template, machine, **values).encode())

    def _text(self, template: str, machine: Machine, **values: object) -> str:
        return render(f"{_TEMPLATES}/{template}", name=machine.name, **values)

    @cached_property
    def _api(self) -> Api:
        return Api.of(self._program("kubeadm"))

    def _program(self, name: str) -> Path:
        return self.kubernetes.directory / name

    def _give_images(self, say: Say) -> None:
        for_control_plane, for_workers = podimages.make(self.control_plane[0], self.kubernetes, say)
        podimages.give(for_control_plane, self.control_plane)
        podimages.give(for_workers, self.workers)
        say("images imported")

    def _share(self) -> None:
        """The first control plane's authorities on every other one, and to each worker what its
        kubelet says who it is with."""
        first, *others = self.control_plane
        workers = {machine.name: f"/root/{machine.name}" for machine in self.workers}
        first.put(
            {
                f"{folder}.yaml": self._config(self.machines[name].node)
                for name, folder in workers.items()
            }
        )
        make = render(f"{_TEMPLATES}/certificates.sh", config=_CONFIG, workers=workers.values())
        first.sh(make, seconds=_SECONDS)
        shared = _read(first, _SHARED)
        _each(others, lambda machine: machine.put(shared))
        for name, folder in workers.items():
            (mine,) = _read(first, [f"{folder}/kubelet.conf"]).values()
            ca = f"{_PKI}/ca.crt"
            self.machines[name].put({"/etc/kubernetes/kubelet.conf": mine, ca: shared[ca]})

    def _keep_access(self) -> None:
        first = self.control_plane[0]
        self.lab.pki.mkdir(mode=0o700)
        names = ("ca.crt", "ca.key", "healthcheck-client.crt", "healthcheck-client.key")
        files = _read(first, [f"{_PKI}/etcd/{name}" for name in names])
        ca, ca_key, cert, key = files.values()
        pki.keep(self.lab, "ca", Pair(ca.content, ca_key.content))
        (self.lab.pki / "etcd-ca.pem").write_bytes(ca.content)
        pki.keep(self.lab, "etcd", Pair(cert.content, key.content))
        # From 1.29 on admin.conf is worth nothing until the apiserver has been told who that is.
        found = first.sh("cat /etc/kubernetes/super-admin.conf || cat /etc/kubernetes/admin.conf")
        (self.lab.pki / "admin-ca.pem").write_bytes(_data(found.output, "certificate-authority"))
        pair = Pair(*(_data(found.output, f"client-{part}") for part in ("certificate", "key")))
        pki.keep(self.lab, "admin", pair)


def _each(machines: Iterable[Machine], do: Callable[[Machine], object]) -> None:
    chosen = list(machines)
    with ThreadPoolExecutor(max(1, len(chosen))) as pool:
        list(pool.map(do, chosen))


def _read(machine: Machine, paths: list[str]) -> dict[str, File]:
    """Files of a machine, in the order asked for."""
    packed = machine.sh(f"tar -cP {' '.join(paths)} | base64 -w 0").output
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        found = {}
        for path in paths:
            member = archive.getmember(path)
            stream = archive.extractfile(member)
            assert stream is not None  # a regular file
            found[path] = File(stream.read(), member.mode)
    return found


def _data(kubeconfig: str, field: str) -> bytes:
    """What a kubeconfig holds of a certificate or key."""
    found = re.search(rf"{field}-data: (\S+)", kubeconfig)
    assert found is not None  # kubeadm writes all three
    return base64.b64decode(found.group(1))
