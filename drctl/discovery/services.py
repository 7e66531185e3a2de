"""The services of an inventory: which units, manifests or containers start what was seen."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from drctl.answer import shown
from drctl.discovery.composed import Composer
from drctl.discovery.known import path_of
from drctl.discovery.looked import APISERVER, ETCD, Looked, is_loopback
from drctl.inventory.model import ServiceFile
from drctl.inventory.presets import PRESETS
from drctl.reading import Program, Starter

_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "etcd": (ETCD,),
    "apiserver": (APISERVER,),
    "controllers": ("kube-controller-manager", "kube-scheduler"),
    "kubelet": ("kubelet",),
}
_MANAGERS = {"unit": "systemd", "pod": "static-pod", "docker": "docker", "podman": "podman"}
_PORT = 6443
_FOLDER = "/etc/kubernetes/manifests"


class Services:
    """Writes the sections `services` and `kubernetes` of a composer's draft."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self.draft = composer.draft
        self.preset = composer.preset

    def compose(self) -> None:
        kept: Mapping[str, Any] = self.composer.kept.get("services", {})
        source = f"kept from {self.composer.file}"
        for key in ("service_manager", "commands", "options", "prepare"):
            if key in self.composer.kept:
                self.draft.put((key,), self.composer.kept[key], source)
        self._manifests()
        for name in _PROGRAMS:
            if name in kept:
                self.draft.put(("services", name), kept[name], source)
            else:
                self._service(name)
        for name in kept:
            if name not in _PROGRAMS:
                self.draft.put(("services", name), kept[name], source)
        if "dependents" not in kept:
            self._dependents()

    def _manifests(self) -> None:
        folders = {
            posixpath.dirname(program.starter.name)
            for each in self.composer.known.looked
            for program in (*each.reading.running, *each.reading.written)
            if program.starter.kind == "pod" and "/" in program.starter.name
        }
        folders |= {each.reading.pods_folder for each in self.composer.known.looked} - {""}
        used = {f for f in folders if f}
        if len(used) == 1 and (only := used.pop()) != _FOLDER:
            self.draft.put(("kubernetes", "manifests"), only, "the manifests that were found")
        elif len(used) > 1:
            what = ", ".join(shown(folder, 100) for folder in sorted(used))
            question = f"manifests lie in several directories: {what}"
            self.draft.ask(("kubernetes", "manifests"), question, blocking=True)

    def _service(self, name: str) -> None:
        found = self._programs(name)
        default = self.preset.services.get(name, ServiceFile())
        path = ("services", name)
        if not found:
            if name == "etcd":
                return
            what = " or ".join(_PROGRAMS[name])
            if default.hosts or self.composer.layout == "none":
                more = " (workers are named by nobody: --host, --from)" if name == "kubelet" else ""
                # Nothing would stop controllers that are only hidden: no answer is no "none".
                blocking = name == "controllers" and bool(self._programs("apiserver"))
                question = f"no {what} was seen on these hosts{more}; null says that there is none"
                self.draft.ask(path, question, blocking=blocking)
            if default.hosts and name != "controllers":
                self.draft.put(path, None, "none was seen")
            return
        starters: dict[tuple[str, str], list[str]] = {}
        for host, program in found:
            starters.setdefault((program.starter.kind, _unit(program.starter)), []).append(host)
        kinds = {kind for kind, _ in starters}
        if len(kinds) > 1 or "process" in kinds:
            self._unclear(name, found)
            return
        units = [unit for _, unit in starters]
        if name == "kubelet" and any(e.kube_proxy for e in self.composer.known.looked):
            units.append("kube-proxy")
        self._write(name, kinds.pop(), units, found)

    def _write(
        self, name: str, kind: str, units: list[str], found: list[tuple[str, Program]]
    ) -> None:
        path = ("services", name)
        default = self.preset.services.get(name, ServiceFile())
        host, program = found[0]
        source = f"{program.where} on {host}"
        manager = _MANAGERS[kind]
        hosts = self._hosts(name, [host for host, _ in found])
        if manager != (default.manager or "systemd"):
            self.draft.put((*path, "manager"), manager, source)
        if hosts != default.hosts and name != "etcd":  # that one follows the group
            self.draft.put((*path, "hosts"), [*hosts], "where it was seen")
        if tuple(units) != default.units:
            self.draft.put((*path, "units"), units, source)
        else:
            self.draft.note(("services", f"{name}.units"), units, f"the layout's; {source}")
        if name == "apiserver":
            self._apiserver(found, default)

    def _hosts(self, name: str, seen: list[str]) -> tuple[str, ...]:
        """The groups that these hosts are, or the hosts themselves."""
        groups = self.composer.draft.data.get("groups", {})
        wanted = set(seen)
        default = self.preset.services.get(name, ServiceFile()).hosts or ()
        for choice in (default, ("etcd",), ("control_plane",), ("workers",)):
            if choice and wanted == {host for group in choice for host in groups.get(group, ())}:
                return tuple(choice)
        missing = [host for group in default for host in groups.get(group, ()) if host in wanted]
        if default and set(missing) == wanted:
            return (
                tuple(group for group in default if set(groups.get(group, ())) & wanted)
                if all(
                    set(groups.get(group, ())) <= wanted or not set(groups.get(group, ())) & wanted
                    for group in default
                )
                else tuple(seen)
            )
        return tuple(seen)

    def _apiserver(self, found: list[tuple[str, Program]], default: ServiceFile) -> None:
        ports = {program.said("secure-port", str(_PORT)).value for _, program in found}
        host, program = found[0]
        port = int(only) if len(ports) == 1 and (only := min(ports)).isdecimal() else 0
        if not 0 < port < 65536:
            what = ", ".join(shown(each, 20) for each in sorted(ports))
            question = f"the apiservers have several ports, or none: {what}"
            self.draft.ask(("services", "apiserver", "ports"), question, blocking=True)
            return
        source = f"--secure-port, {program.said('secure-port').where} on {host}"
        path = ("services", "apiserver")
        if (port,) != default.ports:
            self.draft.put((*path, "ports"), [port], source)
        if port != _PORT:
            self.draft.put(("kubernetes", "url"), f"https://{{address}}:{port}", source)
        if default.start != "first-alone":
            self.draft.put((*path, "start"), "first-alone", "drctl's choice")
        ready, whose = _ready(program, port)
        if not default.ready or port != _PORT or (ready != default.ready and "--cert" in ready):
            self.draft.put((*path, "ready"), ready, whose)
        self._administrator(program, host)

    def _administrator(self, apiserver: Program, host: str) -> None:
        """Where the layout takes the apiserver's certificate for kubelets for an administrator's,
        as kubeadm makes it: that one, by the path that it has here."""
        preset = self.preset.kubernetes
        if not preset.cert:
            return
        flags = {
            "ca": "client-ca-file",
            "cert": "kubelet-client-certificate",
            "key": "kubelet-client-key",
        }
        found = {key: _file(apiserver, flag) for key, flag in flags.items()}
        if all(found.values()) and any(getattr(preset, key) != found[key] for key in found):
            for key, path in found.items():
                source = f"--{flags[key]}, {apiserver.said(flags[key]).where} on {host}"
                self.draft.put(("kubernetes", key), path, source)

    def _unclear(self, name: str, found: list[tuple[str, Program]]) -> None:
        if self.composer.kept.get("commands"):
            return
        what = "; ".join(f"{host}: {program.where}" for host, program in found[:5])
        self.draft.ask(
            ("services", name, "units"),
            f"what stops and starts it is no one unit, manifest or container ({what}): write "
            "units and manager, or manager: command with `commands`",
            blocking=True,
        )

    def _programs(self, name: str) -> list[tuple[str, Program]]:
        found: list[tuple[str, Program]] = []
        for program in _PROGRAMS[name]:
            for each in self.composer.known.looked:
                one = each.etcd if program == ETCD else each.program(program)
                if one:
                    found.append((self.composer.name(each), one))
        return found

    def _dependents(self) -> None:
        others = sorted(
            {
                address
                for each in self.composer.known.looked
                for address, _ in each.reading.evidence.clients
                if not is_loopback(address) and not self._is_ours(address)
            }
        )
        seen = f"; {', '.join(others[:10])} are connected to it now" if others else ""
        self.draft.ask(
            ("services", "dependents"),
            "what else uses this etcd and must be stopped first (backup timers, Calico, Patroni)? "
            f"No node tells{seen}. null says that there is none",
        )

    def _is_ours(self, address: str) -> bool:
        return any(address in each.addresses for each in self.composer.known.looked)


def _unit(starter: Starter) -> str:
    if starter.kind == "pod":
        return posixpath.splitext(posixpath.basename(starter.name))[0]
    return starter.name.removesuffix(".service")


def _file(program: Program, flag: str) -> str:
    """A file that a flag names, as the host calls it; "" for none."""
    return path_of(program, program.said(flag).value)


def _ready(apiserver: Program, port: int) -> tuple[str, str]:
    """A question that the apiserver answers once it serves, and where its certificate is from."""
    files = [_file(apiserver, f"kubelet-client-{part}") for part in ("certificate", "key")]
    ask = f"https://{{address}}:{port}/readyz"
    plain = all(path and all(c.isalnum() or c in "/._-" for c in path) for path in files)
    if not plain:
        return f"curl -fsk --max-time 5 {ask}", "without a certificate: none was seen"
    where = "--kubelet-client-certificate of the apiserver"
    return f"curl -fsk --max-time 5 --cert {files[0]} --key {files[1]} {ask}", where


def layouts(looked: list[Looked]) -> list[str]:
    """The layouts that may be meant, the plainest last. One with a control plane needs one."""
    control = any(each.program(APISERVER) for each in looked)
    named = [name for name in PRESETS if name != "none"]
    return [*(named if control else []), "none"]
