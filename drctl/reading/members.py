"""A member's etcd as it runs and as it would start, held against what the inventory claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from drctl.answer import shown
from drctl.reading.claimed import Claims, Difference, Edit, listed
from drctl.reading.programs import ETCD, Program, Reading

DEFAULT_QUOTA = 2 * 1024**3  # bytes; etcd's own where the flag is 0 or not given
LOAD_BYTES_PER_SECOND = 20_000_000
"""How fast etcd reads a database at its start, on a slow disk: for a warning only."""
_LEAST_START_SECONDS = 10.0
_EVERY = {"0.0.0.0", "::", ""}


def etcds_of(reading: Reading, claims: Claims) -> tuple[list[Program], list[Program]]:
    """(of this member, others): the etcds of this host, as they run and as they would start."""
    member = claims.members[reading.host]
    found = [p for p in (*reading.running, *reading.written) if p.name == ETCD]
    own = [p for p in found if _is_ours(p, member, reading)]
    if not own and len(found) == 1:
        return found, []
    if not own:
        # None is like the inventory: whatever serves the member's port is meant.
        ports = {urlsplit(url).port for url in member["client_urls"]}
        own = [p for p in found if p.process and ports & {port for _, port in p.process.listens}]
    names = {(p.starter.kind, p.starter.name) for p in own}
    own = [p for p in found if p in own or (p.starter.kind, p.starter.name) in names]
    return own, [p for p in found if p not in own]


def _is_ours(program: Program, member: Any, reading: Reading) -> bool:
    data = {member["data_dir"], reading.evidence.real.get("data_dir")}
    return program.data_dir.value in data or program.said("name").value == member["name"]


@dataclass(frozen=True)
class MemberComparison:
    """One member's claims and one of its etcds."""

    claims: Claims
    reading: Reading
    program: Program

    @property
    def host(self) -> str:
        return self.reading.host

    @property
    def member(self) -> Any:
        return self.claims.members[self.host]

    def _differs(
        self, field: str, claim: str, seen: str, where: str, write: str, **more: Any
    ) -> Difference:
        key = more.pop("key", f"{self.host}.{field}")
        return Difference(
            self.host, field, claim, seen, where, write,
            file=self.claims.file, line=self.claims.line(key), **more,
        )  # fmt: skip

    def _edit(self, field: str, value: str | list[str] | None) -> Edit:
        return Edit(("etcd", "members", self.host, field), value)

    def differences(self) -> Iterator[Difference]:
        if self.program.unread:
            yield self._differs(
                "settings",
                "its members are as written here",
                self.program.unread,
                self.program.where,
                "see that it can be read there, then try again",
            )
            return
        yield from self._data()
        yield from self._wal()
        yield from self._name()
        yield from self._peers()
        yield from self._clients()
        yield from self._own_ways()
        yield from self._owner()
        yield from self._unit()
        yield from self._quota()
        yield from self._start_time()

    # -- directories ------------------------------------------------------------------------------

    def _same(self, seen: str, field: str) -> bool:
        return seen.rstrip("/") in (self.member[field], self.reading.evidence.real.get(field))

    def _data(self) -> Iterator[Difference]:
        data = self.program.data_dir
        if data.value and not self._same(data.value, "data_dir"):
            yield self._differs(
                "data_dir",
                f"data_dir of {self.host} is {self.member['data_dir']}",
                f"its etcd keeps its data in {shown(data.value, 200)}",
                f"{data.where}, {self.program.starter}",
                f"write etcd.members.{self.host}.data_dir: {shown(data.value, 200)}",
                edit=self._edit("data_dir", data.value),
            )

    def _wal(self) -> Iterator[Difference]:
        wal, claimed = self.program.wal_dir, self.member["wal_dir"]
        if wal is None and claimed and self.program.data_dir.value:
            yield self._differs(
                "wal_dir",
                f"wal_dir of {self.host} is {claimed}",
                "its etcd keeps its WAL in the data directory",
                self.program.where,
                f"write etcd.members.{self.host}.wal_dir: null",
                edit=self._edit("wal_dir", None),
            )
        elif wal is not None and wal.value and not (claimed and self._same(wal.value, "wal_dir")):
            claim = (
                f"wal_dir of {self.host} is {claimed}" if claimed else f"{self.host} has no wal_dir"
            )
            yield self._differs(
                "wal_dir",
                claim,
                f"its etcd keeps its WAL in {shown(wal.value, 200)}",
                f"{wal.where}, {self.program.starter}",
                f"write etcd.members.{self.host}.wal_dir: {shown(wal.value, 200)}",
                edit=self._edit("wal_dir", wal.value),
            )

    # -- name and URLs ----------------------------------------------------------------------------

    def _name(self) -> Iterator[Difference]:
        name = self.program.said("name", "default")
        if name.value != self.member["name"]:
            yield self._differs(
                "name",
                f"the member's name on {self.host} is {self.member['name']}",
                f"its etcd is called {shown(name.value)}",
                f"{name.where}, {self.program.starter}",
                f"write etcd.members.{self.host}.name: {shown(name.value)}",
                edit=self._edit("name", name.value),
            )

    def _peers(self) -> Iterator[Difference]:
        given = self.program.settings.get("initial-advertise-peer-urls")
        claimed = {_url(url) for url in self.member["peer_urls"]}
        if given is not None and _urls(given.value) != claimed:
            yield self._differs(
                "peer_urls",
                f"the peer URLs of {self.host} are {listed(claimed)}",
                f"its etcd is told {listed(_urls(given.value))}",
                f"--initial-advertise-peer-urls, {given.where}",
                f"write etcd.members.{self.host}.peer_urls: [{listed(_urls(given.value))}]",
                edit=self._edit("peer_urls", sorted(_urls(given.value))),
            )
            return
        listen = self.program.settings.get("listen-peer-urls")
        if listen is not None and (deaf := _not_listened(claimed, _urls(listen.value))):
            yield self._differs(
                "peer_urls",
                f"the peer URL of {self.host} is {listed(deaf)}",
                f"its etcd listens for peers at {listed(_urls(listen.value))}",
                f"--listen-peer-urls, {listen.where}",
                f"fix etcd.members.{self.host}.peer_urls",
            )

    def _clients(self) -> Iterator[Difference]:
        listen = self.program.settings.get("listen-client-urls")
        claimed = {_url(url) for url in self.member["client_urls"]}
        heard = _urls(listen.value) if listen else {"http://localhost:2379"}
        if deaf := _not_listened(claimed, heard):
            advertised = self.program.settings.get("advertise-client-urls")
            right = _urls(advertised.value) if advertised else heard
            yield self._differs(
                "client_urls",
                f"the client URL of {self.host} is {listed(deaf)}",
                f"its etcd listens for clients at {listed(heard)}",
                f"--listen-client-urls, {listen.where if listen else self.program.where}",
                f"write etcd.members.{self.host}.client_urls: [{listed(right)}]",
                edit=self._edit("client_urls", sorted(right)),
            )

    # -- what must not be -------------------------------------------------------------------------

    def _own_ways(self) -> Iterator[Difference]:
        forced = self.program.said("force-new-cluster", "false")
        if forced.value.lower() in ("true", "1", "t"):
            yield self._differs(
                "force_new_cluster",
                f"{self.host} is a member of one cluster",
                "its etcd makes a new cluster of its own at every start (force-new-cluster)",
                f"{forced.where}, {self.program.starter}",
                f"take force-new-cluster out of {_file(forced.where, self.program)}",
                key="groups.etcd",
            )
        fsync = self.program.said("unsafe-no-fsync", "false")
        if fsync.value.lower() in ("true", "1", "t"):
            yield self._differs(
                "unsafe_no_fsync",
                f"{self.host} keeps what it acknowledges",
                "its etcd does not wait for its disk (unsafe-no-fsync)",
                f"{fsync.where}, {self.program.starter}",
                "take it out before a power cut does harm",
                refused=False,
                key="groups.etcd",
            )

    # -- who, and from which text -----------------------------------------------------------------

    def _uid(self) -> int | None:
        """As whom it runs, or would be started; None where that is not known."""
        user = self.program.user.partition(":")[0]
        if not user and self.program.starter.kind == "unit":
            return 0  # systemd.exec: root where a unit names nobody
        if user.isascii() and user.isdecimal():
            return int(user)
        return self.reading.evidence.users.get(user)

    def _owner(self) -> Iterator[Difference]:
        """Root reads what anybody owns; anybody else only what is his, in a mode of 700."""
        claimed, uid = self.member.get("owner"), self._uid()
        evidence = self.reading.evidence
        owner = evidence.claimed_uid if claimed else evidence.data_uid
        if uid is None or owner is None or uid == owner:
            return
        runs = "runs" if self.program.process else "would run"
        who = shown(self.program.user) if uid else "root"
        yield self._differs(
            "owner",
            f"the data of {self.host} is to belong to {claimed}"
            if claimed
            else f"the data of {self.host} belongs to user {owner}, and so will the restored data",
            f"its etcd {runs} as {who}" + (", who cannot read it" if uid else ""),
            self.program.where,
            f"write etcd.owner: {who}, or fix the user there",
            refused=uid != 0,
            key="etcd.owner" if claimed else "groups.etcd",
        )

    def _unit(self) -> Iterator[Difference]:
        """A fence makes systemd read its files: what would start then was not looked at."""
        unit = next((u for u in self.reading.units if u.name == self.program.starter.name), None)
        if unit and unit.edited and self.program.starter.kind == "unit":
            yield self._differs(
                "unit_unread",
                f"{self.host} is to start etcd as it is written there",
                f"{unit.name} was changed on disk, and systemd has not read it yet",
                "NeedDaemonReload of systemd",
                f"type on {self.host}: systemctl daemon-reload; then look again",
                key="groups.etcd",
            )

    def _quota(self) -> Iterator[Difference]:
        size = self.claims.snapshot_bytes
        given = self.program.said("quota-backend-bytes", "0")
        if size is None or not given.value.isdecimal():
            return
        quota = int(given.value) or DEFAULT_QUOTA
        if quota <= size:
            yield self._differs(
                "quota",
                f"{self.host} is to take a snapshot of {size} bytes",
                f"its etcd may hold {quota} bytes and would be read-only after the restore",
                given.where if int(given.value) else "etcd's default quota",
                f"raise ETCD_QUOTA_BACKEND_BYTES (--quota-backend-bytes) on {self.host} above "
                f"{size}, twice that is usual",
                key="groups.etcd",
            )

    def _start_time(self) -> Iterator[Difference]:
        allowed, size = self.program.start_seconds, self.claims.snapshot_bytes or 0
        needed = max(_LEAST_START_SECONDS, size / LOAD_BYTES_PER_SECOND)
        if allowed is not None and allowed < needed:
            yield self._differs(
                "start_timeout",
                f"{self.host} is to start on the snapshot",
                f"systemd ends its etcd after {allowed:g} s, and loading may take {needed:.0f} s",
                f"TimeoutStartSec of {self.program.starter}",
                "raise TimeoutStartSec there, or its members start again and again",
                refused=False,
                key="groups.etcd",
            )


def _file(where: str, program: Program) -> str:
    return f"the {program.starter}" if where.startswith(("argument", "environment")) else where


def _url(url: str) -> str:
    return url.rstrip("/").lower()


def _urls(text: str) -> set[str]:
    return {_url(url.strip()) for url in text.split(",") if url.strip()}


def _not_listened(claimed: set[str], heard: set[str]) -> set[str]:
    """Of the claimed URLs those that no listener serves: another scheme or port, or another
    address where both are addresses."""
    return {url for url in claimed if not any(_serves(url, listener) for listener in heard)}


def _serves(url: str, listener: str) -> bool:
    try:
        one, other = urlsplit(url), urlsplit(listener)
        if (one.scheme, one.port) != (other.scheme, other.port):
            return False
    except ValueError:
        return False
    here, there = one.hostname or "", other.hostname or ""
    return there in _EVERY or here == there or not (_is_address(here) and _is_address(there))


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()
