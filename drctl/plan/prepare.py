"""What an operator gives for new hosts, read and checked here before anything is connected to.

The facts of it are plain data for planner, judges and journal: of each file where it lies, where it
goes and its sha256, never a byte of what is in it.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drctl.errors import InvalidInput
from drctl.etcd import certificates
from drctl.etcd.certificates import Material
from drctl.inventory import Inventory, Member, Prepare
from drctl.inventory.fields import is_address
from drctl.inventory.subject import Complaint
from drctl.yamlfile import KeyPath, scan_yaml

UNITS = "/etc/systemd/system"
_TOOLS = ("etcd", "etcdctl", "etcdutl")
_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""ELF's e_machine -> what `uname -m` says there. (ppc64le and s390x share numbers with others.)"""


def installation(inventory: Inventory, now: datetime | None = None) -> dict[str, Any]:
    """Facts of everything that `prepare` installs; {} where the inventory asks for nothing.

    Raises InvalidInput with every fault of the local files, at the inventory's line that names
    them.
    """
    wanted = inventory.prepare
    if wanted is None:
        return {}
    moment = now or datetime.now(UTC)
    findings = [*_binaries(wanted), *_certificates(inventory, wanted, moment)]
    if findings:
        document, _ = scan_yaml(inventory.path)
        raise InvalidInput(
            f"{inventory.path}: invalid files to install",
            faults=tuple(document.fault(*finding) for finding in dict.fromkeys(findings)),
            hint=f"fix it, then check it: drctl inventory validate {inventory.path}",
        )
    return {
        "hosts": {host: _host(inventory, wanted, inventory.member(host)) for host in wanted.hosts},
        "arch": _arch(wanted.binaries / "etcd"),
        "flags": wanted.flags,
        "warnings": list(_warnings(wanted, moment)),
    }


# -- binaries -----------------------------------------------------------------------------------


def _binaries(wanted: Prepare) -> Iterator[Complaint]:
    path: KeyPath = ("prepare", "binaries")
    if not wanted.binaries.is_dir():
        yield path, f"{wanted.binaries} is not a directory on this machine"
        return
    machines = {}
    for tool in _TOOLS:
        file = wanted.binaries / tool
        try:
            head = _head(file)
        except OSError as error:
            yield path, f"{file}: {(error.strerror or 'cannot be read').lower()}"
            continue
        if head[:4] != b"\x7fELF":
            yield path, f"{file} is not a Linux program (ELF)"
        else:
            machines[tool] = head[18:20]
    if len(set(machines.values())) > 1:
        yield path, "etcd, etcdctl and etcdutl are built for different CPUs"


def _head(file: Path) -> bytes:
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(0, "is not a file")
    with file.open("rb") as stream:
        return stream.read(20)


def _arch(file: Path) -> str:
    """As `uname -m` says it; "" for a kind of processor that is not known here."""
    head = _head(file)
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return _MACHINES.get(number, "")


# -- certificates -------------------------------------------------------------------------------


def _certificates(inventory: Inventory, wanted: Prepare, now: datetime) -> Iterator[Complaint]:
    for host, files in wanted.certificates.items():
        contents = {}
        for part, file in files:
            try:
                contents[part] = file.read_bytes()
            except OSError as error:
                reason = (error.strerror or "cannot be read").lower()
                yield ("prepare", "certificates", part), f"{file}: {reason}"
        if len(contents) == 3:
            member = inventory.member(host)
            for part, text in certificates.faults(Material(**contents), _names(member), now):
                file = getattr(files, part)
                yield ("prepare", "certificates", part), f"{file}, for {host}: {text}"


def _names(member: Member) -> list[str]:
    """Every address and name under which this member is called."""
    urls = member.peer_urls + member.client_urls
    return list(dict.fromkeys(urlsplit(url).hostname or "" for url in urls))


def _warnings(wanted: Prepare, now: datetime) -> Iterator[str]:
    found: dict[str, None] = {}
    for files in wanted.certificates.values():
        contents = {part: file.read_bytes() for part, file in files}
        for part, text in certificates.warnings(Material(**contents), now):
            found[f"{getattr(files, part)} {text}"] = None
    yield from found


# -- what goes where ----------------------------------------------------------------------------


def _host(inventory: Inventory, wanted: Prepare, member: Member) -> dict[str, Any]:
    unit = inventory.services["etcd"].units[0].removesuffix(".service")
    return {
        "files": [*_tools(wanted, member), *_pems(wanted, member)],
        "unit": f"{UNITS}/{unit}.service",
        "listen_peer_urls": [_listen(url) for url in member.peer_urls],
        "listen_client_urls": [_listen(url) for url in member.client_urls],
    }


def _tools(wanted: Prepare, member: Member) -> Iterator[dict[str, str]]:
    for tool in _TOOLS:
        yield _file(tool, wanted.binaries / tool, f"{member.bin_dir}/{tool}", "755", "")


def _pems(wanted: Prepare, member: Member) -> Iterator[dict[str, str]]:
    files = wanted.certificates.get(member.host)
    for part, file in files or ():
        mode, owner = ("600", member.owner or "") if part == "key" else ("644", "")
        yield _file(part, file, getattr(member, part), mode, owner)


def _file(name: str, source: Path, path: str, mode: str, owner: str) -> dict[str, str]:
    """`owner` "": the user who installs."""
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "name": name,
        "source": str(source),
        "path": path,
        "mode": mode,
        "owner": owner,
        "sha256": digest,
    }


def _listen(url: str) -> str:
    """etcd listens at an address, never at a name; one that it is called by is not its own."""
    parts = urlsplit(url)
    if is_address(parts.hostname or ""):
        return url
    return f"{parts.scheme}://0.0.0.0:{parts.port}"
