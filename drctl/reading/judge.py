"""The judge: is the inventory what runs?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from shlex import quote

from drctl.etcd.judges.common import read, readable
from drctl.reading.claimed import Claims, Difference
from drctl.reading.evidence import read_evidence
from drctl.reading.members import MemberComparison, etcds_of
from drctl.reading.placed import binaries, clients, elsewhere, starters, strangers
from drctl.reading.programs import Program, Reading, read_host
from drctl.verdict import Gathered, Problem, Verdict

ACCEPT = "node."
"""How the names of differences begin that an operator may accept (`--accept-drift`)."""


@dataclass(frozen=True)
class _Compared:
    """All hosts' readings, what they differ in, and what could not be read of some."""

    claims: Claims
    readings: dict[str, Reading]
    differences: list[Difference]
    problems: list[Problem]

    @classmethod
    def of(cls, gathered: Gathered) -> _Compared:
        claims = _claims(gathered)
        found, garbled = readable(gathered, "missing")
        readings, strange = read(found, lambda _, answer: read_host(read_evidence(answer)))
        differences = [d for reading in readings.values() for d in compare(reading, claims)]
        differences += elsewhere(readings, claims)
        return cls(claims, readings, differences, [*garbled, *strange])

    @property
    def uncompared(self) -> list[str]:
        return [w for reading in self.readings.values() for w in _uncompared(reading, self.claims)]


def fits_inventory(gathered: Gathered) -> Verdict:
    """Holds every host's programs against the inventory (reality.md: what runs is the truth). A
    difference by which a restore would go wrong is refused, unless it was accepted by its name;
    others are warnings, and so is what could not be compared.

    Yields `owner`: of a lost data directory that a container is to have, as its manifest says.
    """
    compared = _Compared.of(gathered)
    accepted = set(gathered.options.get("accept_drift", ()))
    hint = (
        "correct the inventory, or have it written: "
        f"drctl inventory diff -i {quote(compared.claims.file)} --write NEW.yaml; what you know "
        "better you can accept by the name in brackets: --accept-drift NAME"
    )
    problems, warnings = list(compared.problems), [*_silent(gathered), *compared.uncompared]
    for each in compared.differences:
        if each.refused and each.accept not in accepted:
            problems.append(Problem(f"{each.message} [{each.accept}]", each.host, hint))
        else:
            word = "accepted: " if each.refused else ""
            warnings.append(f"{each.host}: {word}{each.message}")
    warnings += [
        f"nothing to accept: {name} does not differ"
        for name in sorted(accepted - {each.accept for each in compared.differences})
        if name.startswith(ACCEPT)
    ]
    return Verdict(
        values={"owner": {**gathered.values.get("owner", {}), **_owners(compared)}},
        problems=tuple(problems),
        warnings=tuple(warnings),
        findings=_findings(compared),
    )


def differences(gathered: Gathered) -> Verdict:
    """The same for `drctl inventory diff`: refuses nothing.

    Yields `differences`, each as `claimed.Difference.document` has it.
    """
    compared = _Compared.of(gathered)
    return Verdict(
        values={"differences": [each.document for each in compared.differences]},
        problems=tuple(compared.problems),
        warnings=(*_silent(gathered), *compared.uncompared),
        findings=_findings(compared),
    )


def _silent(gathered: Gathered) -> list[str]:
    return [
        f"{host}: not compared with the inventory: {why}" for host, why in gathered.silent.items()
    ]


def _owners(compared: _Compared) -> dict[str, str]:
    """uid:gid by host. Where the data is lost nothing can be copied from it, and systemd, which is
    asked in that case, knows nothing of containers; they are root unless they say otherwise."""
    found = {}
    for host, reading in compared.readings.items():
        if host not in compared.claims.members or reading.evidence.data_here is not False:
            continue
        etcds, _ = etcds_of(reading, compared.claims)
        contained = [p for p in etcds if p.starter.kind not in ("unit", "process")]
        for program in contained[:1]:
            found[host] = program.user or "0:0"
    return found


def _claims(gathered: Gathered) -> Claims:
    snapshot = gathered.facts.get("snapshot") or {}
    return Claims(
        members=gathered.facts.get("members", {}),
        rest=gathered.facts["claims"],
        snapshot_bytes=int(snapshot["size"]) if snapshot else None,
    )


def compare(reading: Reading, claims: Claims) -> list[Difference]:
    """Every difference of one host, each once: as it runs before as it would start."""
    reading = _of_this_host(reading, claims)
    return list({(d.field, d.seen): d for d in reversed([*_all(reading, claims)])}.values())[::-1]


def _all(reading: Reading, claims: Claims) -> Iterator[Difference]:
    etcds: list[Program] = []
    if reading.host in claims.members:
        etcds, _ = etcds_of(reading, claims)
        for program in (_as_opened(program, etcds) for program in etcds):
            yield from MemberComparison(claims, reading, program).differences()
        yield from binaries(reading, claims, etcds)
        yield from clients(reading, claims)
    yield from starters(reading, claims, etcds)
    yield from strangers(reading, claims)


def _of_this_host(reading: Reading, claims: Claims) -> Reading:
    """Without what listens at other hosts' addresses only: hosts of a lab share one machine."""

    def elsewhere(program: Program) -> bool:
        listens = program.process.listens if program.process else ()
        hosts = {claims.only_host_at(address) for address, _ in listens}
        return bool(hosts) and "" not in hosts and reading.host not in hosts

    return replace(reading, running=tuple(p for p in reading.running if not elsewhere(p)))


def _as_opened(program: Program, etcds: list[Program]) -> Program:
    """A directory that is written as in the running etcd's arguments is the one that it has open,
    although that is known by its real path."""
    for other in etcds:
        if program.process or not other.process:
            continue
        for flag, field in (("data-dir", "data_dir"), ("wal-dir", "wal_dir")):
            said, runs = program.settings.get(flag), other.settings.get(flag)
            if said and runs and said.value == runs.value:
                program = replace(program, **{field: getattr(other, field)})
    return program


def _uncompared(reading: Reading, claims: Claims) -> Iterator[str]:
    for words in reading.unread:
        yield f"{reading.host}: {words}"
    if reading.host not in claims.members:
        return
    etcds, others = etcds_of(_of_this_host(reading, claims), claims)
    if not etcds and not claims.installs("etcd", reading.host):
        yield (
            f"{reading.host}: no etcd runs, and nothing was found that would start one: its "
            "directories, name and URLs could not be compared with the inventory"
        )
    elif etcds and not any(program.process for program in etcds):
        yield f"{reading.host}: no etcd runs: compared with {etcds[0].where}"
    for program in others:
        if program.process:
            yield f"{reading.host}: another etcd runs there, and is left alone: {program.where}"


def _findings(compared: _Compared) -> tuple[str, ...]:
    wrong = {each.host for each in compared.differences}
    same = sorted(host for host in compared.readings if host not in wrong)
    return (f"the inventory is what runs on {', '.join(same)}",) if same else ()
