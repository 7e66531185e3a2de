"""From the inventory as written to the inventory as meant: layout, defaults, placeholders.

Nothing here refuses anything: what cannot be right is found by `checks`, which looks at both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from drctl.inventory.fields import expand, expand_url
from drctl.inventory.model import (
    EtcdFile,
    HostFile,
    InventoryFile,
    KubernetesFile,
    Manager,
    MemberFile,
    PrepareFile,
    ReachFile,
    ServiceFile,
    Strict,
)
from drctl.inventory.presets import PRESETS, STANDARD_SERVICES, STOP_SECONDS
from drctl.inventory.resolved import (
    Commands,
    Host,
    Inventory,
    Kubernetes,
    LocalCertificates,
    Member,
    Prepare,
    Service,
    Tools,
)

WORK_DIR = "/var/lib/drctl"
Section = TypeVar("Section", bound=Strict)


def over(base: Section, top: Strict) -> Section:
    """`base` with everything that `top` says explicitly, a null included."""
    known = type(base).model_fields
    said = {name: getattr(top, name) for name in top.model_fields_set if name in known}
    return base.model_copy(update=said)


def resolve(file: InventoryFile, path: Path, warnings: tuple[str, ...] = ()) -> Inventory:
    """Fill in everything that the file leaves to its layout and to the defaults."""
    hosts = {name: _host(name, host, file.defaults, path) for name, host in file.hosts.items()}
    etcd = over(PRESETS[file.layout].etcd, file.etcd)
    kubernetes = over(PRESETS[file.layout].kubernetes, file.kubernetes)
    commands = Commands(**dict(file.commands)) if file.commands else None
    services = declared_services(file)
    tools = _tools(etcd, services["etcd"].manager or file.service_manager, path)
    members = _members(file, hosts, etcd, tools)
    if not services["etcd"].ports:
        services["etcd"] = services["etcd"].model_copy(update={"ports": _ports(members)})
    return Inventory(
        cluster=file.cluster,
        path=path,
        known_hosts=local_path(file.known_hosts, path),
        hosts=hosts,
        groups=file.groups,
        members=members,
        kubernetes={name: _kubernetes(host, kubernetes) for name, host in hosts.items()},
        prepare=_prepare(file, members, hosts, path),
        services={
            name: _service(name, service, file, hosts, commands)
            for name, service in services.items()
        },
        settle_seconds=file.options.settle_seconds,
        parallel=file.options.parallel,
        warnings=warnings,
    )


def local_path(text: str | None, inventory: Path) -> Path | None:
    """A path on this machine: `~` is home, a relative one starts at the inventory's folder."""
    return None if text is None else _local(text, inventory)


def _local(text: str, inventory: Path) -> Path:
    path = Path(text)
    if text.startswith("~"):
        path = path.expanduser()
    return inventory.absolute().parent / path


def _host(name: str, host: HostFile, defaults: ReachFile, inventory: Path) -> Host:
    reach = over(defaults, host)
    address = host.address or name
    cluster_address = host.cluster_address or address
    work_dir = reach.work_dir or WORK_DIR
    return Host(
        name=name,
        address=address,
        cluster_address=cluster_address,
        port=reach.port,
        user=reach.user,
        key=local_path(reach.key, inventory),
        # the default jump host is not reached through itself
        jump=reach.jump if "jump" in host.model_fields_set or reach.jump != name else None,
        become=reach.become or ("none" if reach.user == "root" else "sudo"),
        work_dir=expand(work_dir, host=name, address=cluster_address),
    )


def _kubernetes(host: Host, file: KubernetesFile) -> Kubernetes:
    values = {"host": host.name, "address": host.cluster_address}
    return Kubernetes(
        manifests=expand(file.manifests, **values),
        url=expand_url(file.url, host=host.name, address=host.cluster_address),
        ca=file.ca and expand(file.ca, **values),
        cert=file.cert and expand(file.cert, **values),
        key=file.key and expand(file.key, **values),
    )


def _tools(etcd: EtcdFile, manager: Manager, inventory: Path) -> Tools:
    """An image is opened by the engine that runs etcd, else by containerd."""
    upload = local_path(etcd.etcdutl, inventory)
    in_engine = etcd.tools == "image" and (manager == "docker" or manager == "podman")
    source = manager if in_engine else etcd.tools
    return Tools(
        source=source,
        etcdutl_source="upload" if upload else source,
        image=etcd.image,
        upload=upload,
    )


