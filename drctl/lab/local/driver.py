"""The embedded lab (driver "local"): a cluster on loopback, without root and without Docker.

Every host has an address 127.A.B.N with the standard ports, a directory tree, an SSH server with
its own host key, and a supervisor that runs etcd and a stand-in for the apiserver.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drctl.errors import Aborted, DrctlError, Refused, StepFailed, UsageError
from drctl.lab import binaries, data, labs, layout, processes
from drctl.lab.gateway import GatewayError
from drctl.lab.labs import LabStatus, NodeStatus, Say
from drctl.lab.layout import Lab, LabHost
from drctl.lab.local import addresses, boot, build, sshserver
from drctl.lab.local.site import LocalSite
from drctl.lab.site import Site
from drctl.lab.waiting import until

LONGEST_CLUSTER = 9
_READY_SECONDS = 60.0
_LOG_LINES = 15


def up(
    directory: Path,
    *,
    members: int = 3,
    etcd: Path | None = None,
    keys: int = 200,
    value_size: int = 256,
    separate_wal: bool = False,
    say: Say,
    ssh_server: str = "auto",
) -> LabStatus:
    """Start a lab of `members` hosts in `directory` and fill it with `keys` values of
    `value_size` bytes; with `separate_wal` every etcd keeps its WAL in a directory of its own.

    What an earlier lab left behind there is cleaned first; a lab that runs is Refused. When
    something fails everything is ended and removed again, and StepFailed shows the log's tail.
    `ssh_server` is "auto", "openssh" or "asyncssh".
    """
    if not 1 <= members <= LONGEST_CLUSTER:
        raise UsageError(f"a lab has 1 to {LONGEST_CLUSTER} members, not {members}")
    directory = layout.resolve(directory)
    if importlib.util.find_spec("supervisor") is None:
        raise Refused(
            "the package supervisor is not installed",
            hint="in a clone of drctl: pipx install '.[lab]', or make setup",
        )
    tools = binaries.find(etcd)
    labs.make_room(directory, say)
    names = [f"node-{number}" for number in range(1, members + 1)]
    chosen = addresses.pick(names, layout.PORTS)
    lab = layout.create(directory, secrets.token_hex(16), chosen, separate_wal=separate_wal)
    try:
        _start(lab, tools, say, ssh_server)
        _fill(lab, keys, value_size, say)
        lab.state = "up"
        lab.save()
    except BaseException as error:
        said = _with_logs(lab, error)
        _remove(lab)
        if said is error:
            raise
        raise said from error
    say(f"lab is up: {lab.inventory}")
    return status(directory)


def down(directory: Path, say: Say) -> None:
    """End every process of the lab in `directory` and remove the directory.

    Refused where there is no lab; StepFailed when a process survives SIGKILL.
    """
    lab = layout.require(directory)
    _remove(lab)
    say(f"lab is gone: {lab.directory}")


def status(directory: Path) -> LabStatus:
    """The lab's nodes, endpoints and paths; Refused where there is no lab."""
    lab = layout.require(directory)
    first = lab.hosts[0]
    return {
        "nodes": [_node(host) for host in lab.hosts],
        "etcd": {
            "endpoints": [host.client_url for host in lab.hosts],
            "cacert": str(first.ca),
            "cert": str(first.cert),
            "key": str(first.key),
            "etcdctl": str(first.bin_dir / "etcdctl"),
        },
        "known_hosts": str(lab.known_hosts),
    }


def ssh_argv(directory: Path, node: str) -> list[str]:
    """The command line of the system's ssh client for `node`; append a command to run one."""
    lab = layout.require(directory)
    host = lab.host(node)
    client = shutil.which("ssh")
    if client is None:
        raise Refused("no ssh client on PATH", hint="install your system's openssh-client")
    return sshserver.client_argv(lab, host, client)


def site(directory: Path) -> Site:
    """The running lab as breaks, drills and proofs see it."""
    return LocalSite(layout.require(directory).directory)


