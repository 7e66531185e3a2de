"""What one host shows of the programs on it (`templates/node/reading`): bounded and typed, as yet
unexplained. Arguments, files and paths come as base64 and are text of somebody else's making."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

from drctl.answer import Answer, AnswerError

MOST = 65_536  # bytes of one text, as the template cuts them
_COUNTED = re.compile(r"([a-z]+)\.([0-9]{1,10})\.([a-z_]+)")
_SOCKET = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{1,4})")
_SERVICE = re.compile(r"/([A-Za-z0-9:_.\\@-]+\.service)(?:/|$)")
_CONTAINER = re.compile(r"(?:docker|libpod|cri-containerd|crio)[-/:]([0-9a-f]{64})")
_POD = re.compile(r"kubepods")
_MOST_UID = (1 << 32) - 1

Address = tuple[str, int]
"""IP address and port."""


def decoded(answer: Answer, name: str) -> str:
    """The text that `name` has in base64; "" where there is none. Raises AnswerError for what is no
    such text, or was cut."""
    try:
        raw = base64.b64decode(answer.get(name, ""), validate=True)
    except (binascii.Error, ValueError):
        raise AnswerError(f"{name} is not base64", host=answer.host) from None
    if len(raw) >= MOST:
        raise AnswerError(f"{name} is longer than {MOST} bytes", host=answer.host)
    return raw.decode("utf-8", "replace")


def line(answer: Answer, name: str) -> str:
    """The same of one line: a path, say. Its end is taken off; what has more than one is none."""
    text = decoded(answer, name).removesuffix("\n")
    return "" if "\n" in text or "\0" in text else text


def assignments(text: str) -> dict[str, str]:
    """`NAME=value` lines, as an environment or an environment file has them; quotes are taken off
    (systemd.exec, EnvironmentFile=)."""
    found = {}
    for each in text.splitlines():
        name, equals, value = each.strip().removeprefix("export ").partition("=")
        if equals and re.fullmatch(r"[A-Z][A-Z0-9_]{0,100}", name):
            found[name] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def addresses(answer: Answer, name: str) -> tuple[Address, ...]:
    """`ADDRESS:PORT` words as /proc/net/tcp has them. Raises AnswerError."""
    found = []
    for word in answer.words(name, most=500):
        if not (parts := _SOCKET.fullmatch(word)):
            raise AnswerError(f"{name} has no address: {word[:60]!r}", host=answer.host)
        found.append((_ip(parts[1]), int(parts[2], 16)))
    return tuple(found)


def _ip(written: str) -> str:
    """An address as the kernel writes it: words of four bytes, each turned round on x86 and ARM."""
    raw = b"".join(bytes.fromhex(written[at : at + 8])[::-1] for at in range(0, len(written), 8))
    if len(raw) == 16 and raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    if len(raw) == 4:
        return ".".join(map(str, raw))
    return ":".join(f"{raw[n] << 8 | raw[n + 1]:x}" for n in range(0, 16, 2))


@dataclass(frozen=True)
class Process:
    """A process. `db` and `wal` are the files that it has open, by their paths on the host, "" for
    none; `user` is uid:gid; `environment` holds ETCD_* only."""

    pid: int
    comm: str
    parent: int | None
    parent_comm: str
    user: str
    our_network: bool
    our_mounts: bool
    listens: tuple[Address, ...]
    exe: str
    cwd: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cgroup: str
    db: str
    wal: str
    config: str | None  # what the configuration file holds that it names
    manifests: str  # the kubelet's static pod folder

    @cached_property
    def unit(self) -> str:
        """The systemd unit that it runs in, "" for none."""
        found = [name for name in _SERVICE.findall(self.cgroup) if not name.startswith("user@")]
        return found[-1] if found and not self.in_pod else ""

    @property
    def in_pod(self) -> bool:
        return _POD.search(self.cgroup) is not None

    @property
    def container(self) -> str:
        """The id of the container that it runs in, "" for none."""
        found = _CONTAINER.findall(self.cgroup)
        return str(found[-1]) if found else ""


@dataclass(frozen=True)
class Evidence:
    """Everything that one host showed. `units` is what `systemctl show` printed; files are by their
    path. `data_here`: whether there is a data directory; None for no member's host. `data_uid` and
    `claimed_uid`: whose it is, and whose the inventory says, None for not known; `users` has the
    uids of the units' users."""

    host: str
    processes: tuple[Process, ...]
    units: str
    environment_files: Mapping[str, Mapping[str, str]]
    config_files: Mapping[str, str]
    manifests: Mapping[str, str]
    containers: tuple[tuple[str, str, Mapping[str, str]], ...]  # engine, JSON, ETCD_*
    clients: tuple[Address, ...]  # of a remote address and the local port
    real: Mapping[str, str]  # the inventory's paths -> what they really are
    data_here: bool | None
    addresses: frozenset[str]  # its own
    leases: tuple[str, ...]  # addresses by which apiservers say in etcd that they live
    data_uid: int | None = None
    claimed_uid: int | None = None
    users: Mapping[str, int] = field(default_factory=dict)


