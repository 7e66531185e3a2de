"""What a host of the lab starts when its machine boots. Waits for nothing."""

from __future__ import annotations

from drctl.lab import processes
from drctl.lab.layout import Lab, LabHost
from drctl.lab.local import build, sshserver


def start_host(lab: Lab, host: LabHost) -> None:
    """Start a host whose processes have all ended."""
    (server, *_) = sshserver.candidates(lab, lab.ssh_server)
    start_units(lab, host)
    start_ssh(lab, host, server)


def start_units(lab: Lab, host: LabHost) -> None:
    """The host's supervisor, which starts its units."""
    _spawn(lab, host, "supervisord", [*build.SUPERVISORD, "-n", "-c", str(host.supervisord_conf)])


def start_ssh(lab: Lab, host: LabHost, server: sshserver.ServerProgram) -> None:
    """The host's SSH server."""
    _spawn(lab, host, "sshd", server.argv(host))


def _spawn(lab: Lab, host: LabHost, what: str, argv: list[str]) -> None:
    log = host.log_dir / f"{what}.out"
    record = processes.spawn(f"{host.name} {what}", argv, build.environment(lab, host), log)
    lab.processes.append(record)
    lab.save()
