"""`--secret`: a value for a runbook that no one else may see. It comes from a file, from the
environment, or is asked for; never from the command line, which every user of a machine can read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from drctl.cli.common import can_ask, hidden_answer
from drctl.errors import UsageError
from drctl.plan.secrets import SHORTEST, Secrets, hider
from drctl.ui.console import keep_out, tell

F = TypeVar("F", bound=Callable[..., Any])
LONGEST = 32 * 1024  # bytes: what a pipe on the node holds at once, and then some
WAYS = "--secret NAME=@FILE, --secret NAME=env:VARIABLE, or --secret NAME to be asked"


def secret_option(command: F) -> F:
    return click.option(
        "--secret",
        "secret",
        multiple=True,
        metavar="K[=@FILE|=env:VAR]",
        help="A secret for the runbook: from a file, the environment, or asked for.",
    )(command)


def read_secrets(specs: tuple[str, ...], taken: tuple[str, ...] = ()) -> Secrets:
    """What `--secret` gave; from here on the terminal shows none of it. `taken` are the names that
    `--var` gave. Raises UsageError, which repeats nothing but names."""
    secrets = Secrets(ask=_ask if can_ask() else None)
    for spec in specs:
        name, given, source = spec.partition("=")
        if not (name.isascii() and name.isidentifier()):
            raise UsageError("--secret needs a name", hint=WAYS)
        if name in secrets.given or name in taken:
            raise UsageError(f"{name} is given twice")
        secrets.given[name] = _read(name, source) if given else _demand(name)
        keep_out(hider({name: secrets.given[name]}))
    return secrets


def _read(name: str, source: str) -> str:
    if source.startswith("@"):
        return _checked(name, _file(name, Path(source[1:])))
    if source.startswith("env:"):
        value = os.environ.get(source.removeprefix("env:"))
        if value is None:
            raise UsageError(f"the secret {name}: no such variable in the environment", hint=WAYS)
        return _checked(name, value)
    raise UsageError(
        f"the secret {name} was on the command line, where every user of this machine can read "
        "it: replace it",
        hint=WAYS,
    )


def _file(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(LONGEST + 3)
    except OSError as error:
        raise UsageError(f"the secret {name}: {path} cannot be read: {error.strerror}") from error
    if path.is_file() and mode & 0o077:
        tell(f"warning: others may read {path} (mode {mode & 0o777:o}): chmod 600 {path}")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"the secret {name}: {path} is not text") from None
    return text.removesuffix("\n").removesuffix("\r")  # as an editor ends a file


def _checked(name: str, value: str) -> str:
    if "\0" in value:
        raise UsageError(f"the secret {name} contains a NUL character, which a shell cannot take")
    if len(value) < SHORTEST:
        raise UsageError(f"the secret {name} is shorter than {SHORTEST} characters")
    if len(value.encode("utf-8", "surrogateescape")) > LONGEST:
        raise UsageError(f"the secret {name} is longer than {LONGEST} bytes")
    return value


def _demand(name: str) -> str:
    if not can_ask():
        raise UsageError(f"no terminal to ask for the secret {name}", hint=WAYS)
    return _ask(name)


def _ask(name: str) -> str:
    value = _checked(name, hidden_answer(f"secret {name}"))
    keep_out(hider({name: value}))
    return value
