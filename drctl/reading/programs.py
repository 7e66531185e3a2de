"""The programs of a host: how each runs now, and how it would be started again. Both are kept, as
a unit that was edited and not restarted makes them differ, and a restore restarts."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from drctl.answer import shown
from drctl.reading.evidence import Evidence, Process
from drctl.reading.pods import Mounts, Pod, outside, read_pods
from drctl.reading.settings import Setting, Settings, Told, etcd_told, flags
from drctl.reading.units import Unit, arguments, environment_of, read_units

ETCD = "etcd"
PROGRAMS = (ETCD, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
StarterKind = Literal["unit", "pod", "docker", "podman", "process"]
UNKNOWN = Setting("", "")
_DATABASE = "/member/snap/db"


@dataclass(frozen=True)
class Starter:
    """Who starts a program: a unit by its name, a pod by its manifest's path, a container by its
    name; a process is one whose starter was not seen."""

    kind: StarterKind
    name: str

    def __str__(self) -> str:
        words = {"unit": "unit ", "pod": "static pod ", "process": ""}
        return f"{words.get(self.kind, f'{self.kind} container ')}{shown(self.name, 200)}"


@dataclass(frozen=True)
class Program:
    """One program: as it runs (`process`), or as it would be started (None). `data_dir` and
    `wal_dir` are etcd's, as the host calls them: "" where they are not known, `wal_dir` None where
    etcd keeps its WAL in the data directory. `user` is uid:gid or a name, "" for not known."""

    name: str
    starter: Starter
    settings: Settings = field(default_factory=dict)
    unread: str = ""
    process: Process | None = None
    data_dir: Setting = UNKNOWN
    wal_dir: Setting | None = None
    user: str = ""
    image: str = ""
    start_seconds: float | None = None
    mounts: Mounts = ()

    @property
    def where(self) -> str:
        """For people: what it was read from."""
        if self.process:
            return f"process {self.process.pid}, {self.starter}"
        return f"{self.starter}, as it would start"

    def said(self, flag: str, default: str = "") -> Setting:
        return self.settings.get(flag, Setting(default, self.where))


@dataclass(frozen=True)
class Reading:
    """What one host shows. `unread` says in words what could not be read; `pods_folder` is the
    running kubelet's, "" for not known."""

    host: str
    evidence: Evidence
    running: tuple[Program, ...]
    written: tuple[Program, ...]
    units: tuple[Unit, ...]
    pods_folder: str
    unread: tuple[str, ...]


def read_host(evidence: Evidence) -> Reading:
    """Explain what a host showed."""
    units = read_units(evidence.units)
    folders = [p.manifests for p in evidence.processes if p.manifests and p.our_network]
    folder = folders[0].rstrip("/") if folders else ""
    # What lies elsewhere, in the inventory's folder too, is started by nobody.
    ours = {p: t for p, t in evidence.manifests.items() if not folder or _lies_in(p, folder)}
    pods, unread = read_pods(ours, PROGRAMS)
    containers = _containers(evidence)
    running = [
        program
        for process in evidence.processes
        if (program := _running(process, units, pods, containers))
    ]
    return Reading(
        host=evidence.host,
        evidence=evidence,
        running=tuple(running),
        written=(
            *_of_units(evidence, units),
            *(_of_pod(pod) for pod in pods),
            *(container.program for container in containers.values()),
        ),
        units=units,
        pods_folder=folder,
        unread=tuple(unread),
    )


def _lies_in(path: str, folder: str) -> bool:
    return posixpath.dirname(path) == folder


# -- as it runs -----------------------------------------------------------------------------------


def _program_of(process: Process) -> str:
    for word in (process.argv[0], process.exe.removesuffix(" (deleted)")):
        if word.rpartition("/")[2] in PROGRAMS:
            return word.rpartition("/")[2]
    return ETCD if process.db else ""


def _running(
    process: Process,
    units: tuple[Unit, ...],
    pods: list[Pod],
    containers: Mapping[str, _Container],
) -> Program | None:
    """None for what is not this host's own: a program with a network of its own, in a pod or in a
    machine made of a container, but for etcd's own container; a name that another program's child
    has."""
    name = _program_of(process)
    if not name or not (process.our_network or process.container in containers):
        return None
    where = f"arguments of process {process.pid}"
    environment = {
        key: (value, f"environment of process {process.pid}")
        for key, value in process.environment.items()
    }
    if name == ETCD:
        file = flags(process.argv[1:], where).get("config-file")
        path = file.value if file else process.environment.get("ETCD_CONFIG_FILE", "")
        told = etcd_told(process.argv[1:], where, environment, {path: process.config})
    else:
        told = Told(flags(process.argv[1:], where))
    starter, mounts = _starter(process, name, pods, containers)
    unit = next((unit for unit in units if unit.name == process.unit), None)
    data, wal = _open_directories(process, told.settings, mounts)
    return Program(
        name=name,
        starter=starter,
        settings=told.settings,
        unread=told.unread,
        process=process,
        data_dir=data,
        wal_dir=wal,
        user=process.user,
        start_seconds=unit.start_seconds if unit else None,
        mounts=mounts,
    )


def _starter(
    process: Process, name: str, pods: list[Pod], containers: Mapping[str, _Container]
) -> tuple[Starter, Mounts]:
    if process.container in containers:
        found = containers[process.container]
        return found.program.starter, found.program.mounts
    if process.in_pod:
        for pod in pods:
            if pod.program == name:
                return Starter("pod", pod.path), pod.mounts
        return Starter("pod", "of no manifest that was found"), ()
    if process.unit:
        return Starter("unit", process.unit), ()
    return Starter("process", f"started by {process.parent_comm or 'nobody'}"), ()


