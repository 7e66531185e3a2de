"""What an Ansible inventory means: which hosts there are, what they are for, how to reach them.

kubeasz, kubespray and people's own inventories differ in the names of their groups only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from drctl.discovery import ssh_arguments
from drctl.discovery.ansible_tree import ALL, CONNECTION, UNGROUPED, Tree, Variable, Withheld
from drctl.discovery.checked import Checked
from drctl.discovery.told import Listed, Machine, Role, Told
from drctl.errors import Fault

_ROLES: Mapping[str, Role] = {
    "etcd": "etcd",
    **dict.fromkeys(
        ("kube_control_plane", "kube_master", "kube_controlplane", "control_plane", "controlplane"),
        "control_plane",
    ),
    **dict.fromkeys(("masters", "master", "k8s_master", "k8s_masters"), "control_plane"),
    **dict.fromkeys(("kube_node", "workers", "worker", "k8s_workers", "k8s_node"), "workers"),
}
"""Groups by their names, `-` read as `_`: kubeasz and kubespray say kube_control_plane, and
kube_master before; the rest is what people write."""
_BASTION = "bastion"  # kubespray: its first host is the way to all others
_NO_ROLE = {ALL, UNGROUPED, _BASTION}
# What kubeasz and kubespray have besides, which uses no etcd.
_SILENT = {"k8s_cluster", "calico_rr", "harbor", "ex_lb", "lb", "chrony", "deploy"}


def listed(tree: Tree) -> tuple[Listed, list[Fault]]:
    """What the tree means, and what is wrong with it."""
    reading = _Reading(tree)
    machines = reading.machines()
    kind, cluster = _kind(tree)
    result = Listed(
        path=tree.path,
        kind=kind,
        machines=tuple(machines),
        cluster=cluster,
        notes=tuple(dict.fromkeys(reading.notes())),
    )
    return result, [*tree.faults, *reading.faults]


def _plain(group: str) -> str:
    return group.replace("-", "_").lower()


def _kind(tree: Tree) -> tuple[str, Told[str] | None]:
    """Whose file it is, and the cluster's name where that tool keeps it in the file's path:
    kubeasz in clusters/NAME/hosts, kubespray in inventory/NAME/."""
    path = tree.path.absolute()
    above, name = path.parent.parent.name, path.parent.name
    for tool, folder in (("kubeasz", "clusters"), ("kubespray", "inventory")):
        if above == folder and name not in ("sample", "local"):
            return f"{tool}'s inventory", Told(name, f"{folder}/{name}/, where {path.name} lies")
    return "an Ansible inventory", None


class _Reading:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.faults: list[Fault] = []
        self.more: list[str] = []
        self.parents = self._parents()
        self.depths = self._depths()

    # -- groups ---------------------------------------------------------------------------------

    def _parents(self) -> dict[str, set[str]]:
        parents: dict[str, set[str]] = {group: set() for group in self.tree.groups}
        for name, group in self.tree.groups.items():
            for child in group.children:
                parents.setdefault(child, set()).add(name)
        return parents

    def _depths(self) -> dict[str, int]:
        """How far each group is below `all`; a loop is a fault."""
        depths: dict[str, int] = {}

        def depth(group: str, below: tuple[str, ...]) -> int:
            if group in below:
                child = self.tree.groups[below[-1]].children.get(group, 0)
                line = child or self.tree.groups[group].children.get(below[-1], 0)
                self._fault(line, f"groups form a loop: {' > '.join([*below, group])}")
                return 0
            if group not in depths:
                above = [depth(one, (*below, group)) for one in self.parents.get(group, ())]
                depths[group] = 0 if group == ALL else 1 + max(above, default=0)
            return depths[group]

        for group in self.parents:
            if len(self.faults) == 0:
                depth(group, ())
        return depths

    def _groups_of(self, host: str) -> set[str]:
        """All groups that it is in, those by way of children too."""
        found: set[str] = set()
        queue = [name for name, group in self.tree.groups.items() if host in group.hosts]
        while queue:
            group = queue.pop()
            if group not in found:
                found.add(group)
                queue += self.parents.get(group, ())
        return found | {ALL}

    def _variables(self, host: str, groups: Iterable[str]) -> dict[str, Variable]:
        """What holds for it: a host's own word before its groups', the nearer group's first."""
        found: dict[str, Variable] = {}
        for group in sorted(groups, key=lambda name: (self.depths.get(name, 0), name)):
            found |= self.tree.groups[group].variables if group in self.tree.groups else {}
        return found | self.tree.hosts[host]

    # -- hosts ----------------------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        bastions = [
            host
            for name, group in self.tree.groups.items()
            if _plain(name) == _BASTION
            for host in group.hosts
        ]
        names = self._names()
        return [self._machine(host, names, bastions[:1]) for host in self.tree.hosts]

    def _names(self) -> dict[str, str]:
        """Ansible's name of each host -> one that an inventory of drctl's can have."""
        names: dict[str, str] = {}
        for host in self.tree.hosts:
            name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in host)
            name = name.strip("-._")[:63] or "host"
            while name in names.values():
                name = f"{name[:60]}-2"
            names[host] = name
        return names

    def _machine(self, host: str, names: Mapping[str, str], bastions: list[str]) -> Machine:
        groups = self._groups_of(host)
        roles = {_ROLES[_plain(group)] for group in groups if _plain(group) in _ROLES}
        said = _Said(self, self._variables(host, groups), self.tree.lines[host])
        source = f"{self.tree.path.name}:{self.tree.lines[host]}"
        address = said.told("address")
        if address is None and names[host] != host:
            address = said.checked.told("address", host, source)
        jump = said.jump(names)
        if jump is None and bastions and host not in bastions:
            group = next(n for n, g in self.tree.groups.items() if bastions[0] in g.hosts)
            jump = Told(names[bastions[0]], f"{self.tree.path.name}: the group {group}")
        self.more += said.notes
        return Machine(
            name=names[host],
            source=source,
            roles=tuple(role for role in ("etcd", "control_plane", "workers") if role in roles),
            address=address,
            cluster_address=said.told("access_ip") or said.told("ip"),
            user=said.told("user"),
            port=said.number("port"),
            key=said.told("key"),
            jump=jump,
            open=tuple(said.open),
        )

    def notes(self) -> list[str]:
        """What was left out, once each."""
        file = self.tree.path.name
        notes = [*self.more]
        unknown = [
            name
            for name, group in self.tree.groups.items()
            if _plain(name) not in {*_ROLES, *_NO_ROLE, *_SILENT} and group.hosts
        ]
        if unknown:
            notes.append(f"{file}: groups that say nothing to drctl: {', '.join(sorted(unknown))}")
        if self.tree.passwords:
            notes.append(f"{file} gives a password for SSH or sudo: drctl uses keys only")
        beside = [n for n in ("group_vars", "host_vars") if (self.tree.path.parent / n).is_dir()]
        if beside:
            notes.append(
                f"{' and '.join(beside)} beside {file} were not read: where they set a user, port, "
                "key or jump, give it by --user, --port, --key, --jump"
            )
        return notes

    def _fault(self, line: int, message: str) -> None:
        self.faults.append(Fault(message, str(self.tree.path), line))


