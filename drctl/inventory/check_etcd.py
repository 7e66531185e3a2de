"""Checks of the members: what must differ between them, and which directories must not meet."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterator

from drctl.inventory.fields import check_absolute, check_member_name, check_url
from drctl.inventory.resolved import Member
from drctl.inventory.subject import Check, Complaint, Subject
from drctl.yamlfile import KeyPath


def has_members(subject: Subject) -> Iterator[Complaint]:
    if not subject.file.groups.get("etcd"):
        yield ("groups", "etcd"), "no etcd hosts: the group 'etcd' is missing or empty"


def overrides_of_members(subject: Subject) -> Iterator[Complaint]:
    if subject.misses("groups"):
        return
    members = subject.file.groups.get("etcd", ())
    for name in subject.file.etcd.members:
        if name not in members:
            yield ("etcd", "members", name), f"{name!r} is not in the group 'etcd'"


def _member_path(subject: Subject, member: Member, own: str, common: str) -> KeyPath:
    """The key that decides a member's value: the override, or the one for all members."""
    override = subject.file.etcd.members.get(member.host)
    if override and own in override.model_fields_set:
        return ("etcd", "members", member.host, own)
    if common in subject.file.etcd.model_fields_set:
        return ("etcd", common)
    return ("hosts", member.host)


_Unique = tuple[str, str, Callable[[Member], tuple[str, ...]], str]
_UNIQUE: tuple[_Unique, ...] = (
    ("name", "member_name", lambda member: (member.name,), "name"),
    ("peer_urls", "peer_url", lambda member: member.peer_urls, "peer URL"),
    ("client_urls", "client_url", lambda member: member.client_urls, "client URL"),
)


def unique_members(subject: Subject) -> Iterator[Complaint]:
    for own, common, values, what in _UNIQUE:
        seen: dict[str, str] = {}
        for member in subject.inventory.members:
            for value in values(member):
                first = seen.setdefault(value.lower(), member.host)
                if first != member.host:
                    path = _member_path(subject, member, own, common)
                    yield path, f"{member.host} and {first} have the same {what}: {value}"


def distinct_urls(subject: Subject) -> Iterator[Complaint]:
    for member in subject.inventory.members:
        for url in sorted(set(member.peer_urls) & set(member.client_urls)):
            path = _member_path(subject, member, "client_urls", "client_url")
            yield path, f"{member.host} has the same peer and client URL: {url}"
        for url, count in Counter(member.peer_urls + member.client_urls).items():
            if count > 1 and not (url in member.peer_urls and url in member.client_urls):
                yield ("etcd", "members", member.host), f"the URL {url} is given twice"


def filled_values(subject: Subject) -> Iterator[Complaint]:
    """Placeholders bring in names and addresses: what comes out must still be allowed."""
    for member in subject.inventory.members:
        for path, check, value in _filled(subject, member):
            try:
                check(value)
            except ValueError as error:
                yield path, f"on {member.host}: {error}"


def _filled(
    subject: Subject, member: Member
) -> Iterator[tuple[KeyPath, Callable[[str], str], str]]:
    yield _member_path(subject, member, "name", "member_name"), check_member_name, member.name
    for url in member.peer_urls:
        yield _member_path(subject, member, "peer_urls", "peer_url"), check_url, url
    for url in member.client_urls:
        yield _member_path(subject, member, "client_urls", "client_url"), check_url, url
    yield _member_path(subject, member, "data_dir", "data_dir"), check_absolute, member.data_dir
    if member.wal_dir:
        yield _member_path(subject, member, "wal_dir", "wal_dir"), check_absolute, member.wal_dir
    yield ("etcd", "bin_dir"), check_absolute, member.bin_dir


def certificates(subject: Subject) -> Iterator[Complaint]:
    """https without certificates cannot be asked anything."""
    for member in subject.inventory.members:
        if member.ca is None and any(url.startswith("https:") for url in member.client_urls):
            yield (
                ("etcd", "tls"),
                "certificate paths are missing: https needs tls: {ca, cert, key}, "
                "absolute paths on the nodes",
            )
            return


