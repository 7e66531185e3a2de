"""The inventory as the rest of drctl sees it: every default applied, every placeholder filled."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from drctl.errors import InvalidInput
from drctl.inventory.fields import expand
from drctl.yamlfile import suggestion


class Resolved(BaseModel):
    """Base of the resolved types: frozen, and strict about what it is built from."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(Resolved):
    """A machine and how to reach it. None leaves the choice to ssh_config.

    `address` is for SSH, `cluster_address` for etcd's URLs. `jump` is another host's name, or
    `[user@]address[:port]` (`split_jump` takes that apart).
    """

    name: str
    address: str
    cluster_address: str
    port: int | None
    user: str | None
    key: Path | None
    jump: str | None
    become: Literal["none", "sudo"]
    work_dir: str


class Tools(Resolved):
    """Where a member's host has etcd's programs: each source is a template in `etcd/tool/`.

    `image` None: the one that etcd's manifest names, or its container is of. `upload`: the etcdutl
    here that is sent.
    """

    source: Literal["host", "image", "docker", "podman"]
    etcdutl_source: Literal["host", "image", "docker", "podman", "upload"]
    image: str | None
    upload: Path | None


class Member(Resolved):
    """An etcd member. `owner` None: as the old data directory's. `ca` ... None: no TLS."""

    host: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    data_dir: str
    wal_dir: str | None
    owner: str | None
    ca: str | None
    cert: str | None
    key: str | None
    bin_dir: str
    tools: Tools

    @property
    def certificate_folders(self) -> tuple[str, ...]:
        """The certificates' directories, each once, to be shown."""
        paths = (self.ca, self.cert, self.key)
        return tuple(dict.fromkeys(posixpath.dirname(path) for path in paths if path))


class Kubernetes(Resolved):
    """Kubernetes' paths on one host, and its apiserver. `cert` None: Secrets are not looked at."""

    manifests: str
    url: str
    ca: str | None
    cert: str | None
    key: str | None


class LocalCertificates(Resolved):
    """One host's certificates, as files on this machine."""

    ca: Path
    cert: Path
    key: Path


class Prepare(Resolved):
    """What is installed on new hosts: `binaries` is a local folder, `certificates` is by host
    (empty: no TLS), `flags` are etcd's, without dashes."""

    hosts: tuple[str, ...]
    binaries: Path
    certificates: dict[str, LocalCertificates]
    flags: dict[str, str]


class Commands(Resolved):
    """Shell commands of the manager `command`, with {unit} and {host} to fill."""

    start: str
    stop: str
    running: str
    fence: str
    unfence: str
    fenced: str
    kill: str | None = None

    def fill(self, *, unit: str, host: str) -> dict[str, str]:
        """Every verb's command line for one unit on one host."""
        return {verb: expand(line, unit=unit, host=host) for verb, line in self if line}


class Service(Resolved):
    """Units under one name. They start in the order of `units` and stop in reverse.

    `ready` has a shell command per host, or None. After `stop_seconds` what does not stop is killed
    (None: never). A standard service that this cluster does not
    have is `absent`: no hosts, no units.
    """

    name: str
    hosts: tuple[str, ...]
    units: tuple[str, ...]
    manager: Literal["systemd", "static-pod", "docker", "podman", "command"]
    ports: tuple[int, ...]
    start: Literal["together", "one-by-one", "first-alone"]
    ready: dict[str, str | None]
    stop_seconds: float | None
    commands: Commands | None

    def without(self, gone: tuple[str, ...]) -> Service:
        """This service without the hosts `gone`."""
        return self.model_copy(update={"hosts": tuple(h for h in self.hosts if h not in gone)})

    @property
    def absent(self) -> bool:
        return not self.hosts

    @property
    def role(self) -> Literal["store", "client"]:
        """What it is for the cluster: its data's keeper, or one that writes to it."""
        return "store" if self.name == "etcd" else "client"


