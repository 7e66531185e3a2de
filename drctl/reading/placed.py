"""Where programs run and who starts them, held against the inventory's groups and services."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from drctl.answer import shown
from drctl.reading.claimed import Claims, Difference, Edit, listed
from drctl.reading.programs import ETCD, Program, Reading, Starter

SERVICE_OF = {
    ETCD: "etcd",
    "kube-apiserver": "apiserver",
    "kube-controller-manager": "controllers",
    "kube-scheduler": "controllers",
    "kubelet": "kubelet",
}
"""The service by which the shipped runbooks stop and start a program."""

_LOOPBACK = ("127.", "::1", "0:0:0:0:0:0:0:1")


def strangers(reading: Reading, claims: Claims) -> Iterator[Difference]:
    """Programs on a host that the inventory does not have there: nothing would stop them."""
    for program in reading.running:
        service = SERVICE_OF[program.name]
        if service == "kubelet" or claims.runs_on(service, reading.host):
            continue
        if program.name == ETCD and not _of_this_cluster(program, claims):
            continue
        group = "etcd" if service == "etcd" else "control_plane"
        key = f"groups.{group}" if service == "etcd" else f"services.{service}.hosts"
        own = claims.service(service).get("own_hosts")  # they stand there, and need no group
        place = key if own else f"groups.{group}"
        yield Difference(
            reading.host,
            program.name,
            f"{reading.host} has no {program.name}",
            f"one runs there: {_why_bad(program)}",
            program.where,
            f"write {place}: […, {reading.host}]; or stop it there for good",
            file=claims.file,
            line=claims.line(key),
            edit=None if own else Edit(("groups", group), reading.host, append=True),
        )


def elsewhere(readings: Mapping[str, Reading], claims: Claims) -> Iterator[Difference]:
    """Apiservers on hosts that are not in the inventory at all: etcd itself names them."""
    known = {at for host in claims.rest["hosts"] for at in claims.addresses(host)}
    for reading in readings.values():
        known |= reading.evidence.addresses
        known |= {p.said("advertise-address").value for p in reading.running}
    told: dict[str, str] = {}
    for host, reading in readings.items():
        for address in reading.evidence.leases if host in claims.members else ():
            if address not in known:
                told.setdefault(address, host)
    for address, host in told.items():
        yield Difference(
            host,
            f"apiserver.{address}",
            "the inventory names every apiserver of this etcd",
            f"one at {address} writes to it: nothing would stop it",
            f"/registry/masterleases/, asked of the etcd on {host}",
            "name its host in hosts and in groups.control_plane; or stop it there for good",
            file=claims.file,
            line=claims.line("groups.control_plane"),
        )


def _why_bad(program: Program) -> str:
    if program.name == ETCD:
        return "it would be left in the old cluster"
    return "it would go on with what it remembers of the old cluster"


def _of_this_cluster(program: Program, claims: Claims) -> bool:
    """An etcd that names a member of this inventory among its peers."""
    named = program.said("initial-cluster").value.split(",")
    told = {url.partition("=")[2].rstrip("/").lower() for url in named}
    known = {
        str(url).rstrip("/").lower() for m in claims.members.values() for url in m["peer_urls"]
    }
    return bool(told & known)


def starters(reading: Reading, claims: Claims, etcds: Sequence[Program]) -> Iterator[Difference]:
    """Units that are not there, and programs that another unit, or none, has started."""
    told: list[Difference] = []
    for name, service in claims.rest["services"].items():
        if reading.host not in service["hosts"]:
            continue
        if service["manager"] == "static-pod" and not told:
            yield from (told := [*_other_folder(reading, claims)])
        if service["manager"] == "systemd" and not claims.installs(name, reading.host):
            yield from _missing_units(reading, claims, name, service)
        for program in (*reading.running, *reading.written):
            if SERVICE_OF.get(program.name) != name or not program.process:
                continue
            if program.name == ETCD and program not in etcds:
                continue
            if not _fits(program, service, reading, claims):
                yield _other_starter(reading.host, claims, name, service, program)


def _other_folder(reading: Reading, claims: Claims) -> Iterator[Difference]:
    """The kubelet starts what lies in its own folder, whatever lies in the inventory's."""
    claimed, runs = _folder(reading, claims), reading.pods_folder
    if runs and runs != claimed:
        yield Difference(
            reading.host,
            "manifests",
            f"the kubelet's manifests are in {claimed}",
            f"the kubelet reads them from {shown(runs, 200)}",
            "its staticPodPath, or --pod-manifest-path",
            f"write kubernetes.manifests: {shown(runs, 200)}",
            file=claims.file,
            line=claims.line("manifests"),
            edit=Edit(("kubernetes", "manifests"), runs),
        )


def _folder(reading: Reading, claims: Claims) -> str:
    return str(claims.rest["hosts"][reading.host]["manifests"]).rstrip("/")