def _open_directories(
    process: Process, settings: Settings, mounts: Mounts
) -> tuple[Setting, Setting | None]:
    """Where the data and the WAL are: the files that are open tell, else what it was told."""
    opened = f"open in process {process.pid}"
    data = UNKNOWN
    if process.db.endswith(_DATABASE):
        data = Setting(process.db.removesuffix(_DATABASE), opened)
    elif "data-dir" in settings:
        data = _on_host(settings["data-dir"], process.cwd, process.our_mounts, mounts)
    wal: Setting | None = None
    if process.wal:
        folder = posixpath.dirname(process.wal)
        wal = None if folder == f"{data.value}/member/wal" else Setting(folder, opened)
    elif "wal-dir" in settings:
        wal = _on_host(settings["wal-dir"], process.cwd, process.our_mounts, mounts)
    return data, wal


def _on_host(setting: Setting, cwd: str, ours: bool, mounts: Mounts) -> Setting:
    path = posixpath.normpath(posixpath.join(cwd or "/", setting.value))
    return Setting(path if ours else outside(path, mounts), setting.where)


# -- as it would be started -----------------------------------------------------------------------


def _of_units(evidence: Evidence, units: tuple[Unit, ...]) -> Iterator[Program]:
    files = {path: dict(found) for path, found in evidence.environment_files.items()}
    configs: dict[str, str | None] = dict(evidence.config_files)
    for unit in units:
        environment = environment_of(unit, files)
        plain = {name: value for name, (value, _) in environment.items()}
        for name in PROGRAMS:
            words = next(
                (
                    found
                    for command in unit.commands
                    if (found := arguments(command, name, plain)) is not None
                ),
                None,
            )
            if words is None or not unit.found:
                continue
            where = f"ExecStart= of {unit.name}"
            if name == ETCD:
                told = etcd_told(words, where, environment, configs)
            else:
                told = Told(flags(words, where))
            yield _as_written(
                name, Starter("unit", unit.name), told, cwd=unit.working_directory, unit=unit
            )
            break


def _as_written(
    name: str,
    starter: Starter,
    told: Told,
    *,
    cwd: str = "",
    mounts: Mounts = (),
    ours: bool = True,
    unit: Unit | None = None,
    user: str = "",
    image: str = "",
) -> Program:
    settings = told.settings
    data, wal = UNKNOWN, None
    if name == ETCD and not told.unread:
        own = settings.get("name", Setting("default", "etcd's default"))
        default = Setting(f"{own.value}.etcd", "etcd's default")
        data = _on_host(settings.get("data-dir", default), cwd, ours, mounts)
        if "wal-dir" in settings:
            wal = _on_host(settings["wal-dir"], cwd, ours, mounts)
    return Program(
        name=name,
        starter=starter,
        settings=settings,
        unread=told.unread,
        data_dir=data,
        wal_dir=wal,
        user=unit.user if unit else user,
        image=image,
        start_seconds=unit.start_seconds if unit else None,
        mounts=mounts,
    )


def _of_pod(pod: Pod) -> Program:
    where = f"manifest {pod.path}"
    words = _after(pod.argv, pod.program)
    if pod.program == ETCD:
        environment = {name: (value, where) for name, value in pod.environment.items()}
        told = etcd_told(words, where, environment, {})
    else:
        told = Told(flags(words, where))
    starter = Starter("pod", pod.path)
    return _as_written(
        pod.program, starter, told, mounts=pod.mounts, ours=False, user=pod.user, image=pod.image
    )


def _after(argv: tuple[str, ...], program: str) -> list[str]:
    """The arguments after the program's name, also within those of a shell."""
    words = [part for word in argv for part in (word.split() if " " in word else [word])]
    for at, word in enumerate(words):
        if word.rpartition("/")[2] == program:
            return words[at + 1 :]
    return words


# -- containers of an engine ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Container:
    id: str
    program: Program


def _containers(evidence: Evidence) -> dict[str, _Container]:
    """{id: container}, of what `docker inspect` and `podman inspect` said."""
    found = {}
    for engine, text, environment in evidence.containers:
        try:
            told = json.loads(text)
        except ValueError:
            continue
        if isinstance(told, dict) and isinstance(told.get("id"), str):
            found[told["id"]] = _container(engine, told, environment)
    return found


def _container(engine: str, told: dict[str, Any], environment: Mapping[str, str]) -> _Container:
    name = str(told.get("name", "")).lstrip("/")
    where = f"{engine} container {name}"
    argv = [
        str(word)
        for part in (told.get("entrypoint"), told.get("command"))
        for word in (part if isinstance(part, list) else [part] if isinstance(part, str) else [])
    ]
    mounts = tuple(
        sorted(
            (
                (str(mount.get("Destination", "")).rstrip("/"), str(mount.get("Source", "")))
                for mount in told.get("mounts") or ()
                if isinstance(mount, dict)
            ),
            key=lambda pair: -len(pair[0]),
        )
    )
    known = {key: (value, where) for key, value in environment.items()}
    words = _after(tuple(argv), ETCD)
    program = _as_written(
        ETCD,
        Starter("podman" if engine == "podman" else "docker", name),
        etcd_told(words, where, known, {}),
        mounts=mounts,
        ours=False,
        user=str(told.get("user") or ""),
        image=str(told.get("image") or ""),
    )
    return _Container(told["id"], program)
