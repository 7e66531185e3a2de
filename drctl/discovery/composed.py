"""An inventory put together from what hosts showed and a file said: hosts, groups and etcd.

What was read is written with its source; what was not, is asked. Nothing is guessed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from drctl.discovery.draft import Draft
from drctl.discovery.known import (
    ROLES,
    Known,
    cluster_address,
    names_of,
    path_of,
    roles,
    shared,
    sources_of,
)
from drctl.discovery.looked import ETCD, Looked, Named, urls
from drctl.discovery.patterns import Called, pattern
from drctl.discovery.told import Machine, Role, Told
from drctl.inventory.presets import Preset
from drctl.reading import Program, Setting


class Composer:
    """Puts one draft together, in one layout."""

    def __init__(self, known: Known, layout: str, preset: Preset) -> None:
        self.known = known
        self.layout = layout
        self.preset = preset
        self.draft = Draft()
        self.kept: Mapping[str, Any] = known.listed.kept if known.listed else {}
        self.names = names_of(known)
        self.members = [each for each in known.looked if each.etcd]
        self.called = {
            self.name(each): Called(
                self.name(each),
                cluster_address(each),
                self.members.index(each) + 1 if each in self.members else 0,
            )
            for each in known.looked
        }

    def name(self, looked: Looked) -> str:
        return self.names[looked.machine.name]

    def head(self) -> None:
        """Name, layout and known_hosts."""
        known = self.known
        if known.cluster:
            self.draft.put(("cluster",), known.cluster.value, known.cluster.source)
        else:
            first = self.name(known.looked[0])
            self.draft.put(
                ("cluster",),
                f"cluster-of-{first}"[:63],
                "made up, no node tells: runs are filed under it, name it before the first run",
            )
        self.draft.put(("layout",), self.layout, "it fits best what was seen")
        if known.known_hosts:
            self.draft.put(("known_hosts",), known.known_hosts.value, known.known_hosts.source)

    # -- hosts and groups -------------------------------------------------------------------------

    def hosts(self) -> None:
        """How each is reached. One that shows nothing of a cluster is left out, and said."""
        machines = [*self.known.silent_machines]
        jumps = {machine.jump.value for machine in machines if machine.jump}
        for each in reversed(self.known.looked):
            if roles(each) or each.machine.roles or each.open or each.machine.name in jumps:
                machines.insert(0, each.machine)
            else:
                what = "no etcd, kube-apiserver or kubelet was seen there, left out"
                self.draft.ask(("hosts", self.name(each)), what)
        common = shared(machines)
        if self.known.unseen and common.get("port", Told(0, "")).source != "--port":
            common.pop("port", None)  # it is of those that were looked at
        for key, told in common.items():
            self.draft.put(("defaults", key), told.value, told.source)
        addresses = {each.machine.name: cluster_address(each) for each in self.known.looked}
        for machine in machines:
            self._host(machine, common, addresses.get(machine.name, ""))
        for one in self.known.unseen:
            self._unseen(one)

    def _host(self, machine: Machine, common: Mapping[str, Told[Any]], cluster: str) -> None:
        name = self.names[machine.name]
        path = ("hosts", name)
        address = machine.address or Told(machine.name, machine.source)
        self.draft.put((*path, "address"), address.value, address.source)
        for key in ("user", "port", "key", "jump", "become", "work_dir"):
            told = getattr(machine, key)
            if told and not (key in common and common[key].value == told.value):
                self.draft.put((*path, key), told.value, told.source)
        if cluster and cluster != address.value:
            self.draft.put((*path, "cluster_address"), cluster, "the host in its own peer URL")
        elif not cluster and machine.cluster_address:
            told = machine.cluster_address
            self.draft.put((*path, "cluster_address"), told.value, told.source)
        for question in machine.open:
            self.draft.ask(path, question)
        if machine.name in self.known.silent:
            self.draft.ask(path, f"it was not looked at: {self.known.silent[machine.name]}")

    def _unseen(self, one: Named) -> None:
        name = self.names[one.address]
        why = one.why or "it was not contacted (name it by --host, or agree to it)"
        path = ("hosts", name, "address")
        if one.reached:
            self.draft.ask(path, f"{one.source} names it; not looked at: {why}")
            self.draft.put(path, one.address, "SSH answers there")
            return
        question = f"{one.source} names {one.address}: which address has it for SSH? {why}"
        self.draft.ask(path, question, blocking=True)
        self.draft.put(("hosts", name, "cluster_address"), one.address, one.source)

    def groups(self) -> None:
        """Who is what: the nodes decide, and a file only for those that were not looked at."""
        of: dict[Role, dict[str, str]] = {role: {} for role in ROLES}
        for each in self.known.looked:
            for role, source in roles(each):
                of[role][self.name(each)] = source
        for machine in self.known.silent_machines:
            for role in machine.roles:
                of[role][self.names[machine.name]] = f"{machine.source}, not looked at"
        for one in self.known.unseen:
            if one.url:
                of["etcd"][self.names[one.address]] = one.source
        for each in self.known.looked:
            for role in each.machine.roles:
                self._claimed(each, role, of[role])
        for role in ROLES:
            if of[role] or role != "workers":
                none = "" if of[role] else "none was seen on these hosts"
                self.draft.put(("groups", role), [*of[role]], none)
            for number, source in enumerate(of[role].values()):
                self.draft.sources["groups", role, number] = source
        for name, hosts in self.kept.get("groups", {}).items():
            self.draft.put(("groups", name), [*hosts], f"kept from {self.file}")

    def _claimed(self, looked: Looked, role: Role, group: dict[str, str]) -> None:
        """A file says what the host does not show: it may be down, or of another name."""
        name = self.name(looked)
        if name in group or (role == "workers" and dict(roles(looked))):
            return
        group[name] = f"{looked.machine.source} says so"
        if role == "etcd" and not looked.open:
            question = f"{looked.machine.source} says that it is a member, and no etcd was seen"
            self.draft.ask(("etcd", "members", name, "data_dir"), question, blocking=True)

    @property
    def file(self) -> str:
        return self.known.listed.path.name if self.known.listed else ""

    # -- etcd -------------------------------------------------------------------------------------

    def etcd(self) -> None:
        """Directories, names, URLs, certificates and programs of the members."""
        for each in self.known.looked:
            for question in each.open:
                at = ("etcd", "members", self.name(each), "data_dir")
                self.draft.ask(at, question, blocking=not each.etcd)
        if not self.members:
            return
        preset = self.preset.etcd
        self._pattern("data_dir", "data_dir", lambda p: p.data_dir, preset.data_dir, show=True)
        if any(each.etcd and each.etcd.wal_dir for each in self.members):
            self._pattern("wal_dir", "wal_dir", lambda p: p.wal_dir, None)
        self._pattern(
            "member_name", "name", lambda p: p.said("name", "default"), preset.member_name
        )
        self._urls("peer_url", "peer_urls", "initial-advertise-peer-urls", preset.peer_url)
        self._urls("client_url", "client_urls", "advertise-client-urls", preset.client_url)
        self._certificates()
        self._tools()
        for key in ("etcdutl", "image", "owner", "tools"):
            if (kept := self.kept.get(f"etcd.{key}")) is not None:
                self.draft.put(("etcd", key), kept, f"kept from {self.file}")

    def _pattern(
        self,
        key: str,
        own: str,
        read: Callable[[Program], Setting | None],
        default: str | None,
        *,
        show: bool = False,
    ) -> None:
        """One value of each member: as the layout has it, one pattern, or one by one."""
        found: dict[str, Setting] = {}
        for each in self.members:
            assert each.etcd
            if (setting := read(each.etcd)) and setting.value:
                found[self.name(each)] = setting
            elif key != "wal_dir":
                question = f"its {key} was not seen ({each.etcd.unread or each.etcd.where})"
                self.draft.ask(("etcd", "members", self.name(each), own), question, blocking=True)
        if not found:
            return
        values = {host: setting.value for host, setting in found.items()}
        common = self._common(values, *([default] if default is not None else []))
        source = sources_of(found)
        if common is not None and common == default and not show:
            self.draft.note(("etcd", key), common, f"the layout's; {source}")
        elif common is not None:
            self.draft.put(("etcd", key), common, source)
        else:
            for host, setting in found.items():
                self.draft.put(("etcd", "members", host, own), setting.value, setting.where)

    def _common(self, values: Mapping[str, str], *first: str) -> str | None:
        """One pattern for all members. What one alone has tells nothing of those not looked at."""
        if len(values) < len(self.members):
            return None
        found = pattern(values, self.called, *first)
        alone = len(values) == 1 and (self.known.unseen or self.known.silent)
        return None if alone and found not in first else found

    def _urls(self, key: str, own: str, flag: str, default: str) -> None:
        found = {self.name(each): urls(each.etcd, flag) for each in self.members if each.etcd}
        if all(len(each) == 1 for each in found.values()):

            def read(program: Program) -> Setting:
                return Setting(urls(program, flag)[0], f"--{flag}, {program.said(flag).where}")

            self._pattern_of_urls(key, own, read, default)
            return
        for each in self.members:
            path = ("etcd", "members", self.name(each), own)
            assert each.etcd
            if found[self.name(each)]:
                where = f"--{flag}, {each.etcd.said(flag).where}"
                self.draft.put(path, [*found[self.name(each)]], where)
            else:
                self.draft.ask(path, f"it was started without --{flag}", blocking=True)

    def _pattern_of_urls(
        self, key: str, own: str, read: Callable[[Program], Setting], default: str
    ) -> None:
        """As `_pattern`, but a member of its own has a list."""
        found = {self.name(each): read(each.etcd) for each in self.members if each.etcd}
        values = {host: setting.value for host, setting in found.items()}
        common = self._common(values, default)
        if common is not None and common == default:
            self.draft.note(("etcd", key), common, f"the layout's; {sources_of(found)}")
        elif common is not None:
            self.draft.put(("etcd", key), common, sources_of(found))
        else:
            for host, setting in found.items():
                self.draft.put(("etcd", "members", host, own), [setting.value], setting.where)

    def _certificates(self) -> None:
        """A client's certificate for etcd on each member's host: the apiserver's, or etcd's own."""
        secure = any(u.startswith("https:") for e in self.members if e.etcd
                     for u in urls(e.etcd, "advertise-client-urls"))  # fmt: skip
        if not secure:
            return
        sets = [
            _found(self, "kube-apiserver", ("etcd-cafile", "etcd-certfile", "etcd-keyfile")),
            _found(self, ETCD, ("trusted-ca-file", "cert-file", "key-file")),
        ]
        for program, files in zip(("kube-apiserver", "etcd"), sets, strict=True):
            common = {part: pattern(dict(v), self.called) for part, (v, _) in files.items()}
            if files and all(common.values()):
                whose = "etcd's own: a client's as well" if program == "etcd" else "the apiserver's"
                self._put_tls(common, {p: f"{whose}, {where}" for p, (_, where) in files.items()})
                return
        self.draft.ask(
            ("etcd", "tls"),
            "no certificate was seen that a client could use on every member: "
            "tls: {ca: …, cert: …, key: …}",
            blocking=True,
        )

    def _put_tls(self, common: Mapping[str, str | None], sources: Mapping[str, str]) -> None:
        default = self.preset.etcd.tls
        if default and dict(default) == common:
            for part, path in common.items():
                self.draft.note(("etcd", f"tls.{part}"), path, f"the layout's; {sources[part]}")
            return
        for part, path in common.items():
            self.draft.put(("etcd", "tls", part), path, sources[part])

    def _tools(self) -> None:
        """Where etcd's programs are: beside the one that runs, or in the pod's image."""
        kinds = {each.etcd.starter.kind for each in self.members if each.etcd}
        if kinds & {"pod", "docker", "podman"}:
            if self.preset.etcd.tools != "image":
                self.draft.put(("etcd", "tools"), "image", "etcd runs in a container")
            return
        found: dict[str, Setting] = {}
        for each in self.members:
            process = each.etcd.process if each.etcd else None
            if process and process.our_mounts and process.exe:
                # Its tools lie beside the name by which it was started, be that a link.
                called = process.argv[0].endswith("/etcd") and process.argv[0].startswith("/")
                path = process.argv[0] if called else process.exe.removesuffix(" (deleted)")
                source = f"process {process.pid} was started from there"
                found[self.name(each)] = Setting(posixpath.dirname(path), source)
        if self.preset.etcd.tools != "host":
            self.draft.put(("etcd", "tools"), "host", "etcd is a process of the host")
        if not found:
            self.draft.ask(("etcd", "bin_dir"), "no etcd runs: which directory has its programs?")
            return
        values = {host: setting.value for host, setting in found.items()}
        common = pattern(values, self.called, self.preset.etcd.bin_dir)
        if common is None:
            text = "; ".join(f"{host}: {value}" for host, value in values.items())
            question = f"etcd's programs are in several directories: {text}"
            self.draft.ask(("etcd", "bin_dir"), question, blocking=True)
        elif common == self.preset.etcd.bin_dir:
            self.draft.note(("etcd", "bin_dir"), common, f"the layout's; {sources_of(found)}")
        else:
            self.draft.put(("etcd", "bin_dir"), common, sources_of(found))


def _found(
    composer: Composer, program: str, flags: tuple[str, str, str]
) -> dict[str, tuple[dict[str, str], str]]:
    """{ca, cert, key: ({host: path}, source)} where every member's host has all three."""
    found: dict[str, tuple[dict[str, str], str]] = {}
    for part, flag in zip(("ca", "cert", "key"), flags, strict=True):
        paths: dict[str, str] = {}
        source = ""
        for each in composer.members:
            running = each.etcd if program == ETCD else each.program(program)
            setting = running.settings.get(flag) if running else None
            path = path_of(running, setting.value) if running and setting else ""
            if path:
                paths[composer.name(each)] = path
                source = f"--{flag}" + (f", {setting.where}" if setting else "")
        if len(paths) < len(composer.members):
            return {}
        found[part] = (paths, source)
    return found