def _member(host: Host, number: int, etcd: EtcdFile, tools: Tools) -> Member:
    own = etcd.members.get(host.name, MemberFile())
    values = {"host": host.name, "address": host.cluster_address}
    client_urls = _urls(own.client_urls or (etcd.client_url,), host)
    tls = etcd.tls if any(url.startswith("https") for url in client_urls) else None
    wal_dir = own.wal_dir if "wal_dir" in own.model_fields_set else etcd.wal_dir
    return Member(
        host=host.name,
        name=expand(own.name or etcd.member_name, number=str(number), **values),
        peer_urls=_urls(own.peer_urls or (etcd.peer_url,), host),
        client_urls=client_urls,
        data_dir=expand(own.data_dir or etcd.data_dir, **values),
        wal_dir=expand(wal_dir, **values) if wal_dir else None,
        owner=etcd.owner,
        ca=expand(tls.ca, **values) if tls else None,
        cert=expand(tls.cert, **values) if tls else None,
        key=expand(tls.key, **values) if tls else None,
        bin_dir=expand(etcd.bin_dir, **values).rstrip("/"),
        tools=tools,
    )


def _members(
    file: InventoryFile, hosts: dict[str, Host], etcd: EtcdFile, tools: Tools
) -> tuple[Member, ...]:
    names = dict.fromkeys(file.groups.get("etcd", ()))
    return tuple(
        _member(hosts[name], number, etcd, tools)
        for number, name in enumerate(names, start=1)
        if name in hosts
    )


def _prepare(
    file: InventoryFile, members: tuple[Member, ...], hosts: dict[str, Host], path: Path
) -> Prepare | None:
    written = file.prepare
    if written is None:
        return None
    named = {host for name in written.hosts or ("etcd",) for host in named_hosts(file, name)}
    chosen = [member for member in members if member.host in named]
    return Prepare(
        hosts=tuple(member.host for member in chosen),
        binaries=_local(written.binaries, path),
        certificates={m.host: _certificates(written, hosts[m.host], path) for m in chosen}
        if written.certificates
        else {},
        flags=written.flags,
    )


def _certificates(written: PrepareFile, host: Host, path: Path) -> LocalCertificates:
    files = {
        part: _local(expand(text, host=host.name, address=host.cluster_address), path)
        for part, text in written.certificates or ()
    }
    return LocalCertificates(**files)


def _ports(members: tuple[Member, ...]) -> tuple[int, ...]:
    """The ports in the members' URLs; nothing where a URL is not (yet known to be) right."""
    urls = [url for member in members for url in member.client_urls + member.peer_urls]
    ports = (url.rpartition(":")[2] for url in urls)
    return tuple(sorted({int(port) for port in ports if port.isdecimal()}))


def _urls(templates: tuple[str, ...], host: Host) -> tuple[str, ...]:
    return tuple(expand_url(url, host=host.name, address=host.cluster_address) for url in templates)


def declared_services(file: InventoryFile) -> dict[str, ServiceFile]:
    """The layout's services with the file's on top; the standard ones exist, perhaps empty."""
    services = dict.fromkeys(STANDARD_SERVICES, ServiceFile())
    services |= PRESETS[file.layout].services
    for name, written in file.services.items():
        empty = ServiceFile()
        services[name] = over(services.get(name, empty), written) if written else empty
    return services


def _service(
    name: str,
    service: ServiceFile,
    file: InventoryFile,
    hosts: dict[str, Host],
    commands: Commands | None,
) -> Service:
    names = [host for group in service.hosts or () for host in named_hosts(file, group)]
    chosen = tuple(name for name in dict.fromkeys(names) if name in hosts)
    manager = service.manager or file.service_manager
    said = "stop_seconds" in service.model_fields_set
    return Service(
        name=name,
        hosts=chosen,
        units=service.units or (),
        manager=manager,
        ports=service.ports,
        start=service.start,
        ready={host: _ready(service.ready, hosts[host]) for host in chosen},
        stop_seconds=service.stop_seconds if said else STOP_SECONDS.get(name),
        commands=commands if manager == "command" else None,
    )


def named_hosts(file: InventoryFile, name: str) -> tuple[str, ...]:
    """The hosts that a group's name, a host's name or `all` stands for; none if it is unknown."""
    if name == "all":
        grouped = {host for members in file.groups.values() for host in members}
        return tuple(host for host in file.hosts if host in grouped)
    return file.groups.get(name, (name,) if name in file.hosts else ())


def _ready(command: str | None, host: Host) -> str | None:
    return command and expand(command, host=host.name, address=host.cluster_address)
