"""Secrets that the operator hands to a run: kept in memory alone, sealed where it must be known
later whether they are still the same, and taken out of every text that comes from a node."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drctl.errors import DrctlError, UsageError
from drctl.transport import CommandResult, Script, Transport

SHORTEST = 4  # characters: what is shorter hides nothing, and cannot be told from other text
LONG = 6  # a shorter one is only taken out where it stands as a word
LINE = 12  # characters from which a line of a secret of several lines is one by itself
KIND = "secret"  # of a source in `Task.env`


# -- out of texts -------------------------------------------------------------------------------


def hider(values: Mapping[str, str]) -> Callable[[str], str]:
    """A function that puts `‹NAME›` where a text has a secret: as it is, quoted for a shell, within
    JSON, in base64, or a line of it."""
    instead = {form: f"‹{name}›" for name, value in values.items() for form in _forms(value)}
    if not instead:
        return lambda text: text
    longest_first = sorted(instead, key=lambda form: (-len(form), form))
    found = re.compile("|".join(map(_pattern, longest_first)))
    return lambda text: found.sub(lambda match: instead[match[0]], text)


def _forms(value: str) -> set[str]:
    lines = {line for line in value.splitlines() if len(line) >= LINE}
    encoded = base64.b64encode(value.encode()).decode()
    return {value, shlex.quote(value), json.dumps(value)[1:-1], encoded, *lines}


def _pattern(form: str) -> str:
    text = re.escape(form)
    return text if len(form) >= LONG else rf"(?<!\w){text}(?!\w)"


@dataclass(frozen=True)
class HidingTransport:
    """A transport through which no secret comes back, be it in an error."""

    inner: Transport
    hide: Callable[[str], str]

    def run(
        self, host: str, script: Script, env: Mapping[str, str] | None = None, *, deadline: float
    ) -> CommandResult:
        with self._hiding():
            result = self.inner.run(host, script, env, deadline=deadline)
        return replace(result, stdout=self.hide(result.stdout), stderr=self.hide(result.stderr))

    def upload(self, host: str, source: Path, target: str, **how: Any) -> None:
        with self._hiding():
            self.inner.upload(host, source, target, **how)

    def download(self, host: str, source: str, target: Path, **how: Any) -> None:
        with self._hiding():
            self.inner.download(host, source, target, **how)

    def close(self) -> None:
        self.inner.close()

    @contextmanager
    def _hiding(self) -> Iterator[None]:
        try:
            yield
        except DrctlError as error:
            error.message = self.hide(error.message)
            error.args = (error.message,)
            raise


# -- sealed -------------------------------------------------------------------------------------


def seal(key: bytes, value: str, salt: str = "") -> str:
    """What a journal may hold of a secret: anyone with it and `key` can tell whether another value
    is the same. It is slow, and without the key, which never leaves this machine, it tells nothing
    of a secret however short."""
    salt = salt or secrets.token_hex(8)
    mixed = hmac.new(key, salt.encode(), "sha256").digest()
    digest = hashlib.scrypt(value.encode(), salt=mixed, n=2**14, r=8, p=1, dklen=16)
    return f"{_name_of(key)}:{salt}:{digest.hex()}"


def sealed_again(key: bytes, value: str, then: str) -> str | None:
    """The seal of `value` as `then` was made; None where that was done with another machine's key,
    so that they cannot be compared."""
    by, _, rest = then.partition(":")
    return seal(key, value, rest.partition(":")[0]) if by == _name_of(key) else None


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"drctl seal " + key).hexdigest()[:8]


# -- at hand ------------------------------------------------------------------------------------


@dataclass
class Secrets:
    """The secrets of one command, by name; `ask` asks the operator for one that is missing."""

    given: dict[str, str] = field(default_factory=dict, repr=False)
    ask: Callable[[str], str] | None = None

    def demand(self, name: str, run: str) -> str:
        """The secret `name` of `run`, asked for where it was not given."""
        if name not in self.given:
            if self.ask is None:
                raise UsageError(
                    f"run {run} needs the secret {name} again: drctl does not store secrets",
                    hint=f"add --secret {name}=@FILE, or --secret {name}=env:VARIABLE",
                )
            self.given[name] = self.ask(name)
        return self.given[name]


def used(plan: Mapping[str, Any], *, undo: bool) -> set[str]:
    """The secrets that a recorded plan's scripts use: to resume it, or to roll it back."""
    tasks = [task for step in plan.get("steps", ()) for task in step["tasks"].values()]
    chosen = [task["undo"] for task in tasks if task["undo"]] if undo else tasks
    sources = (source.partition(" ") for task in chosen for source in task["env"].values())
    return {name for kind, _, name in sources if kind == KIND}
