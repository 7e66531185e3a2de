"""One host that was looked at: which etcd and which of Kubernetes' programs are its own, and which
other hosts they name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from drctl.answer import Answer, shown
from drctl.discovery.checked import wrong
from drctl.discovery.told import Machine
from drctl.etcd.answers import MemberInfo
from drctl.reading import Program, Reading, read_evidence, read_host

ETCD, APISERVER, KUBELET = "etcd", "kube-apiserver", "kubelet"


@dataclass(frozen=True)
class Looked:
    """`etcd` is how it runs, or would be started where it does not; `next` how it would be started
    where that is known beside a running one. `open` are questions about the host, as sentences.
    `listed` are the cluster's members as its etcd answers, None where it was not asked or gave no
    answer, with the reason in `unasked`; `by_quorum`: whether that is more than its own opinion."""

    machine: Machine
    reading: Reading
    hostname: str
    kube_proxy: bool
    etcd: Program | None = None
    next: Program | None = None
    open: tuple[str, ...] = ()
    listed: tuple[MemberInfo, ...] | None = None
    unasked: str = ""
    by_quorum: bool = False

    def program(self, name: str) -> Program | None:
        """A program of Kubernetes': as it runs, or else as it would be started."""
        both = (*self.reading.running, *self.reading.written)
        return next((each for each in both if each.name == name), None)

    @property
    def peer_urls(self) -> tuple[str, ...]:
        return urls(self.etcd, "initial-advertise-peer-urls") if self.etcd else ()

    @property
    def addresses(self) -> set[str]:
        """Every address that is known to be its own."""
        own = {self.machine.address.value if self.machine.address else self.machine.name}
        if self.machine.cluster_address:
            own.add(self.machine.cluster_address.value)
        flags = ("initial-advertise-peer-urls", "advertise-client-urls")
        found = [urls(self.etcd, flag) for flag in flags] if self.etcd else []
        return own | {host_of(url) for each in found for url in each}


def look_at(machine: Machine, answer: Answer) -> Looked:
    """Explain what a host answered. Raises AnswerError where it is no such answer."""
    reading = read_host(read_evidence(answer))
    own, open_ = _own_etcd(reading, machine)
    same = [
        each
        for each in reading.written
        if own and own.process and each.name == ETCD and each.starter == own.starter
    ]
    return Looked(
        machine=machine,
        reading=reading,
        hostname=answer.text("hostname", most=63),
        kube_proxy=answer.get("kube_proxy") == "unit",
        etcd=own,
        next=same[0] if len(same) == 1 else None,
        open=(*open_, *reading.unread),
    )


def _own_etcd(reading: Reading, machine: Machine) -> tuple[Program | None, list[str]]:
    """Which etcd is this host's. On a machine that is several hosts (a lab on loopback), the one
    at the host's address."""
    running = [program for program in reading.running if program.name == ETCD]
    written = [program for program in reading.written if program.name == ETCD]
    own = {machine.address.value if machine.address else machine.name}
    own |= {machine.cluster_address.value} if machine.cluster_address else set()
    for found in (running, written):
        at_home = [program for program in found if own & _addresses(program)]
        chosen = at_home if len(found) > 1 and at_home else found
        if len(chosen) == 1:
            return chosen[0], []
        if chosen:
            what = "; ".join(each.where for each in chosen)
            return None, [f"several etcds, and which is meant is not clear: {shown(what, 400)}"]
    return None, []


def _addresses(program: Program) -> set[str]:
    flags = ("initial-advertise-peer-urls", "advertise-client-urls", "listen-peer-urls")
    return {host_of(url) for flag in flags for url in urls(program, flag)}


def urls(program: Program, flag: str) -> tuple[str, ...]:
    """A flag's URLs, in the order given."""
    given = program.said(flag).value.split(",")
    return tuple(dict.fromkeys(url.strip().rstrip("/") for url in given if url.strip()))


def host_of(url: str) -> str:
    """The host in a URL; "" for none that an inventory could have."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return "" if wrong("address", host) else host


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


@dataclass(frozen=True)
class Named:
    """A host that another names: a suggestion, no more. `member` and `url` are of members only;
    `why` it was not looked at, "" where nobody tried; `reached` where SSH answers there."""

    address: str
    source: str
    member: str = ""
    url: str = ""
    why: str = ""
    reached: bool = False


def named(looked: Sequence[Looked]) -> list[Named]:
    """The hosts that peers, apiservers and the cluster's own list name and that were not looked at,
    each once."""
    known = {address for each in looked for address in each.addresses}
    gone = {one.url for one in former(looked)}
    found: dict[str, Named] = {}
    for each in looked:
        for one in (*_named_by(each), *_listed_by(each, known)):
            loopback = is_loopback(one.address) and not any(map(is_loopback, each.addresses))
            if one.url in gone or not one.address or one.address in known or loopback:
                continue
            found.setdefault(one.address, one)
    return list(found.values())


def former(looked: Sequence[Looked]) -> list[Named]:
    """Peers that flags still name, and no member that a quorum lists: they were removed."""
    lists = [each.listed for each in looked if each.listed is not None and each.by_quorum]
    there = {url.rstrip("/") for members in lists for one in members for url in one.peer_urls}
    found = {one.url: one for each in looked for one in _peers_of(each) if one.url not in there}
    return list(found.values()) if lists else []


def _listed_by(looked: Looked, known: set[str]) -> Iterator[Named]:
    source = f"member list, asked of the etcd on {looked.machine.name}"
    for member in looked.listed or ():
        hosts = [host_of(url) for url in member.peer_urls]
        if member.peer_urls and not known & {*hosts}:
            kind = "" if member.name else " (it never started)"
            kind = " (a learner)" if member.is_learner else kind
            url = member.peer_urls[0].rstrip("/")
            yield Named(hosts[0], f"{source}{kind}", shown(member.name), url)


def _peers_of(looked: Looked) -> Iterator[Named]:
    if looked.etcd:
        given = looked.etcd.said("initial-cluster")
        for entry in given.value.split(","):
            name, _, url = entry.strip().partition("=")
            source = f"--initial-cluster, {given.where} on {looked.machine.name}"
            if url:
                yield Named(host_of(url), source, shown(name), url.rstrip("/"))


def _named_by(looked: Looked) -> Iterator[Named]:
    yield from _peers_of(looked)
    apiserver = looked.program(APISERVER)
    if apiserver:
        given = apiserver.said("etcd-servers")
        for url in urls(apiserver, "etcd-servers"):
            yield Named(host_of(url), f"--etcd-servers, {given.where} on {looked.machine.name}")
