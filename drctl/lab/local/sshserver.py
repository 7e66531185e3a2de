"""Which SSH server a lab's hosts run: the system's OpenSSH where it works, else asyncssh."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drctl.errors import Refused
from drctl.lab.layout import SSH_PORT, Lab, LabHost
from drctl.lab.local import build

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not on the PATH of ordinary users


@dataclass(frozen=True)
class ServerProgram:
    """A server program: its name, and its command line for a host (runs in the foreground)."""

    name: str
    argv: Callable[[LabHost], list[str]]


def candidates(lab: Lab, wanted: str) -> list[ServerProgram]:
    """The servers to try in turn: the one `wanted`, or with "auto" OpenSSH if it accepts our
    configuration, then asyncssh (some machines' OpenSSH lets nobody in, say a locked account)."""
    asyncssh = ServerProgram("asyncssh", _asyncssh_argv)
    if wanted == "asyncssh":
        return [asyncssh]
    program = shutil.which("sshd") or shutil.which("sshd", path=_SBIN)
    if program and shutil.which("ssh") and _accepts(program, lab.hosts[0]):
        openssh = ServerProgram(
            "openssh", lambda host: [program, "-D", "-e", "-f", str(_conf(host))]
        )
        return [openssh] if wanted == "openssh" else [openssh, asyncssh]
    if wanted == "openssh":
        raise Refused("no OpenSSH server works here", hint="`asyncssh` works everywhere")
    return [asyncssh]


def client_argv(lab: Lab, host: LabHost, client: str) -> list[str]:
    """The ssh client's command line: strict host keys, the lab's key, no personal settings."""
    options = {
        "UserKnownHostsFile": lab.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    target = f"{build.user()}@{host.address}"
    return [client, "-F", "/dev/null", "-i", str(lab.key), *flags, "-p", str(SSH_PORT), target]


def answers(lab: Lab, host: LabHost) -> bool:
    """Whether the host lets us in, or, where there is no client to try with, greets us."""
    client = shutil.which("ssh")
    if client is None:
        return _greets(host)
    quiet = [client, "-n", "-o", "BatchMode=yes"]
    argv = [*quiet, *client_argv(lab, host, client)[1:], "exit 0"]
    try:
        return subprocess.run(argv, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _greets(host: LabHost) -> bool:
    try:
        with socket.create_connection((host.address, SSH_PORT), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _accepts(program: str, host: LabHost) -> bool:
    """`sshd -t` finds, among others, root's missing privilege separation directory."""
    told = subprocess.run([program, "-t", "-f", str(_conf(host))], capture_output=True, timeout=30)
    return told.returncode == 0


def _conf(host: LabHost) -> Path:
    return host.etc / "sshd_config"


def _asyncssh_argv(host: LabHost) -> list[str]:
    return [
        sys.executable,
        "-m",
        "drctl.lab.local.sshd",
        "--config",
        str(host.etc / "asyncssh.json"),
    ]
