"""What the inventory claims, as the plan's facts have it (`drctl.plan.claims`), and how a node may
differ from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drctl.answer import shown


@dataclass(frozen=True)
class Claims:
    """`members` are the plan's, `rest` is `drctl.plan.claims.claims`."""

    members: Mapping[str, Mapping[str, Any]]
    rest: Mapping[str, Any]
    snapshot_bytes: int | None = None

    @property
    def file(self) -> str:
        return str(self.rest["file"])

    def line(self, key: str) -> int:
        return int(self.rest["lines"].get(key, 1))

    def service(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.rest["services"].get(name, {})
        return found

    def runs_on(self, name: str, host: str) -> bool:
        return host in self.service(name).get("hosts", ())

    def installs(self, service: str, host: str) -> bool:
        """Whether the restore itself puts this service's unit there."""
        return service == "etcd" and host in self.rest["prepare"]

    def addresses(self, host: str) -> Sequence[str]:
        found: Sequence[str] = self.rest["hosts"].get(host, {}).get("addresses", ())
        return found

    def host_at(self, address: str) -> str:
        """The inventory's first host with that address, "" for none."""
        return next(iter(self._hosts_at(address)), "")

    def only_host_at(self, address: str) -> str:
        """The same; "" too where several have it: behind forwarded ports all are 127.0.0.1."""
        found = self._hosts_at(address)
        return found[0] if len(found) == 1 else ""

    def _hosts_at(self, address: str) -> list[str]:
        return [str(host) for host in self.rest["hosts"] if address in self.addresses(host)]


@dataclass(frozen=True)
class Edit:
    """What the inventory should say: a key's path, and its value; `append` to the list there."""

    path: tuple[str, ...]
    value: str | list[str] | None
    append: bool = False


@dataclass(frozen=True)
class Difference:
    """The inventory says one thing and `host` shows another. `claim` and `seen` are clauses of one
    sentence, `where` is what it was read from, `write` what to type into the inventory or do.
    `refused`: a restore would go wrong; else it is worth knowing."""

    host: str
    field: str
    claim: str
    seen: str
    where: str
    write: str
    refused: bool = True
    file: str = ""
    line: int = 0
    edit: Edit | None = None  # where one value mends it

    @property
    def accept(self) -> str:
        """The name by which an operator who knows better lets it pass."""
        return f"node.{self.host}.{self.field}"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def message(self) -> str:
        seen = f"{self.seen} ({self.where})" if self.where else self.seen
        return f"{self.place}: {self.claim}, but {seen}; {self.write}"

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "host": self.host,
            "field": self.field,
            "weight": "refused" if self.refused else "warning",
            "file": self.file,
            "line": self.line or None,
            "inventory": self.claim,
            "seen": self.seen,
            "where": self.where,
            "write": self.write,
            "accept": self.accept if self.refused else None,
            "edit": asdict(self.edit) if self.edit else None,
        }


def listed(values: Sequence[str] | set[str]) -> str:
    """Values that a node told, for people."""
    return ", ".join(shown(value, 200) for value in sorted(values)) or "nothing"