def directories(subject: Subject) -> Iterator[Complaint]:
    for member in subject.inventory.members:
        data = _member_path(subject, member, "data_dir", "data_dir")
        wal = _member_path(subject, member, "wal_dir", "wal_dir")
        if member.data_dir == "/":
            yield data, "the data directory must not be '/'"
        elif member.wal_dir:
            message = _wal_fault(member.data_dir, member.wal_dir)
            if message:
                yield wal, f"on {member.host}: {message}"


def _wal_fault(data_dir: str, wal_dir: str) -> str | None:
    if wal_dir == posixpath.join(data_dir, "member", "wal"):
        return f"{wal_dir} is etcd's default WAL directory: leave wal_dir out"
    if inside(wal_dir, data_dir):
        return (
            f"the WAL directory {wal_dir} is inside the data directory {data_dir}: a restore "
            "moves both aside, so they must be separate"
        )
    if inside(data_dir, wal_dir):
        return f"the data directory {data_dir} is inside the WAL directory {wal_dir}"
    return None


def work_dirs(subject: Subject) -> Iterator[Complaint]:
    """drctl's own files must survive the moving aside of etcd's, and the other way round."""
    for member in subject.inventory.members:
        host = subject.inventory.hosts[member.host]
        path = _work_dir_path(subject, member.host)
        for name, directory in (("data_dir", member.data_dir), ("wal_dir", member.wal_dir)):
            if (
                directory
                and "/" not in (directory, host.work_dir)
                and _overlap(host.work_dir, directory)
            ):
                message = f"work_dir {host.work_dir} and {name} {directory} overlap"
                yield path, f"on {member.host}: {message}"


def _overlap(work_dir: str, directory: str) -> bool:
    staging = f"{directory}.drctl"  # a restore's own sibling directory
    return any(inside(work_dir, d) or inside(d, work_dir) for d in (directory, staging))


def root_work_dir(subject: Subject) -> Iterator[Complaint]:
    for name, host in subject.inventory.hosts.items():
        if host.work_dir == "/":
            yield _work_dir_path(subject, name), "work_dir must not be '/'"


def _work_dir_path(subject: Subject, host: str) -> KeyPath:
    if "work_dir" in subject.file.hosts[host].model_fields_set:
        return ("hosts", host, "work_dir")
    return ("defaults", "work_dir")


def inside(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies below it (by name; neither is looked at)."""
    return posixpath.commonpath([path, directory]) == directory


def even_members(subject: Subject) -> Iterator[Complaint]:
    count = len(subject.inventory.members)
    if count and count % 2 == 0:
        message = f"{count} etcd members tolerate no more failures than {count - 1}"
        yield ("groups", "etcd"), f"{message}: an odd number is usual"


def tools(subject: Subject) -> Iterator[Complaint]:
    """Where etcd's programs come from must be a place that has them."""
    settings = subject.file.etcd
    for member in subject.inventory.members[:1]:
        if member.tools.upload and not member.tools.upload.is_file():
            yield ("etcd", "etcdutl"), f"no such file on this machine: {settings.etcdutl}"
        pod = subject.inventory.services["etcd"].manager == "static-pod"
        if member.tools.source == "image" and not (member.tools.image or pod):
            yield (
                ("etcd", "tools") if "tools" in settings.model_fields_set else ("layout",),
                "tools come from etcd's image, but etcd is not a static pod, so no manifest names "
                "that image: set etcd.image, or 'tools: host'",
            )


def manifest_folders(subject: Subject) -> Iterator[Complaint]:
    """The kubelet runs what lies in its folder."""
    services = subject.inventory.services.values()
    pods = {host for s in services if s.manager == "static-pod" for host in s.hosts}
    for name, host in subject.inventory.hosts.items():
        folder = subject.inventory.kubernetes[name].manifests
        if name in pods and host.work_dir != "/" and _overlap(host.work_dir, folder):
            yield (
                ("kubernetes", "manifests"),
                f"on {name}: work_dir {host.work_dir} and the manifest directory {folder} overlap: "
                "the kubelet would run the manifests parked there",
            )


FAULTS: tuple[Check, ...] = (
    has_members,
    overrides_of_members,
    unique_members,
    distinct_urls,
    filled_values,
    certificates,
    directories,
    work_dirs,
    root_work_dir,
    tools,
    manifest_folders,
)
WARNINGS: tuple[Check, ...] = (even_members,)
