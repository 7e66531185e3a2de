"""The driver `docker`: a lab as a compose project, from templates to the last removed volume."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from docker import DockerClient

from drctl.errors import Refused, StepFailed, UsageError
from drctl.lab import certs, labfile, labs, processes
from drctl.lab.docker import contents, engine, flavours, free_ports, images, manifests
from drctl.lab.docker import kubernetes as programs
from drctl.lab.docker.layout import (
    APISERVER_PORT,
    CLIENT_PORT,
    SSH_PORT,
    USER,
    DockerLab,
    EtcdTools,
    Node,
    Shape,
    require,
)
from drctl.lab.docker.machine import File, Machine
from drctl.lab.docker.site import DockerSite
from drctl.lab.labs import LabStatus, NodeStatus, Say
from drctl.lab.layout import resolve
from drctl.lab.processes import ProcessRecord
from drctl.lab.site import HostRole

_TRIES = 3  # for a subnet and ports that someone else takes at the same moment
_FIRST = {"node": 11, "spare": 101, "worker": 201}  # the last byte of a machine's address


def up(
    directory: Path,
    *,
    members: int = 3,
    workers: int = 1,
    spares: int = 0,
    flavour: str = "systemd",
    kubernetes: str = "none",
    data_size: str | None = None,
    separate_wal: bool = False,
    etcd_tools: EtcdTools = "image",
    etcd: Path | None = None,
    keys: int = 200,
    value_size: int = 256,
    say: Say,
) -> LabStatus:
    """Start a lab of that `Shape` in `directory` and fill it with `keys` values.

    `kubernetes` is a folder of its programs, "build" or "none". What an earlier lab left behind
    there is cleaned first; a lab that runs is Refused. When something fails everything is
    removed again.
    """
    directory = resolve(directory)
    shape = Shape(members, workers, spares, flavour, None, data_size, separate_wal, etcd_tools)
    _check(shape, kubernetes)
    engine.check_compose()
    client = engine.connect()
    labs.make_room(directory, say)
    for project in engine.orphans(client):
        say(f"remove the leftover lab: docker compose -p {project} down --volumes")
    base = images.base(say)
    shape = replace(shape, kubernetes=_kubernetes(kubernetes, flavour, base, say))
    tools = images.etcd_tools(client, etcd, base, say)
    for attempt in range(1, _TRIES + 1):
        lab = _claimed(client, directory, shape, tools)
        try:
            _bring_up(client, lab, base, say)
            contents.fill(lab, keys, value_size)
            say(f"{keys} keys of {value_size} bytes written")
            lab.state = "up"
            lab.save()
            break
        except engine.PlaceTaken:
            _remove(client, lab)
            if attempt == _TRIES:
                raise
            say("our subnet or a port was taken meanwhile: trying again")
        except BaseException as error:
            said = _with_logs(client, lab, error)
            _remove(client, lab)
            if said is error:
                raise
            raise said from error
    say(f"lab is up: {lab.inventory}")
    return status(directory)


def down(directory: Path, say: Say) -> None:
    """Remove containers, network, volumes and the directory. Refused where there is no lab."""
    lab = require(directory)
    _remove(engine.connect(), lab)
    say(f"lab is gone: {lab.directory}")


def status(directory: Path) -> LabStatus:
    """The lab's nodes, endpoints and paths; Refused where there is no lab."""
    lab = require(directory)
    return {
        "nodes": [_node_status(lab, node) for node in lab.nodes],
        "etcd": {
            "endpoints": [node.client_url for node in lab.having("etcd")],
            "cacert": str(lab.etcd.ca),
            "cert": str(lab.etcd.cert),
            "key": str(lab.etcd.key),
            "etcdctl": str(Path(lab.tools) / "etcdctl"),
        },
        "known_hosts": str(lab.known_hosts),
    }


def is_up(directory: Path) -> bool:
    """Whether the lab there runs, or is being started by a process that still lives."""
    lab = require(directory)
    if lab.state == "starting":
        return lab.maker is not None and lab.maker.alive()
    return engine.runs(engine.connect(), lab)


