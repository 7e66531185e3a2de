"""What a program was told: its flags, each with where it was read.

etcd (its documentation, "Configuration options"): a configuration file switches flags and
environment off; else a flag beats its variable. Kubernetes' programs know flags only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drctl.answer import shown
from drctl.errors import InvalidInput
from drctl.yamlfile import parse_yaml

_BOOLEANS = frozenset(
    (
        "force-new-cluster",
        "client-cert-auth",
        "peer-client-cert-auth",
        "auto-tls",
        "peer-auto-tls",
        "enable-v2",
        "enable-pprof",
        "strict-reconfig-check",
        "pre-vote",
        "unsafe-no-fsync",
        "debug",
        "version",
        "help",
    )
)
"""etcd's flags that take no word after them (Go's flag package: `--x` alone is true)."""


@dataclass(frozen=True)
class Setting:
    """A value, and where it stands: "arguments of process 812", "/etc/etcd.env"."""

    value: str
    where: str


Settings = Mapping[str, Setting]
"""By the flag's name, without dashes."""


@dataclass(frozen=True)
class Told:
    """`unread` says in words what could not be read of it, "" for nothing."""

    settings: Settings
    unread: str = ""


def flags(words: Sequence[str], where: str) -> dict[str, Setting]:
    """`--name value`, `--name=value`, `-name`; the last one counts."""
    found: dict[str, Setting] = {}
    rest = list(words)
    while rest:
        match = re.fullmatch(r"--?([a-z][a-z0-9-]*)(?:=(.*))?", rest.pop(0), re.DOTALL)
        if not match:
            continue
        name, value = match[1], match[2]
        if value is None:
            takes = name not in _BOOLEANS and rest and not rest[0].startswith("-")
            value = rest.pop(0) if takes else "true"
        found[name] = Setting(value, where)
    return found


def variables(environment: Mapping[str, tuple[str, str]]) -> dict[str, Setting]:
    """etcd's flags as its variables give them: {ETCD_NAME: (value, where)} -> name."""
    return {
        name.removeprefix("ETCD_").lower().replace("_", "-"): Setting(value, where)
        for name, (value, where) in environment.items()
        if value and name != "ETCD_CONFIG_FILE"
    }


def etcd_told(
    words: Sequence[str],
    where: str,
    environment: Mapping[str, tuple[str, str]],
    config_of: Mapping[str, str | None],
) -> Told:
    """What an etcd with these arguments and variables goes by. `config_of` has what configuration
    files hold, by path; None for one that could not be read."""
    given = {**variables(environment), **flags(words, where)}
    file = environment.get("ETCD_CONFIG_FILE", ("", ""))[0]
    if "config-file" in given:
        file = given["config-file"].value
    if not file:
        return Told(given)
    text = config_of.get(file)
    if text is None:
        return Told({}, f"its configuration file {shown(file)} could not be read")
    try:
        return Told(_config(parse_yaml(text, file) if text.strip() else {}, file))
    except InvalidInput:
        return Told({}, f"its configuration file {shown(file)} is no YAML that can be read")


_SECTIONS = {"client-transport-security": "", "peer-transport-security": "peer-"}


def _config(document: Mapping[str, Any], file: str) -> dict[str, Setting]:
    """etcd.conf.yml's keys are the flags' names, but for the two sections of certificates."""
    found = {
        name: Setting(_plain(value), file)
        for name, value in document.items()
        if isinstance(value, str | int | float | bool) and value != ""
    }
    for section, prefix in _SECTIONS.items():
        inner = document.get(section)
        for name, value in inner.items() if isinstance(inner, dict) else ():
            if isinstance(value, str | bool) and value != "":
                found[f"{prefix}{name}"] = Setting(_plain(value), file)
    return found


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
