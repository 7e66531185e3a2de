"""From a running cluster, or another tool's file, to an inventory: `drctl inventory discover`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from drctl.answer import AnswerError, parse, shown
from drctl.discovery.inventories import Discovered, discovered
from drctl.discovery.known import Known
from drctl.discovery.looked import Looked, Named, look_at, named
from drctl.discovery.membership import to_ask, with_list
from drctl.discovery.told import Listed, Machine, Told
from drctl.errors import (
    AuthRefused,
    DrctlError,
    HostKeyChanged,
    HostUnavailable,
    Refused,
    UsageError,
)
from drctl.inventory import Host, Inventory, inventory_of
from drctl.plan.planner import host_context
from drctl.render import render_script
from drctl.runs.controller import Controller
from drctl.transport import Script, Transport
from drctl.ui.console import tell

MOST_NAMED = 16
"""Hosts that others name and that are asked about at once: etcd has seven members at the most."""
_ROUNDS = 4
_DEADLINE = 60.0


@dataclass(frozen=True)
class Wanted:
    """What was typed. `template` has the user, port, key, jump and become for hosts that no file
    describes. `agree` is asked before a host is contacted that only a node names."""

    hosts: tuple[Machine, ...]
    template: Machine
    listed: Listed | None = None
    cluster: str | None = None
    known_hosts: Path | None = None
    agree: Callable[[str], bool] = field(default=lambda _: False)


@dataclass
class _Seen:
    looked: dict[str, Looked] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    errors: dict[str, HostUnavailable | AnswerError] = field(default_factory=dict)


def discover(controller: Controller, wanted: Wanted) -> Discovered:
    """Look at the hosts given, then at those that they name, where the operator agrees; etcd itself
    is asked for its members. Changes nothing there. Raises UsageError where no host is given, and
    the error of one of them where none could be looked at: HostUnavailable, or Refused."""
    machines = [*(wanted.listed.machines if wanted.listed else ()), *wanted.hosts]
    machines = [machine for machine in machines if machine.roles or machine in wanted.hosts]
    if not machines:
        raise UsageError("no host to look at", hint="name one: --host ADDRESS, or a file: --from")
    seen = _Seen()
    _look(controller, wanted, machines, seen)
    unseen: list[Named] = []
    for _ in range(_ROUNDS):
        unseen = named([*seen.looked.values()])[:MOST_NAMED]
        fresh = [one for one in unseen if one.address not in seen.machines]
        if not fresh or not seen.looked or not wanted.agree(_question(fresh, wanted.template)):
            break
        _look(controller, wanted, [_machine(one, wanted.template) for one in fresh], seen)
    if not seen.looked:
        raise _why_nothing(seen)
    return discovered(_known(wanted, seen, [*_unseen(seen)][:MOST_NAMED]))


def _why_nothing(seen: _Seen) -> DrctlError:
    error = next(iter(seen.errors.values()))
    if isinstance(error, AnswerError):  # nothing was changed: no failed step
        return Refused(error.message, host=error.host, hint=error.hint)
    return error


def _unseen(seen: _Seen) -> Iterator[Named]:
    """The hosts that are named and were not looked at, each with the reason."""
    at = {m.address.value if m.address else name: name for name, m in seen.machines.items()}
    at |= {m.cluster_address.value: n for n, m in seen.machines.items() if m.cluster_address}
    for one in named([*seen.looked.values()]):
        name = at.get(one.address)
        if name is None:
            yield one
        elif not seen.machines[name].roles:
            reached = isinstance(seen.errors.get(name), HostKeyChanged | AuthRefused | AnswerError)
            yield replace(one, why=seen.silent.get(name, ""), reached=reached)


def _question(fresh: Sequence[Named], template: Machine) -> str:
    lines = [f"  {one.address}  ({one.source})" for one in fresh]
    user = f" as {template.user.value}" if template.user else ""
    return "\n".join(
        ["these hosts are named by the others:", *lines, f"look at them{user} by SSH?"]
    )


def _machine(one: Named, template: Machine) -> Machine:
    return replace(
        template, name=one.address, source=one.source, address=Told(one.address, one.source)
    )


def _look(controller: Controller, wanted: Wanted, machines: Sequence[Machine], seen: _Seen) -> None:
    """Ask each; one that does not answer is kept with the reason."""
    inventory = _way(wanted, [*seen.machines.values(), *machines])
    with closing(controller.connect(inventory)) as transport:

        def ask(machine: Machine) -> Looked | HostUnavailable | AnswerError:
            try:
                script = _script(inventory.hosts[machine.name])
                result = transport.run(machine.name, script, deadline=_DEADLINE)
                if not result.ok:
                    raise AnswerError(shown(result.complaint, 200), host=machine.name)
                looked = look_at(machine, parse(result.stdout, machine.name))
            except (HostUnavailable, AnswerError) as error:
                return error
            return _with_members(transport, inventory.hosts[machine.name], looked)

        with ThreadPoolExecutor(max_workers=controller.at_once(inventory)) as pool:
            answers = list(pool.map(ask, machines))
    for machine, answer in zip(machines, answers, strict=True):
        seen.machines[machine.name] = machine
        if isinstance(answer, Looked):
            _keep(seen, machine, answer)
            continue
        if isinstance(answer, HostUnavailable):
            answer.hint = _hint(answer, machine)
        seen.errors[machine.name] = answer
        seen.silent[machine.name] = answer.message
        tell(f"warning: {machine.name}: {answer.message}")
        if isinstance(answer, HostUnavailable) and answer.hint:
            tell(f"hint: {answer.hint}")


def _with_members(transport: Transport, host: Host, looked: Looked) -> Looked:
    """Asks the etcd that runs there who belongs to its cluster; where it cannot, the reason."""
    found = to_ask(looked)
    if isinstance(found, str):
        return replace(looked, unasked=found)
    name = found.members[0].host
    script = render_script("etcd/members", **host_context(found, name))
    env = {"DRCTL_RUN": "discover", "DRCTL_HOST": name, "DRCTL_WORK": host.work_dir}
    try:
        result = transport.run(looked.machine.name, script, env, deadline=_DEADLINE)
        if not result.ok:
            return replace(looked, unasked=shown(result.complaint, 200))
        return with_list(looked, parse(result.stdout, looked.machine.name))
    except (HostUnavailable, AnswerError) as error:
        return replace(looked, unasked=error.message)


def _script(host: Host) -> Script:
    return render_script(
        "node/discover",
        host=host,
        kubernetes={"manifests": "/etc/kubernetes/manifests"},
        services=(),
        member=None,
        client_ports=["094B"],  # 2379, as the kernel writes it
    )


def _keep(seen: _Seen, machine: Machine, looked: Looked) -> None:
    """One member answers at one address only: what is named twice is the same machine."""
    for other in seen.looked.values():
        if looked.peer_urls and looked.peer_urls == other.peer_urls:
            tell(f"{machine.name} is {other.machine.name} by another address: left out")
            return
    seen.looked[machine.name] = looked


def _hint(error: HostUnavailable, machine: Machine) -> str | None:
    if isinstance(error, HostKeyChanged) and error.hint and error.hint.endswith("drctl trust"):
        return f"{error.hint} --host {machine.address.value if machine.address else machine.name}"
    return error.hint


def _way(wanted: Wanted, machines: Sequence[Machine]) -> Inventory:
    """An inventory of hosts alone, so that they are reached as those of any other."""
    return provisional([*(wanted.listed.machines if wanted.listed else ()), *machines],
                       wanted.known_hosts)  # fmt: skip


def provisional(machines: Sequence[Machine], known_hosts: Path | None) -> Inventory:
    """The way to `machines`, as an inventory that has nothing but hosts."""
    hosts = {}
    for machine in machines:
        told = {
            key: told.value
            for key in ("address", "user", "port", "key", "jump", "become", "work_dir")
            if (told := getattr(machine, key))
        }
        hosts[machine.name] = told
    return inventory_of(hosts, known_hosts)


def _known(wanted: Wanted, seen: _Seen, unseen: Sequence[Named]) -> Known:
    listed = wanted.listed
    cluster = Told(wanted.cluster, "--cluster") if wanted.cluster else None
    known_hosts = (
        Told(str(wanted.known_hosts.absolute()), "--known-hosts") if wanted.known_hosts else None
    )
    jumps = {m.jump.value for m in seen.machines.values() if m.jump}
    ways = [m for m in (listed.machines if listed else ()) if m.name in jumps - {*seen.machines}]
    named_only = {one.address for one in unseen}
    silent = [
        machine
        for name, machine in seen.machines.items()
        if name in seen.silent
        and (machine.address.value if machine.address else name) not in named_only
    ]
    return Known(
        looked=tuple(seen.looked.values()),
        silent=seen.silent,
        silent_machines=(*silent, *ways),
        unseen=tuple(unseen),
        listed=listed,
        cluster=cluster or (listed.cluster if listed else None),
        known_hosts=known_hosts or (listed.known_hosts if listed else None),
    )
