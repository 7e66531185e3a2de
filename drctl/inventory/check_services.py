"""Checks of what is stopped and started, and by whom."""

from __future__ import annotations

from collections.abc import Iterator

from drctl.inventory.presets import KUBERNETES_SERVICES, PRESETS
from drctl.inventory.resolve import declared_services
from drctl.inventory.subject import Check, Complaint, Subject
from drctl.yamlfile import suggestion


def layout_groups(subject: Subject) -> Iterator[Complaint]:
    layout = subject.file.layout
    for group in PRESETS[layout].groups:
        if group not in subject.groups:
            yield (
                ("layout",),
                f"layout {layout} needs the group {group!r}; for etcd without Kubernetes use "
                "layout: none",
            )


def service_hosts(subject: Subject) -> Iterator[Complaint]:
    known = {"all"} | subject.groups | subject.hosts
    for name, service in subject.file.services.items():
        for index, host in enumerate((service and service.hosts) or ()):
            if host not in known:
                message = f"unknown group or host {host!r}{suggestion(host, known)}"
                yield ("services", name, "hosts", index), message


def complete_services(subject: Subject) -> Iterator[Complaint]:
    services = declared_services(subject.file)
    for name, written in subject.file.services.items():
        if written is None:
            continue
        if not services[name].hosts:
            yield ("services", name), "lists no hosts; if there is no such service, write null"
        if not services[name].units:
            yield ("services", name), "lists no units"


def etcd_service(subject: Subject) -> Iterator[Complaint]:
    service = subject.inventory.services["etcd"]
    members = {member.host for member in subject.inventory.members}
    if set(service.hosts) != members and not subject.misses("groups"):
        yield ("services", "etcd"), "must run on exactly the hosts of the group 'etcd'"
    if service.start != "together":
        yield (
            ("services", "etcd", "start"),
            "etcd members must start together: one alone never gets a quorum",
        )


def commands_given(subject: Subject) -> Iterator[Complaint]:
    file = subject.file
    if file.commands or subject.misses("commands"):
        return
    if file.service_manager == "command":
        yield ("service_manager",), "manager 'command' needs the section 'commands'"
    for name, service in file.services.items():
        if service and service.manager == "command":
            path = ("services", name, "manager")
            yield path, "manager 'command' needs the section 'commands'"


def unstopped_kubernetes(subject: Subject) -> Iterator[Complaint]:
    services = subject.inventory.services
    silent = [
        name
        for name in KUBERNETES_SERVICES
        if services[name].absent and name not in subject.file.services
    ]
    if silent:
        yield (
            ("services",),
            f"not declared, so drctl will neither stop nor start them: {', '.join(silent)}; if "
            "there is none, write null, as in 'apiserver: null'",
        )


def administrator(subject: Subject) -> Iterator[Complaint]:
    """A certificate without its key, or without the CA to know the apiserver by, opens nothing."""
    for found in list(subject.inventory.kubernetes.values())[:1]:
        given = {name: getattr(found, name) for name in ("ca", "cert", "key")}
        missing = [name for name, value in given.items() if value is None]
        if (found.cert or found.key) and missing:
            yield (
                ("kubernetes",),
                f"ca, cert and key are needed together; missing: {', '.join(missing)}",
            )


FAULTS: tuple[Check, ...] = (
    layout_groups,
    service_hosts,
    complete_services,
    etcd_service,
    commands_given,
    administrator,
)
WARNINGS: tuple[Check, ...] = (unstopped_kubernetes,)