def _unit(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _missing_units(
    reading: Reading, claims: Claims, name: str, service: Any
) -> Iterator[Difference]:
    known = {unit.name for unit in reading.units if unit.found}
    for unit in service["units"] if reading.units else ():
        if _unit(unit) not in known:
            others = sorted(
                {
                    p.starter.name.removesuffix(".service")
                    for p in (*reading.running, *reading.written)
                    if SERVICE_OF[p.name] == name and p.starter.kind == "unit"
                }
            )
            yield Difference(
                reading.host,
                f"unit.{unit}",
                f"the service {name} has the unit {unit}",
                f"{reading.host} has no such unit",
                "systemd",
                f"write services.{name}.units: [{', '.join(others) or '…'}]",
                file=claims.file,
                line=claims.line(f"services.{name}"),
            )


def _fits(program: Program, service: Any, reading: Reading, claims: Claims) -> bool:
    """Whether the inventory's way to stop and start this service reaches this program."""
    starter = program.starter
    if service["manager"] == "systemd":
        return starter.kind == "unit" and starter.name in map(_unit, service["units"])
    if service["manager"] == "static-pod":
        # Where the kubelet's own folder is known, it is compared by itself.
        folder = reading.pods_folder or _folder(reading, claims)
        return starter.kind == "pod" and posixpath.dirname(starter.name) == folder
    if service["manager"] in ("docker", "podman"):
        return starter.kind == service["manager"] and starter.name in service["units"]
    return True  # of a manager of commands nothing is known but its commands


def _other_starter(
    host: str, claims: Claims, name: str, service: Any, program: Program
) -> Difference:
    units = ", ".join(service["units"])
    return Difference(
        host,
        f"starter.{program.name}",
        f"the service {name} is {units} by {service['manager']}",
        f"its {program.name} runs by another: {program.starter}",
        f"process {program.process.pid}" if program.process else "",
        _to_write(name, service, program.starter),
        file=claims.file,
        line=claims.line(f"services.{name}"),
        edit=_edit(name, service, program.starter),
    )


def _edit(name: str, service: Any, starter: Starter) -> Edit | None:
    if starter.kind == "unit" and service["manager"] == "systemd" and len(service["units"]) == 1:
        return Edit(("services", name, "units"), [starter.name.removesuffix(".service")])
    if starter.kind == "pod" and service["manager"] == "static-pod" and "/" in starter.name:
        return Edit(("kubernetes", "manifests"), posixpath.dirname(starter.name))
    return None


def _to_write(name: str, service: Any, starter: Starter) -> str:
    told = shown(starter.name, 200)
    if starter.kind == "pod" and service["manager"] == "static-pod":
        if "/" not in starter.name:
            return (
                "mend its manifest, if one in the kubelet's folder is no YAML any more; or name "
                "the folder where it lies in kubernetes.manifests"
            )
        return f"write kubernetes.manifests: {posixpath.dirname(told)}"
    if starter.kind == "pod":
        return f"write services.{name}.manager: static-pod"
    if starter.kind == "unit":
        unit = told.removesuffix(".service")
        return f"write services.{name}: {{manager: systemd, units: [{unit}]}}"
    if starter.kind in ("docker", "podman"):
        return f"write services.{name}: {{manager: {starter.kind}, units: [{told}]}}"
    return f"write how it is stopped and started: services.{name}.manager: command"


def binaries(reading: Reading, claims: Claims, etcds: Sequence[Program]) -> Iterator[Difference]:
    """etcd's tools must be those of the etcd that runs: another folder holds another version."""
    member = claims.rest["members"][reading.host]
    expected = reading.evidence.real.get("etcd", "")
    for program in etcds:
        exe = program.process.exe if program.process and program.process.our_mounts else ""
        path = exe.removesuffix(" (deleted)")
        if not path or member["tools"] != "host" or path in (expected, f"{member['bin_dir']}/etcd"):
            continue
        yield Difference(
            reading.host,
            "bin_dir",
            f"etcd's programs are in {member['bin_dir']}",
            f"its etcd is {shown(exe, 200)}",
            program.where,
            f"write etcd.bin_dir: {shown(posixpath.dirname(path), 200)}",
            file=claims.file,
            line=claims.line("etcd.bin_dir"),
            edit=Edit(("etcd", "bin_dir"), posixpath.dirname(path)),
        )


def clients(reading: Reading, claims: Claims) -> Iterator[Difference]:
    """Who uses this etcd and is no host of the inventory: it goes on writing after the restore."""
    ports = {urlsplit(url).port for url in claims.members[reading.host]["client_urls"]}
    unknown = {
        address
        for address, port in reading.evidence.clients
        if port in ports and not address.startswith(_LOOPBACK) and not claims.host_at(address)
    }
    if unknown:
        yield Difference(
            reading.host,
            "clients",
            "the inventory names who uses this etcd",
            f"others are connected to it: {listed(unknown)}",
            f"connections to port {', '.join(map(str, sorted(p for p in ports if p)))}",
            "stop them first, or name them: services.dependents",
            refused=False,
            file=claims.file,
            line=claims.line("services.dependents"),
        )
