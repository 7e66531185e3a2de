"""The inventory as it is written: one model per section, each field described for editors.

What is not in these models is an unknown key. Meaning (defaults of a layout, placeholders, what
refers to what) is added by `resolve`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drctl.inventory.fields import (
    Address,
    CommandLine,
    FlagName,
    FlagValue,
    ImageName,
    Jump,
    LocalPath,
    LocalPathTemplate,
    MemberName,
    Name,
    NodePath,
    OneOrMany,
    OrEmpty,
    Port,
    ReadyLine,
    Unit,
    Url,
    User,
    UserGroup,
)

Layout = Literal["kubeasz", "kubeadm", "kubespray", "none"]
Manager = Literal["systemd", "static-pod", "docker", "podman", "command"]
ToolSource = Literal["host", "image"]
Become = Literal["none", "sudo"]
Start = Literal["together", "one-by-one", "first-alone"]
Names = Annotated[tuple[Name, ...], OneOrMany()]
Urls = Annotated[tuple[Url, ...], OneOrMany()]
Units = Annotated[tuple[Unit, ...], OneOrMany()]


class Strict(BaseModel):
    """Frozen, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReachFile(Strict):
    """How a host is reached. What is left out is decided by ssh_config."""

    user: User | None = Field(None, description="login user")
    port: Port | None = Field(None, description="SSH port")
    key: LocalPath | None = Field(
        None,
        description="private key file on this machine, '~' allowed; relative to this file's "
        "directory",
    )
    jump: Jump | None = Field(
        None, description="jump host: a host in this file, or [user@]address[:port]"
    )
    become: Become | None = Field(
        None, description="how to become root: sudo (default unless user is root) or none"
    )
    work_dir: NodePath | None = Field(
        None, description="drctl's directory on the host (default /var/lib/drctl)"
    )


class HostFile(ReachFile):
    """One host; what it does not say is taken from `defaults`."""

    address: Address | None = Field(
        None, description="address for SSH; default: the host's name (an ssh_config alias)"
    )
    cluster_address: Address | None = Field(
        None, description="address in etcd's URLs; default: address"
    )


class TlsFile(Strict):
    """Certificates on the node, used to talk to etcd as a client."""

    ca: NodePath = Field(description="CA certificate")
    cert: NodePath = Field(description="client certificate")
    key: NodePath = Field(description="client key")


class MemberFile(Strict):
    """What is different about one member."""

    name: MemberName | None = Field(None, description="etcd's --name on this host")
    peer_urls: Urls | None = Field(None, description="advertised peer URLs")
    client_urls: Urls | None = Field(None, description="advertised client URLs")
    data_dir: NodePath | None = Field(None, description="etcd's --data-dir on this host")
    wal_dir: NodePath | None = Field(None, description="etcd's --wal-dir on this host")


class EtcdFile(Strict):
    """etcd's paths, names and URLs. {host} and {address} (the cluster address) are filled in."""

    bin_dir: NodePath = Field(
        "/usr/local/bin", description="where etcd, etcdctl and etcdutl are on the nodes"
    )
    tools: ToolSource = Field(
        "host",
        description="where the tools are: on the host (in bin_dir) or in etcd's image",
    )
    image: ImageName | None = Field(
        None,
        description="for tools: image; default: the image in etcd's static pod manifest, or of "
        "its container",
    )
    etcdutl: LocalPath | None = Field(
        None,
        description="an etcdutl on this machine, sent to the nodes and removed afterwards, "
        "whatever `tools` says; relative to this file's directory",
    )
    data_dir: NodePath = Field("/var/lib/etcd", description="etcd's --data-dir")
    wal_dir: NodePath | None = Field(None, description="etcd's --wal-dir, if separate")
    owner: UserGroup | None = Field(
        None, description="user:group of the data; default: that of the old data directory"
    )
    peer_url: Url = Field("https://{address}:2380", description="advertised peer URL")
    client_url: Url = Field("https://{address}:2379", description="advertised client URL")
    member_name: MemberName = Field(
        "{host}",
        description="etcd's --name; {number} is the member's place in the group etcd, from 1",
    )
    tls: TlsFile | None = Field(None, description="client certificates; needed for https")
    members: dict[Name, Annotated[MemberFile, OrEmpty()]] = Field(
        default_factory=dict, description="overrides for single hosts, by host name"
    )


class KubernetesFile(Strict):
    """Kubernetes' paths on the control plane. {host} and {address} are filled in."""

    manifests: NodePath = Field(
        "/etc/kubernetes/manifests", description="the kubelet's static pod manifest directory"
    )
    url: Url = Field("https://{address}:6443", description="the apiserver on each host")
    ca: NodePath | None = Field(None, description="CA certificate of the apiservers")
    cert: NodePath | None = Field(
        None, description="administrator's certificate, to check that Secrets can be read"
    )
    key: NodePath | None = Field(None, description="key of that certificate")


