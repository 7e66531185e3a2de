"""Names, ports and certificates, as each member's host sees those of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from drctl.answer import Answer
from drctl.etcd.certificates import chain_of, outdated, public_fault, uncovered, unsigned
from drctl.etcd.judges.common import LATEST, Reports, read, reports
from drctl.verdict import Gathered, Problem, Verdict

USES = ("client", "server", "peer")
_DOOR = ("open", "refused", "silent", "untried")


def can_reach(gathered: Gathered) -> Verdict:
    """Proves, as far as it can be seen without a running member, that each member's host resolves
    the names in the URLs, reaches the peer ports that others reach, and that certificates there
    and on disk hold: names, dates, issuer, key (reality.md 17)."""
    found, silent = reports(gathered)
    plan: Mapping[str, Any] = gathered.facts.get("reach", {"names": {}, "peers": {}, "clients": {}})
    seen, garbled = read(found, lambda _, report: _Seen.of(report, plan))
    found = {host: found[host] for host in seen}
    problems = [
        *silent,
        *garbled,
        *_unresolved(found, plan["names"]),
        *_cut_off(seen, plan["peers"]),
        *_shown(seen, plan),
        *_signed_by_another(seen, plan["peers"]),
    ]
    warnings: list[str] = []
    for host, one in seen.items():
        for paper in one.papers.values():
            problems += (Problem(text, host, hint) for text, hint in _flaws(host, paper, one, plan))
            warnings += _doubts(host, paper, one)
    problems = list({(p.host, p.message): p for p in problems}.values())
    return Verdict({}, tuple(problems), tuple(warnings), tuple(_findings(seen, plan["peers"])))


@dataclass(frozen=True)
class _Paper:
    """A certificate on disk: with its chain, its CA's, and what is known of its key."""

    use: str
    cert: tuple[bytes, ...]
    ca: tuple[bytes, ...]
    key: bytes | str  # its public half, or a word


@dataclass(frozen=True)
class _Seen:
    """What one host sees: of each door how it is, and the certificate that it shows."""

    now: datetime
    doors: Mapping[str, str]
    shown: Mapping[str, tuple[bytes, ...]]
    papers: Mapping[str, _Paper]

    @classmethod
    def of(cls, report: Answer, plan: Mapping[str, Any]) -> _Seen:
        """Raises AnswerError."""
        asked = [label for label in plan["peers"] if f"peer.{label}" in report]
        return cls(
            datetime.fromtimestamp(report.number_or_none("now", most=LATEST) or 0, UTC),
            {label: report.one_of(f"peer.{label}", *_DOOR) for label in asked},
            {label: report.pieces(f"shown.{label}") for label in asked},
            {use: _paper(report, use) for use in USES if f"cert.{use}" in report},
        )


def _paper(report: Answer, use: str) -> _Paper:
    word = report.get(f"key.{use}", "")
    key = word if word in ("", "missing", "untried") else report.pieces(f"key.{use}", most=1)[0]
    return _Paper(use, report.pieces(f"cert.{use}"), report.pieces(f"ca.{use}"), key)


# -- names --------------------------------------------------------------------------------------


def _unresolved(found: Reports, names: Mapping[str, Mapping[str, list[str]]]) -> Iterator[Problem]:
    for host, report in found.items():
        for name, uses in names.items():
            if report.get(f"name.{name}", "untried").strip() not in ("", "silent"):
                continue
            use = "peer" if uses["peer"] else "client"
            if use == "client" and host not in uses["client"]:
                continue  # nobody but its own host calls it so for us
            whose = ", ".join(uses[use])
            yield Problem(
                f"cannot resolve {name}, which is in the {use} URL of {whose}",
                host,
                f"add {name} to DNS or to /etc/hosts there, or fix etcd.{use}_url in the inventory",
            )


# -- ports --------------------------------------------------------------------------------------


