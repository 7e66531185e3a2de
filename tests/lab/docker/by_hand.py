"""Machines of a lab changed in place to the ways in which people start etcd by hand.

Each function takes a machine on which etcd runs as the lab has it, and leaves the same member (its
data, certificates and URLs) started in another way. A machine is whatever has `sh`: a `Node` of
these tests, or `OfSite` of a lab that `drctl lab up --driver docker` made.
"""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from drctl.lab.docker.site import DockerSite

BIN = "/usr/local/bin"
UNITS = "/etc/systemd/system"
KUBESPRAY_SSL = "/etc/ssl/etcd/ssl"
_UNIT = """\
[Unit]
Description={description}
After=network.target

[Service]
{service}
Restart=always
RestartSec=5
LimitNOFILE=40000

[Install]
WantedBy=multi-user.target
"""


class Machine(Protocol):
    """A machine of a lab, on which a script runs as root. A status other than 0 is an error."""

    def sh(self, script: str, *, check: bool = True) -> Any: ...


@dataclass(frozen=True)
class OfSite:
    """One machine of a Docker lab."""

    site: DockerSite
    name: str

    def sh(self, script: str, *, check: bool = True) -> Any:
        return self.site.sh(self.name, script, check=check)


Flags = Mapping[str, str]
"""etcd's flags by their names, without dashes; "true" for one without a word."""


def flags_of(machine: Machine) -> Flags:
    """What the etcd that runs there was told by its arguments and its environment."""
    of = "/proc/$(pidof -s etcd)"
    told = machine.sh(f"cat {of}/environ {of}/cmdline | tr '\\0' '\\n'").output.splitlines()
    words = [word.removeprefix("--").partition("=") for word in told if word.startswith("--")]
    variables = [word.removeprefix("ETCD_").partition("=") for word in told if word[:5] == "ETCD_"]
    return {
        **{name.lower().replace("_", "-"): value for name, _, value in variables},
        **{name: value if equals else "true" for name, equals, value in words},
    }


def write(machine: Machine, path: str, text: str, mode: int = 0o644) -> None:
    """A file of some kB, with the folders above it."""
    target = shlex.quote(path)
    machine.sh(
        f"mkdir -p $(dirname {target}) && echo {b64encode(text.encode()).decode()} | base64 -d"
        f" > {target} && chmod {mode:o} {target}"
    )


def replace_unit(machine: Machine, service: str, *, unit: str = "etcd") -> None:
    """etcd by `unit` from now on. A unit `etcd` that is another is left there, and switched off, as
    people leave them."""
    write(machine, f"{UNITS}/{unit}.service", _UNIT.format(description=unit, service=service))
    machine.sh(
        "systemctl daemon-reload && systemctl disable --quiet --now etcd"
        f" && systemctl enable --quiet --now --no-block {unit}"
    )


def from_a_configuration_file(
    machine: Machine,
    *,
    unit: str = "etcd3",
    path: str = "/etc/etcd/etcd.conf.yml",
    alone: bool = False,
) -> None:
    """By a unit of another name, from a configuration file. Flags and variables beside it say
    something else, and etcd ignores them. `alone`: it names no other member, as after `member add`
    one by one."""
    flags = dict(flags_of(machine))
    if alone:
        flags["initial-cluster"] = f"{flags['name']}={flags['initial-advertise-peer-urls']}"
    sections = {
        f"{kind}-transport-security": {
            name: True if name == "client-cert-auth" else flags.pop(f"{prefix}{name}")
            for name in ("cert-file", "key-file", "trusted-ca-file", "client-cert-auth")
        }
        for kind, prefix in (("client", ""), ("peer", "peer-"))
    }
    flags.pop("client-cert-auth", None)
    flags.pop("peer-client-cert-auth", None)
    lines = [f"{name}: {json.dumps(value)}" for name, value in flags.items()]
    for name, section in sections.items():
        lines += [f"{name}:", *(f"  {key}: {json.dumps(value)}" for key, value in section.items())]
    write(machine, path, "\n".join(["# etcd's settings", *lines, ""]))
    service = (
        "Type=notify\nEnvironment=ETCD_DATA_DIR=/var/lib/ignored ETCD_NAME=ignored\n"
        f"ExecStart={BIN}/etcd --name=ignored --config-file={path}"
    )
    replace_unit(machine, service, unit=unit)


def through_a_script(machine: Machine, *, path: str = f"{BIN}/start-etcd") -> None:
    """By a script that stays etcd's parent, which the unit starts."""
    flags = " ".join(shlex.quote(f"--{name}={value}") for name, value in flags_of(machine).items())
    write(machine, path, f"#!/bin/sh\nulimit -c 0\n{BIN}/etcd {flags}\nexit $?\n", 0o755)
    replace_unit(machine, f"Type=notify\nNotifyAccess=all\nExecStart={path}")


def through_a_shell(machine: Machine) -> None:
    """By a shell in the unit's own line, with some settings from its environment."""
    flags = dict(flags_of(machine))
    data = flags.pop("data-dir")
    words = " ".join(f"--{name}={value}" for name, value in flags.items())
    replace_unit(
        machine,
        f"Type=notify\nNotifyAccess=all\nEnvironment=ETCD_DATA_DIR={data}\n"
        f"ExecStart=/bin/sh -c 'ulimit -c 0; exec {BIN}/etcd {words}'",
    )


def as_kubespray(machine: Machine, number: int, flags: Flags | None = None) -> None:
    """An imitation of kubespray's etcd on the host: its unit, /etc/etcd.env, the members' names and
    the certificates' paths, with the lab's own in them. `number`: its place among the members,
    from 1; `flags`: etcd's, where none runs."""
    flags = dict(flags or flags_of(machine))
    host = machine.sh("uname -n").output.strip()
    pairs = {"admin": "", "member": "", "node": ""}
    copies = "; ".join(
        f"cp {flags['cert-file']} {KUBESPRAY_SSL}/{kind}-{host}.pem;"
        f" cp {flags['key-file']} {KUBESPRAY_SSL}/{kind}-{host}-key.pem"
        for kind in pairs
    )
    machine.sh(
        f"mkdir -p -m 700 {KUBESPRAY_SSL}; cp {flags['trusted-ca-file']} {KUBESPRAY_SSL}/ca.pem;"
        f" {copies}; chmod 600 {KUBESPRAY_SSL}/*-key.pem"
    )
    flags["name"] = f"etcd{number}"
    for prefix in ("", "peer-"):
        flags[f"{prefix}trusted-ca-file"] = f"{KUBESPRAY_SSL}/ca.pem"
        flags[f"{prefix}cert-file"] = f"{KUBESPRAY_SSL}/member-{host}.pem"
        flags[f"{prefix}key-file"] = f"{KUBESPRAY_SSL}/member-{host}-key.pem"
    lines = [f"ETCD_{name.upper().replace('-', '_')}={value}" for name, value in flags.items()]
    write(machine, "/etc/etcd.env", "\n".join(["# Environment file for etcd", *lines, ""]), 0o640)
    replace_unit(
        machine,
        f"Type=notify\nUser=root\nEnvironmentFile=/etc/etcd.env\nExecStart={BIN}/etcd\n"
        "NotifyAccess=all",
    )
