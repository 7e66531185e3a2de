"""Checks of the section `prepare`: whether what it promises can be installed. Whether the local
files are there, and any good, is asked where a run begins (`drctl.plan.prepare`)."""

from __future__ import annotations

from collections.abc import Iterator

from drctl.inventory.check_etcd import inside
from drctl.inventory.resolved import Member
from drctl.inventory.subject import Check, Complaint, Subject
from drctl.yamlfile import suggestion

OWN_FLAGS = frozenset(
    (
        "name",
        "data-dir",
        "wal-dir",
        "config-file",
        "advertise-client-urls",
        "force-new-cluster",
        "cert-file",
        "key-file",
        "trusted-ca-file",
        "client-cert-auth",
        "auto-tls",
        "discovery",
        "discovery-srv",
    )
)
"""Flags that follow from the rest of the inventory, or that would undo what it says."""

_OWN_PREFIXES = ("initial-", "peer-")


def hosts(subject: Subject) -> Iterator[Complaint]:
    written = subject.file.prepare
    if written is None or subject.misses("groups"):
        return
    members = subject.file.groups.get("etcd", ())
    for index, name in enumerate(written.hosts or ()):
        named = subject.file.groups.get(name, (name,))
        path = ("prepare", "hosts", index)
        if name not in subject.hosts | subject.groups:
            yield path, f"unknown group or host {name!r}{suggestion(name, subject.hosts)}"
        elif strangers := [host for host in named if host not in members]:
            yield path, f"{', '.join(strangers)}: only hosts in the group 'etcd' can be prepared"


def service(subject: Subject) -> Iterator[Complaint]:
    etcd = subject.inventory.services["etcd"]
    if subject.file.prepare is None or not etcd.units:
        return
    if etcd.manager != "systemd":
        yield (
            ("prepare",),
            "drctl installs systemd units only, and etcd has another service manager",
        )
    if any(member.tools.source != "host" for member in subject.inventory.members):
        yield ("prepare",), "the binaries are installed on the host, but etcd.tools is not 'host'"
    if len(etcd.units) > 1 or "." in etcd.units[0].removesuffix(".service"):
        units = ", ".join(etcd.units)
        yield ("prepare",), f"drctl installs one unit, but the service etcd lists {units}"


def certificates(subject: Subject) -> Iterator[Complaint]:
    written = subject.file.prepare
    if written is None:
        return
    for member in subject.inventory.members:
        schemes = {url.partition(":")[0] for url in member.peer_urls + member.client_urls}
        if len(schemes) > 1:
            message = f"{member.host} has both http and https URLs: drctl cannot prepare that"
            yield ("prepare",), message
        elif schemes == {"https"} and written.certificates is None:
            yield (
                ("prepare",),
                "certificates are missing: https needs certificates: {ca, cert, key}",
            )
        elif schemes == {"http"} and written.certificates:
            yield ("prepare", "certificates"), "not needed: the members' URLs are http"


def flags(subject: Subject) -> Iterator[Complaint]:
    for name in subject.file.prepare.flags if subject.file.prepare else ():
        if name in OWN_FLAGS or name.startswith(_OWN_PREFIXES):
            yield (
                ("prepare", "flags", name),
                "drctl sets this from the rest of the inventory: leave it out",
            )


def paths(subject: Subject) -> Iterator[Complaint]:
    if subject.file.prepare is None:
        return
    for member in subject.inventory.members:
        installed = _installed(member)
        twice = {path for path in installed if installed.count(path) > 1}
        for path in sorted(twice):
            yield ("prepare",), f"on {member.host} two files would be installed at {path}"
        for path in installed:
            for directory in filter(None, (member.data_dir, member.wal_dir)):
                if inside(path, directory):
                    yield (
                        ("prepare",),
                        f"on {member.host} {path} is inside {directory}, which belongs to etcd",
                    )


def _installed(member: Member) -> list[str]:
    tools = [f"{member.bin_dir}/{tool}" for tool in ("etcd", "etcdctl", "etcdutl")]
    return tools + [path for path in (member.ca, member.cert, member.key) if path]


FAULTS: tuple[Check, ...] = (hosts, service, certificates, flags, paths)