def ssh_argv(directory: Path, node: str) -> list[str]:
    """The command line of the system's ssh client for `node`; append a command to run one."""
    lab = require(directory)
    chosen = lab.node(node)
    client = shutil.which("ssh")
    if client is None:
        raise Refused("no ssh client on PATH", hint="install your system's openssh-client")
    options = {
        "UserKnownHostsFile": lab.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    where = ["-p", str(chosen.ssh_port), f"{USER}@127.0.0.1"]
    return [client, "-F", "/dev/null", "-i", str(lab.key), *flags, *where]


def site(directory: Path) -> DockerSite:
    """The running lab as drills see it."""
    return DockerSite(require(directory), engine.connect())


def _check(shape: Shape, kubernetes: str) -> None:
    if flavours.way(shape.flavour).needs_kubernetes and kubernetes == "none":
        raise UsageError(
            f"flavour {shape.flavour} needs Kubernetes",
            hint="add --kubernetes build, or --kubernetes DIR with a release's binaries",
        )
    if not 1 <= shape.members <= 9 or not 0 <= shape.spares <= 9 or not 0 <= shape.workers <= 9:
        raise UsageError("a lab has 1 to 9 members, and at most 9 workers and 9 spare machines")


def _kubernetes(wanted: str, flavour: str, base: str, say: Say) -> str | None:
    """The folder of Kubernetes' programs, None for none."""
    if wanted == "none":
        return None
    if wanted == "build":
        return str(programs.built(lambda: base, say).directory)
    return str(programs.given(Path(wanted), flavours.way(flavour).needs).directory)


def _claimed(client: DockerClient, directory: Path, shape: Shape, tools: Path) -> DockerLab:
    subnet = free_ports.free_subnet(engine.subnets(client))
    lab = DockerLab(
        directory=directory,
        id=secrets.token_hex(4),
        shape=shape,
        subnet=str(subnet),
        nodes=_nodes(shape, str(subnet.network_address)),
        tools=str(tools),
        maker=ProcessRecord("drctl lab up", os.getpid(), processes.started(os.getpid())),
    )
    labfile.claim(directory, lab.body)
    return lab


def _nodes(shape: Shape, network: str) -> tuple[Node, ...]:
    cluster: list[HostRole] = ["etcd", "control_plane"]
    kinds: list[tuple[str, int, list[HostRole]]] = [
        ("node", shape.members, cluster),
        ("worker", shape.workers, ["worker"]),
        ("spare", shape.spares, ["spare"]),
    ]
    planned = [
        (f"{kind}-{number}", f"{network.rpartition('.')[0]}.{_FIRST[kind] + number - 1}", roles)
        for kind, count, roles in kinds
        for number in range(1, count + 1)
    ]
    inside = {
        name: (SSH_PORT,) if "worker" in roles else (SSH_PORT, CLIENT_PORT, APISERVER_PORT)
        for name, _, roles in planned
    }
    outside = iter(free_ports.free_ports(sum(map(len, inside.values()))))
    member_name = flavours.way(shape.flavour).member_name
    return tuple(
        Node(
            name,
            tuple(roles),
            address,
            ports={port: next(outside) for port in inside[name]},
            member_name=member_name.format(host=name, address=address),
            blank="spare" in roles,
        )
        for name, address, roles in planned
    )


def _bring_up(client: DockerClient, lab: DockerLab, base: str, say: Say) -> None:
    chosen = flavours.way(lab.shape.flavour)
    blank = images.machine(client, base, say)
    carried = chosen.programs(lab)
    lab.images = {"machine": blank, "node": images.node(client, blank, carried, say)}
    lab.save()
    lab.compose_file.write_text(manifests.compose(lab))
    say(f"starting {len(lab.nodes)} machines in {lab.subnet} (project {lab.project})")
    engine.start(lab)
    machines = {node.name: Machine(lab, node, client) for node in lab.nodes}
    with ThreadPoolExecutor(len(machines)) as pool:
        list(pool.map(Machine.wait_booted, machines.values()))
    say("machines have booted")
    _let_in(lab, list(machines.values()))
    lab.inventory.write_text(manifests.inventory(lab))
    chosen.start(lab, machines, say)


def _with_logs(client: DockerClient, lab: DockerLab, error: BaseException) -> BaseException:
    """The error to raise: a failure on a machine gets the end of that machine's log."""
    if not isinstance(error, StepFailed):
        return error
    told = str(error)
    tails = []
    for node in lab.nodes:
        if node.name in told:
            with contextlib.suppress(StepFailed):
                log = Machine(lab, node, client).sh("journalctl -q --no-pager -n 30")
                tails.append(f"--- log of {node.name}\n{log.output.rstrip()}")
    return StepFailed("\n".join([f"lab did not come up: {told}", *tails]), hint=error.hint)


def _let_in(lab: DockerLab, machines: Sequence[Machine]) -> None:
    """The operator's key into every machine, and every machine's host key to the operator."""
    public = certs.new_ssh_key(lab.key)
    lab.key.with_suffix(".pub").write_text(public + "\n")

    def one(machine: Machine) -> str:
        machine.put({f"/home/{USER}/.ssh/authorized_keys": File(f"{public}\n".encode())})
        host_key = machine.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").output
        return f"[127.0.0.1]:{machine.node.ssh_port} {host_key}"

    with ThreadPoolExecutor(len(machines)) as pool:
        lab.known_hosts.write_text("".join(pool.map(one, machines)))


def _node_status(lab: DockerLab, node: Node) -> NodeStatus:
    return {
        "name": node.name,
        "ssh_host": "127.0.0.1",
        "ssh_port": node.ssh_port,
        "services": flavours.way(lab.shape.flavour).services(lab, node),
        "data_dir": lab.data_dir if node.has("etcd") else "",
        "wal_dir": lab.wal_dir if node.has("etcd") else None,
    }


def _remove(client: DockerClient, lab: DockerLab) -> None:
    engine.remove(client, lab)
    labfile.remove(lab.directory)