class _Said:
    """One host's variables, each checked as the inventory would check it."""

    def __init__(self, reading: _Reading, variables: Mapping[str, Variable], line: int) -> None:
        self.path = reading.tree.path
        self.checked = Checked(self.path, reading.faults)
        self.open: list[str] = []
        self.notes: list[str] = []
        self.line = line
        self.known: dict[str, Variable] = {}
        for variable in variables.values():
            meaning = CONNECTION.get(variable.name, "")
            if isinstance(variable.value, Withheld):
                self.open.append(f"{variable.name} {variable.value.why} ({self._at(variable)})")
            elif meaning and variable.value != "":
                self.known[meaning] = variable
        if (how := self.known.get("connection")) and how.value not in ("ssh", "smart", "paramiko"):
            self.open.append(f"ansible_connection is {str(how.value)[:40]!r} ({self._at(how)})")
        self.way = self._arguments()

    def _at(self, variable: Variable) -> str:
        return f"{self.path.name}:{variable.line}"

    def _arguments(self) -> ssh_arguments.Way:
        given = self.known.get("args")
        found = ssh_arguments.way(str(given.value)) if given else ssh_arguments.Way()
        if given:
            where = f"{given.name} ({self._at(given)})"
            self.open += [f"{what} in {where}" for what in found.open]
            self.notes += [f"{where}: {note}" for note in found.notes]
            for meaning in ("key", "port", "user"):
                value = getattr(found, meaning)
                if value and meaning not in self.known:
                    self.known[meaning] = Variable(given.name, value, given.line)
        return found

    def told(self, meaning: str) -> Told[str] | None:
        variable = self.known.get(meaning)
        if variable is None:
            return None
        kind = "address" if meaning in ("access_ip", "ip") else meaning
        where = f"{self._at(variable)}: {variable.name}"
        if kind == "key" and not str(variable.value).startswith(("/", "~/")):
            return self._relative_key(str(variable.value), where)
        return self.checked.told(kind, str(variable.value), where, variable.line)

    def _relative_key(self, text: str, where: str) -> Told[str] | None:
        """Ansible starts at the directory of whoever typed; only beside the file it is certain."""
        file = Path(self.path).absolute().parent / text
        if file.is_file():
            return self.checked.told("key", str(file), where)
        self.open.append(f"a key by a relative path that is not beside the file: {text[:80]!r}")
        return None

    def number(self, meaning: str) -> Told[int] | None:
        variable = self.known.get(meaning)
        if variable is None:
            return None
        where = f"{self._at(variable)}: {variable.name}"
        return self.checked.port(variable.value, where, variable.line)

    def jump(self, names: Mapping[str, str]) -> Told[str] | None:
        text, given = self.way.jump, self.known.get("args")
        if not text or not given:
            return None
        where = f"{self._at(given)}: {given.name}"
        if "," in text:
            self.open.append(f"a chain of jump hosts in {where}: give each its own `jump`")
            return None
        return self.checked.told("jump", names.get(text, text), where, given.line)
