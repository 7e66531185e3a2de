"""k0sctl.yaml: hosts with a role and a way to reach them.

The fields are those of k0sctl's docs/configuration.md (bfdd5da). It fills in `${VARIABLES}` of its
environment before it reads the file; here they are not filled in, and become questions.
"""

from __future__ import annotations

from typing import Any

from drctl.discovery.checked import Checked
from drctl.discovery.told import MOST_MACHINES, Listed, Machine, Role, Told
from drctl.errors import Fault
from drctl.yamlfile import Document, KeyPath, shown

_ROLES: dict[str, tuple[Role, ...]] = {
    # k0s runs etcd inside of its controller; what really runs there is asked of the host
    "controller": ("etcd", "control_plane"),
    "controller+worker": ("etcd", "control_plane", "workers"),
    "single": ("etcd", "control_plane", "workers"),
    "worker": ("workers",),
}
_WAYS = ("ssh", "openSSH", "winRM", "localhost")


def is_k0sctl(data: dict[str, Any]) -> bool:
    """Whether the file says that it is one."""
    return str(data.get("apiVersion", "")).startswith("k0sctl.k0sproject.io/")


def listed(document: Document) -> tuple[Listed, list[Fault]]:
    """The hosts of the file, and what is wrong with it."""
    reading = _Reading(document)
    data = document.data
    metadata = reading.mapping(data.get("metadata"), ("metadata",))
    name, where = metadata.get("name"), f"{document.path.name}: metadata.name"
    result = Listed(
        path=document.path,
        kind="k0sctl's configuration",
        machines=tuple(reading.machines(data.get("spec"))),
        cluster=Told(name, where) if isinstance(name, str) and name and "$" not in name else None,
        notes=tuple(reading.notes),
    )
    return result, reading.faults


class _Reading:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.checked = Checked(document.path, self.faults)

    def mapping(self, content: Any, path: KeyPath) -> dict[str, Any]:
        if content is None:
            return {}
        if not isinstance(content, dict):
            message = f"must be a mapping, not {shown(content)}"
            self.faults.append(self.document.fault(path, message))
            return {}
        return content

    def machines(self, spec: Any) -> list[Machine]:
        hosts = self.mapping(spec, ("spec",)).get("hosts")
        path: KeyPath = ("spec", "hosts")
        if not isinstance(hosts, list) or not hosts or len(hosts) > MOST_MACHINES:
            message = f"must be a list of 1 to {MOST_MACHINES} hosts"
            self.faults.append(self.document.fault(path, message))
            return []
        found: list[Machine] = []
        for number, host in enumerate(hosts):
            machine = self._machine(self.mapping(host, (*path, number)), (*path, number))
            if machine:
                found.append(machine)
        return found

    def _machine(self, host: dict[str, Any], path: KeyPath) -> Machine | None:
        role = host.get("role")
        if role not in _ROLES:
            message = f"role must be one of {', '.join(_ROLES)}, not {shown(role)}"
            self.faults.append(self.document.fault((*path, "role"), message))
            return None
        ways = [way for way in _WAYS if way in host]
        if len(ways) != 1 or ways[0] in ("winRM", "localhost"):
            what = ways[0] if len(ways) == 1 else f"{len(ways)} ways to connect"
            self.notes.append(f"{self._at(path)}: left out, it has {what}, and drctl needs SSH")
            return None
        said = _Said(self, self.mapping(host[ways[0]], (*path, ways[0])), (*path, ways[0]))
        address = said.told("address")
        name = host.get("hostname")
        if not isinstance(name, str) or "$" in name:
            name = address.value if address else f"host-{path[-1]}"
        return Machine(
            name=name.replace(":", "-"),
            source=self._at(path),
            roles=_ROLES[role],
            address=address,
            cluster_address=_Said(self, host, path).told("privateAddress", "address"),
            # k0sctl's own client logs in as root unless told otherwise; OpenSSH as it is configured
            user=said.told("user") or (said.default_user() if ways[0] == "ssh" else None),
            port=said.port(),
            key=said.told("keyPath", "key"),
            jump=said.bastion(),
            open=tuple(said.open),
        )

    def _at(self, path: KeyPath) -> str:
        return f"{self.document.path.name}:{self.document.line(path)}"


class _Said:
    """One mapping's values, each checked as the inventory would check it."""

    def __init__(self, reading: _Reading, data: dict[str, Any], path: KeyPath) -> None:
        self.reading = reading
        self.data = data
        self.path = path
        self.open: list[str] = []

    def _where(self, field: str) -> tuple[str, int]:
        path = (*self.path, field)
        line = self.reading.document.line(path)
        return f"{self.reading.document.path.name}:{line}: {self.path[-1]}.{field}", line

    def told(self, field: str, kind: str = "") -> Told[str] | None:
        value = self.data.get(field)
        if value is None or value == "":
            return None
        where, line = self._where(field)
        if isinstance(value, str) and "$" in value:
            self.open.append(f"{field} comes from an environment variable ({where})")
            return None
        return self.reading.checked.told(kind or field, str(value), where, line)

    def port(self) -> Told[int] | None:
        value = self.data.get("port")
        if value is None:
            return None
        where, line = self._where("port")
        if isinstance(value, str) and "$" in value:
            self.open.append(f"port comes from an environment variable ({where})")
            return None
        return self.reading.checked.port(value, where, line)

    def default_user(self) -> Told[str] | None:
        where = self.reading.document.path.name
        known = "user" not in self.data
        return Told("root", f"{where}: k0sctl's default, no user is given") if known else None

    def bastion(self) -> Told[str] | None:
        """The jump host; its own key cannot be said in an inventory's `jump`."""
        if not self.data.get("bastion"):
            return None
        path = (*self.path, "bastion")
        inner = _Said(self.reading, self.reading.mapping(self.data["bastion"], path), path)
        address, user, port = inner.told("address"), inner.told("user"), inner.port()
        self.open += inner.open
        if "keyPath" in inner.data:
            self.open.append(f"the jump host's key ({inner._where('keyPath')[0]})")
        if address is None:
            return None
        host = f"[{address.value}]" if ":" in address.value else address.value
        tail = f":{port.value}" if port else ""
        where = inner._where("address")[0]
        text = f"{user.value if user else 'root'}@{host}{tail}"
        return self.reading.checked.told("jump", text, where)