def _cut_off(
    seen: Mapping[str, _Seen], peers: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Who gets no answer where another gets one. A refusal may be a member that starts and dies
    over and over; silence is the network's."""
    for label, peer in peers.items():
        answers = {host: one.doors.get(label) for host, one in seen.items()}
        reached = [host for host, door in answers.items() if door == "open"]
        for host, door in answers.items():
            if door == "silent" and reached:
                yield Problem(
                    f"gets no answer from {peer['host']}'s peer port {peer['at']}, which "
                    f"{', '.join(reached)} reaches",
                    host,
                    f"check firewalls and routes between {host} and {peer['host']}",
                )


# -- certificates -------------------------------------------------------------------------------


def _shown(seen: Mapping[str, _Seen], plan: Mapping[str, Any]) -> Iterator[Problem]:
    for label, peer in plan["peers"].items():
        for one in seen.values():
            if not one.shown.get(label):
                continue
            cert = _read(one.shown[label])
            if not cert:
                continue
            what = f"the certificate at its peer port {peer['at']}"
            flaws = (outdated(cert[0], one.now), uncovered(cert[0], [peer["called"]]))
            for flaw in filter(None, flaws):
                hint = f"issue one for {peer['called']}: the other members would not connect to it"
                yield Problem(f"{what} {flaw}", peer["host"], hint)


def _signed_by_another(
    seen: Mapping[str, _Seen], peers: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Of the certificates at the peer ports, those that no CA here signed, where one did sign
    another member's: which CA the peers go by is not known here, and it is one for all."""
    cas = [ca for one in seen.values() for paper in one.papers.values() for ca in _read(paper.ca)]
    unknown: dict[str, bool] = {}
    for one in seen.values():
        for label, ders in one.shown.items():
            if chain := _read(ders):
                # One host alone accuses nobody: all who were shown it must see it so.
                unknown[label] = unknown.get(label, True) and bool(unsigned(chain, cas, one.now))
    if not cas or all(unknown.values()):
        return
    for label in (label for label, strange in unknown.items() if strange):
        yield Problem(
            f"the certificate at its peer port {peers[label]['at']} is not signed by the CA of "
            "the other members'",
            peers[label]["host"],
            "issue one by that CA: the other members would not connect to it",
        )


def _flaws(
    host: str, paper: _Paper, one: _Seen, plan: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(what is wrong with a certificate on disk, what to do)."""
    what = f"its etcd {paper.use} certificate"
    chain = _read(paper.cert)
    if not chain:
        yield f"{what} is none that can be read", "put the right file there (PEM), or fix etcd.tls"
        return
    if paper.key == "missing":
        yield f"the key of {what} is missing or unreadable", "put it there, or fix etcd.tls"
    elif not paper.key:
        yield f"the key of {what} is none, or has a passphrase", "put the right file there (PEM)"
    elif isinstance(paper.key, bytes) and (flaw := _key_flaw(chain[0], paper.key)):
        yield f"the key beside {what} {flaw}", "put the key there that it was issued for"
    if paper.use == "client":
        return  # its date is judged with the host's other facts; it need not name anybody
    called = [p["called"] for p in plan["peers"].values() if p["host"] == host]
    called = called if paper.use == "peer" else plan["clients"].get(host, [])
    cas = _read(paper.ca)
    flaws = [uncovered(chain[0], called), unsigned(chain, cas, one.now) if cas else ""]
    for text in filter(None, flaws):
        yield f"{what} {text}", "issue a new one: members and clients would not connect to it"


def _doubts(host: str, paper: _Paper, one: _Seen) -> Iterator[str]:
    """Whoever verifies clients may know another CA than the one that clients verify it by."""
    chain, cas = _read(paper.cert), _read(paper.ca)
    if paper.use == "client" and chain and cas and (flaw := unsigned(chain, cas, one.now)):
        yield f"{host}: its etcd client certificate {flaw} in etcd.tls: etcd may refuse it"


def _read(ders: tuple[bytes, ...]) -> list[x509.Certificate]:
    """None where one of them is no certificate."""
    try:
        return chain_of(ders)
    except ValueError:
        return []


def _key_flaw(cert: x509.Certificate, public: bytes) -> str:
    try:
        return public_fault(cert, public)
    except (ValueError, UnsupportedAlgorithm):
        return "cannot be read"


def _findings(seen: Mapping[str, _Seen], peers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Who was tried, and why not."""
    doors = [door for one in seen.values() for door in one.doors.values()]
    if not doors:
        return
    dead = [
        str(peer["host"])
        for label, peer in peers.items()
        if not any(one.doors.get(label) == "open" for one in seen.values())
    ]
    papers = sum(len(one.papers) for one in seen.values())
    text = f"{doors.count('open')} of {len(doors)} ways between peers, {papers} certificates"
    if "untried" in doors:
        text += "; not all ports tried: that needs openssl and timeout there"
    elif dead:
        text += f"; not tried: nothing listens at {', '.join(dict.fromkeys(dead))}"
    yield text