def is_up(directory: Path) -> bool:
    """Whether the lab there was started whole and all of its processes still run."""
    lab = layout.require(directory)
    return lab.state == "up" and all(record.alive() for record in lab.processes)


def _node(host: LabHost) -> NodeStatus:
    return {
        "name": host.name,
        "ssh_host": host.address,
        "ssh_port": layout.SSH_PORT,
        "services": list(layout.UNITS),
        "data_dir": str(host.data_dir),
        "wal_dir": str(host.wal_dir) if host.wal_dir else None,
    }


def _start(lab: Lab, tools: Path, say: Say, ssh_server: str) -> None:
    found = ".".join(map(str, binaries.version(tools / "etcd"))) or "unknown version"
    say(f"{len(lab.hosts)} hosts on {', '.join(lab.addresses.values())}, etcd {found}")
    build.write_files(lab, tools)
    for host in lab.hosts:
        boot.start_units(lab, host)
    _start_ssh(lab, say, ssh_server)
    for host in lab.hosts:
        _await(lab, partial(_etcd_answers, host), f"{host.name}: etcd")
    say("etcd is healthy")
    for host in lab.hosts:
        _await(lab, partial(data.stand_in_ready, host), f"{host.name}: apiserver stand-in")


def _start_ssh(lab: Lab, say: Say, ssh_server: str) -> None:
    *first, last = sshserver.candidates(lab, ssh_server)
    for server in first:
        try:
            return _serve_ssh(lab, server, say, seconds=10.0)
        except StepFailed as error:
            say(f"{server.name} does not work here ({error}): trying {last.name}")
            _end_ssh(lab)
    return _serve_ssh(lab, last, say, seconds=_READY_SECONDS)


def _serve_ssh(lab: Lab, server: sshserver.ServerProgram, say: Say, *, seconds: float) -> None:
    for host in lab.hosts:
        boot.start_ssh(lab, host, server)
    for host in lab.hosts:
        _await(lab, partial(sshserver.answers, lab, host), f"{host.name}: sshd", seconds)
    lab.ssh_server = server.name
    lab.save()
    say(f"ssh answers ({server.name})")


def _end_ssh(lab: Lab) -> None:
    ended = [record for record in lab.processes if record.what.endswith(" sshd")]
    for record in ended:
        processes.end(record)
        lab.processes.remove(record)
    lab.save()


def _await(lab: Lab, ready: Callable[[], bool], what: str, seconds: float | None = None) -> None:
    """Wait for `ready`, for no longer than everything that was started still runs."""

    def alive_and_ready() -> bool:
        for record in lab.processes:
            if not record.alive():
                raise StepFailed(f"{record.what} exited")
        return ready()

    until(alive_and_ready, seconds or _READY_SECONDS, what)


def _etcd_answers(host: LabHost) -> bool:
    try:
        with data.gateway(host) as gateway:
            return gateway.revision() > 0
    except GatewayError:
        return False


def _fill(lab: Lab, keys: int, value_size: int, say: Say) -> None:
    with data.gateway(lab.hosts[0]) as gateway:
        revision = data.fill(gateway, keys, value_size)
    say(f"{keys} keys of {value_size} bytes written, revision {revision}")


def _with_logs(lab: Lab, error: BaseException) -> BaseException:
    """The error to raise: a failure gets the end of the log that explains it."""
    if isinstance(error, Aborted) or not isinstance(error, DrctlError | OSError):
        return error
    hosts = [host for host in lab.hosts if host.name in str(error)] or list(lab.hosts)
    tails = [_tail(path) for path in sorted(hosts[0].log_dir.glob("*")) if path.stat().st_size]
    hint = error.hint if isinstance(error, DrctlError) else None
    return StepFailed("\n".join([f"lab did not come up: {error}", *tails]), hint=hint)


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"--- {path.name}", *lines])


def _remove(lab: Lab) -> None:
    left = processes.end_all(lab.processes, lab.id)
    if left:
        raise StepFailed(
            f"processes of the lab survived SIGKILL: {sorted(left)}",
            hint=f"run again once they are gone: drctl lab down --dir {lab.directory}",
        )
    lab.remove_files()