def read_evidence(answer: Answer) -> Evidence:
    """Raises AnswerError where anything in it is not what the template says."""
    numbers: dict[str, dict[str, None]] = {}
    for name in answer:
        if found := _COUNTED.fullmatch(name):
            numbers.setdefault(found[1], {})[found[2]] = None

    def counted(kind: str) -> Sequence[str]:
        return [f"{kind}.{number}" for number in numbers.get(kind, ())]

    return Evidence(
        host=answer.host,
        processes=tuple(_process(answer, at) for at in counted("p")),
        units=decoded(answer, "units"),
        environment_files={
            line(answer, f"{at}.path"): assignments(decoded(answer, f"{at}.env"))
            for at in counted("f")
        },
        config_files={
            line(answer, f"{at}.path"): decoded(answer, f"{at}.text") for at in counted("c")
        },
        manifests={
            line(answer, f"{at}.path"): decoded(answer, f"{at}.text") for at in counted("m")
        },
        containers=tuple(
            (
                engine,
                decoded(answer, f"{at}.container"),
                assignments(decoded(answer, f"{at}.env")),
            )
            for engine in ("docker", "podman")
            for at in counted(engine)
        ),
        clients=tuple((ip, port) for ip, port in _clients(answer)),
        real={
            name.removeprefix("real."): line(answer, name)
            for name in answer
            if name.startswith("real.")
        },
        data_here=answer.one_of("data_here", "yes", "no") == "yes"
        if "data_here" in answer
        else None,
        addresses=frozenset(_plain_addresses(answer, "addresses")),
        leases=_plain_addresses(answer, "leases"),
        data_uid=answer.number_or_none("uid.data", most=_MOST_UID),
        claimed_uid=answer.number_or_none("uid.claimed", most=_MOST_UID),
        users={
            found[1]: int(found[2])
            for word in answer.words("users", most=20)
            if (found := re.fullmatch("(.+):([0-9]{1,10})", word))
        },
    )


def _plain_addresses(answer: Answer, name: str) -> tuple[str, ...]:
    """IP addresses as people write them, in one form each. Raises AnswerError."""
    try:
        return tuple(str(ip_address(word)) for word in answer.words(name, most=200))
    except ValueError:
        raise AnswerError(f"{name} has something that is no address", host=answer.host) from None


def _clients(answer: Answer) -> list[Address]:
    """`PORT:ADDRESS` words: the local port, and who is connected."""
    found = []
    for word in answer.words("clients"):
        port, _, address = word.partition(":")
        if not (parts := _SOCKET.fullmatch(f"{address}:{port}")):
            raise AnswerError(f"clients has no address: {word[:60]!r}", host=answer.host)
        found.append((_ip(parts[1]), int(port, 16)))
    return found


def _process(answer: Answer, at: str) -> Process:
    pid = at.partition(".")[2]
    argv = decoded(answer, f"{at}.argv").removesuffix("\0").split("\0")
    return Process(
        pid=int(pid),
        comm=answer.text(f"{at}.comm", most=40),
        parent=answer.number_or_none(f"{at}.parent", most=1 << 32),
        parent_comm=answer.text(f"{at}.parent_comm", most=40),
        user=answer.owner(f"{at}.user"),
        our_network=answer.one_of(f"{at}.network", "ours", "other") == "ours",
        our_mounts=answer.one_of(f"{at}.mounts", "ours", "other") == "ours",
        listens=addresses(answer, f"{at}.listens"),
        exe=line(answer, f"{at}.exe"),
        cwd=line(answer, f"{at}.cwd"),
        argv=tuple(argv),
        environment=assignments(decoded(answer, f"{at}.env")),
        cgroup=decoded(answer, f"{at}.cgroup"),
        db=line(answer, f"{at}.db"),
        wal=line(answer, f"{at}.wal"),
        config=decoded(answer, f"{at}.config") if f"{at}.config" in answer else None,
        manifests=line(answer, f"{at}.manifests"),
    )