class LocalCertificatesFile(Strict):
    """Certificates in files here, for the paths on the nodes that `etcd.tls` names."""

    ca: LocalPathTemplate = Field(description="CA certificate, PEM")
    cert: LocalPathTemplate = Field(
        description="a member's certificate (server, client and peer), PEM; must cover the "
        "member's URLs; {host} and {address} are filled in"
    )
    key: LocalPathTemplate = Field(description="its private key, PEM, without a passphrase")


class PrepareFile(Strict):
    """New, blank hosts: what step 1 installs there. Local paths start at this file's folder."""

    hosts: Names | None = Field(None, description="groups or hosts among the members; default all")
    binaries: LocalPath = Field(
        description="local directory with etcd, etcdctl and etcdutl for the hosts"
    )
    certificates: LocalCertificatesFile | None = Field(
        None, description="local files; needed for https"
    )
    flags: dict[FlagName, FlagValue] = Field(
        default_factory=dict, description="extra etcd flags, without leading dashes"
    )


class ServiceFile(Strict):
    """Units that stop and start together, under a name that runbooks use."""

    hosts: Names | None = Field(None, description="groups, hosts, or 'all'")
    units: Units | None = Field(
        None, description="units in the order they start; they stop in reverse"
    )
    ports: tuple[Port, ...] = Field((), description="ports that are closed when it is stopped")
    start: Start = Field(
        "together",
        description="all hosts at once, one by one, or the first alone and then the others at once",
    )
    ready: ReadyLine | None = Field(
        None,
        description="shell command on the host; exits 0 once the service answers; ended after 8 s",
    )
    manager: Manager | None = Field(None, description="default: service_manager")
    stop_seconds: float | None = Field(
        None,
        ge=0,
        le=120,
        strict=True,
        description="seconds that a unit gets to stop before it is killed; null: it is never "
        "killed (default: 5 for apiserver and controllers, 10 for etcd, null for all others)",
    )


class CommandsFile(Strict):
    """Shell commands for the manager `command`. {unit} and {host} are filled in."""

    start: CommandLine = Field(description="start the unit")
    stop: CommandLine = Field(description="stop the unit")
    running: CommandLine = Field(description="exits 0 if the unit runs")
    fence: CommandLine = Field(description="keep it from starting, even after a reboot")
    unfence: CommandLine = Field(description="undo fence")
    fenced: CommandLine = Field(description="exits 0 if the unit is fenced")
    kill: CommandLine | None = Field(
        None,
        description="end a unit that did not stop in time (stop_seconds); without it a stop is "
        "waited for",
    )


class OptionsFile(Strict):
    """Tuning."""

    settle_seconds: float = Field(
        3,
        ge=0,
        le=300,
        strict=True,
        description="seconds a stopped service must stay gone, where its manager cannot prove it",
    )
    parallel: int | None = Field(
        None, ge=1, le=1000, strict=True, description="hosts that are worked on at the same time"
    )


class InventoryFile(Strict):
    """The hosts of one cluster, how to reach them, and what runs there."""

    cluster: Name = Field(description="the cluster's name; runs are filed under it")
    layout: Layout = Field(
        "none", description="installer whose paths, names and units are the defaults"
    )
    defaults: Annotated[ReachFile, OrEmpty()] = Field(
        default_factory=lambda: ReachFile(), description="SSH defaults for all hosts"
    )
    known_hosts: LocalPath | None = Field(
        None,
        description="extra known_hosts file besides the user's and the system's; relative to this "
        "file's directory",
    )
    hosts: dict[Name, Annotated[HostFile, OrEmpty()]] = Field(description="every host, by name")
    groups: dict[Name, Names] = Field(
        description="hosts by role: etcd, control_plane, workers, and any of your own"
    )
    etcd: Annotated[EtcdFile, OrEmpty()] = Field(
        default_factory=lambda: EtcdFile(), description="where and how etcd runs"
    )
    kubernetes: Annotated[KubernetesFile, OrEmpty()] = Field(
        default_factory=lambda: KubernetesFile(), description="where Kubernetes keeps its files"
    )
    prepare: PrepareFile | None = Field(
        None, description="new, blank hosts; leave out where etcd is installed"
    )
    services: dict[Name, ServiceFile | None] = Field(
        default_factory=dict,
        description="services to stop and start: etcd, apiserver, controllers, kubelet, "
        "dependents, and any of your own; null means there is none",
    )
    service_manager: Manager = Field("systemd", description="service manager")
    commands: CommandsFile | None = Field(None, description="commands for the manager 'command'")
    options: Annotated[OptionsFile, OrEmpty()] = Field(
        default_factory=lambda: OptionsFile(), description="tuning"
    )
