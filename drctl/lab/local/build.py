"""A lab's files: binaries, certificates, keys, and the configuration of every host."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
from pathlib import Path
from typing import Any

from drctl.lab import binaries, certs, flags
from drctl.lab.layout import (
    APISERVER_PORT,
    CLIENT_PORT,
    PEER_PORT,
    SSH_PORT,
    Lab,
    LabHost,
)
from drctl.lab.local import supervisor_client
from drctl.lab.processes import MARKER, NODE_MARKER
from drctl.render import render

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# Isolated and without site-packages it starts in a fraction of the time.
_CTL = [sys.executable, "-I", "-S", str(Path(supervisor_client.__file__).absolute())]
SUPERVISORD = [sys.executable, "-m", "supervisor.supervisord"]


def write_files(lab: Lab, etcd: Path) -> None:
    """Write everything that the lab's processes read, and its inventory."""
    for host in lab.hosts:
        host.make_directories()
    binaries.install(etcd, lab.directory / "bin", [host.bin_dir for host in lab.hosts])
    _write_certificates(lab)
    _write_ssh_keys(lab)
    for host in lab.hosts:
        _write_host(lab, host)
    hosts_dir = lab.directory / "hosts"
    text = render("lab/inventory.yaml", **_ports(), **_lab_values(lab), hosts_dir=hosts_dir)
    lab.inventory.write_text(text)


def environment(lab: Lab, host: LabHost) -> dict[str, str]:
    """What a lab's process gets instead of the caller's environment (which may hold secrets)."""
    return {
        "HOME": str(host.home),
        "LANG": "C.UTF-8",
        "PATH": f"{host.bin_dir}:{_SYSTEM_PATH}",
        MARKER: lab.id,
        NODE_MARKER: f"{lab.id}/{host.name}",
    }


def user() -> str:
    """The name under which SSH lets us in: this process's own user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's arbitrary uid; only asyncssh can serve it
        return "lab"


def control(host: LabHost, verb: str, unit: str) -> list[str]:
    """The command line that starts, stops or finds (`pid`) a unit of the host."""
    return [*_CTL, str(host.socket), verb, unit]


def _write_certificates(lab: Lab) -> None:
    authority = certs.Authority.new()
    cert, key = lab.authority
    cert.write_bytes(authority.pair.cert)
    certs.write_private(key, authority.pair.key)
    issued = authority.issue("kubernetes", addresses=list(lab.addresses.values()))
    for host in lab.hosts:
        host.ca.write_bytes(authority.pair.cert)
        host.cert.write_bytes(issued.cert)
        certs.write_private(host.key, issued.key)


def _write_ssh_keys(lab: Lab) -> None:
    public = certs.new_ssh_key(lab.key)
    lab.key.with_suffix(".pub").write_text(public + "\n")
    known = []
    for host in lab.hosts:
        host_key = certs.new_ssh_key(host.etc / "ssh_host_ed25519_key")
        known.append(f"[{host.address}]:{SSH_PORT} {host_key}\n")
        certs.write_private(host.etc / "authorized_keys", f"{public}\n".encode())
    lab.known_hosts.write_text("".join(known))


def _write_host(lab: Lab, host: LabHost) -> None:
    values = _host_values(lab, host)
    for template in ("supervisord.conf", "sshd_config", "asyncssh.json"):
        text = render(f"lab/{template}", **_ports(), **values)
        certs.write_private(host.etc / template, text.encode())


def _ports() -> dict[str, int]:
    return {
        "ssh_port": SSH_PORT,
        "client_port": CLIENT_PORT,
        "peer_port": PEER_PORT,
        "apiserver_port": APISERVER_PORT,
    }


def _lab_values(lab: Lab) -> dict[str, Any]:
    return {
        "cluster": f"lab-{lab.id[:8]}",
        "directory": lab.directory,
        "hosts": lab.hosts,
        "separate_wal": lab.separate_wal,
        "user": user(),
        "python": shlex.quote(sys.executable),
        "control": f"{shlex.join(_CTL)} {lab.socket_of('{host}')}",
    }


def _host_values(lab: Lab, host: LabHost) -> dict[str, Any]:
    paths = ("root", "etc", "socket", "fences", "data_dir", "log_dir", "run_dir", "home", "bin_dir")
    names = ("name", "address", "member_name", "ca", "cert", "key", "client_url", "peer_url")
    peers = [f"{peer.member_name}={peer.peer_url}" for peer in lab.hosts]
    return {
        **{name: getattr(host, name) for name in (*paths, *names)},
        "python": shlex.quote(sys.executable).replace("%", "%%"),
        "initial_cluster": ",".join(peers),
        "wal_dir": host.wal_dir,
        "apiserver": f"{host.address}:{APISERVER_PORT}",
        "host_key": host.etc / "ssh_host_ed25519_key",
        "authorized_keys": host.etc / "authorized_keys",
        "environment": environment(lab, host),
        "etcd_flags": flags.known((host.bin_dir / "etcd").resolve()),
    }