class Inventory(Resolved):
    """One cluster. `groups` holds host names in the order written."""

    cluster: str
    path: Path
    known_hosts: Path | None
    hosts: dict[str, Host]
    groups: dict[str, tuple[str, ...]]
    members: tuple[Member, ...]
    kubernetes: dict[str, Kubernetes]
    prepare: Prepare | None
    services: dict[str, Service]
    settle_seconds: float
    parallel: int | None = None  # hosts that are worked on at once, if the file says so
    warnings: tuple[str, ...]
    lines: dict[str, int] = {}  # dotted key -> the line of the file on which it stands
    abandoned: tuple[str, ...] = ()  # hosts that a run continues without; never written in a file
    abandoned_members: tuple[Member, ...] = ()

    def without(self, hosts: Iterable[str]) -> Inventory:
        """This cluster without `hosts`: no member, no service, in no group. They stay known by
        name, so that it can be seen whether they are silent. Raises InvalidInput for an unknown
        host, and where no member would be left."""
        gone = tuple(dict.fromkeys(hosts))
        for name in gone:
            if name not in self.hosts:
                raise self._unknown("host", name, self.hosts)
        kept = tuple(m for m in self.members if m.host not in gone)
        groups = {g: tuple(h for h in hosts if h not in gone) for g, hosts in self.groups.items()}
        services = {name: service.without(gone) for name, service in self.services.items()}
        if gone and not kept:
            raise InvalidInput("no member would be left to restore", hint="abandon fewer hosts")
        return self.model_copy(
            update={
                "members": kept,
                "groups": groups,
                "services": services,
                "abandoned": gone,
                "abandoned_members": tuple(m for m in self.members if m.host in gone),
            }
        )

    def service(self, name: str) -> Service:
        """The service of that name. Raises InvalidInput for a name nobody declared."""
        try:
            return self.services[name]
        except KeyError:
            raise self._unknown("service", name, self.services) from None

    def member(self, host: str) -> Member:
        """The etcd member on that host. Raises InvalidInput where there is none."""
        for member in self.members:
            if member.host == host:
                return member
        raise self._unknown("etcd member", host, [member.host for member in self.members])

    def host_group(self, names: str | Iterable[str]) -> tuple[str, ...]:
        """Host names for group names, host names, `all`, `prepare` and `abandoned`: in that order,
        each once.

        `all` is every host in some group, so not a mere jump host; `prepare` are the hosts of that
        section, `abandoned` those that a run continues without. Raises InvalidInput for a name that
        is none of these.
        """
        wanted = (names,) if isinstance(names, str) else tuple(names)
        return tuple(dict.fromkeys(host for name in wanted for host in self._hosts_of(name)))

    def _hosts_of(self, name: str) -> tuple[str, ...]:
        if name == "all":
            grouped = {host for members in self.groups.values() for host in members}
            return tuple(host for host in self.hosts if host in grouped)
        if name == "prepare":
            return self.prepare.hosts if self.prepare else ()
        if name == "abandoned":
            return self.abandoned
        if name in self.groups:
            return self.groups[name]
        if name in self.hosts:
            return (name,)
        raise self._unknown("group or host", name, [*self.groups, *self.hosts, "all", "prepare"])

    def _unknown(self, what: str, name: str, known: Iterable[str]) -> InvalidInput:
        names = list(known)
        return InvalidInput(
            f"{self.path} has no {what} {name!r}{suggestion(name, names)}",
            hint=f"known: {', '.join(names)}" if names else None,
        )

    def meaning(self) -> dict[str, str]:
        """What a plan rests on, flat: field -> value. Two of these compared name a drift.

        How a host is logged in to (user, key, port, jump) may change during a run and is left out.
        """
        facts = {"cluster": self.cluster, "members": " ".join(m.host for m in self.members)}
        for name, host in self.hosts.items():
            facts[f"hosts.{name}.address"] = host.address
            facts[f"hosts.{name}.work_dir"] = host.work_dir
        for member in self.members:
            facts |= _member_meaning(member)
        if self.abandoned:
            facts["abandoned"] = " ".join(self.abandoned)
        for name, service in self.services.items():
            facts[f"services.{name}.hosts"] = " ".join(service.hosts)
            facts[f"services.{name}.units"] = " ".join(service.units)
            facts[f"services.{name}.manager"] = service.manager
        return facts


def _member_meaning(member: Member) -> dict[str, str]:
    """The fields that decide what is restored where."""
    facts = {
        "name": member.name,
        "peer_urls": " ".join(member.peer_urls),
        "client_urls": " ".join(member.client_urls),
        "data_dir": member.data_dir,
        "wal_dir": member.wal_dir or "",
        "owner": member.owner or "",
    }
    return {f"members.{member.host}.{field}": value for field, value in facts.items()}
