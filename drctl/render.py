"""Templates to text: the one owner of Jinja2.

Two environments: shell and config files as they are written, and pages, in which every value is
escaped. Templates live in `templates/` of a checkout and in `drctl/templates/` of an installed
wheel. An undefined name is an error, and every value that reaches a shell goes through a filter:
`q` makes it one word, `plain` refuses what is more than one.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateRuntimeError,
)

from drctl.errors import InvalidInput
from drctl.printable import printable
from drctl.shipped import data_folder
from drctl.transport import Script


def quote(value: object) -> str:
    """`value` as one word of POSIX shell."""
    return shlex.quote(str(value))


def plain(value: object) -> str:
    """`value`, which holds nothing that a shell would take for more than letters: fit for any
    place, within quotes too. Raises TemplateRuntimeError for anything else."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9_.,:/@%+=-]+", text):
        raise TemplateRuntimeError(f"not a plain word: {text[:80]!r}")
    return text


def plain_words(values: Iterable[object]) -> str:
    """Plain words with blanks between them."""
    return " ".join(plain(value) for value in values)


def sha256(text: object) -> str:
    """The digest of a text, in hex: of a file that a script writes itself."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def hex_address(address: str) -> str:
    """A loopback IPv4 address as /proc/net/tcp writes it, else "" (any address).

    Only hosts that share one kernel, as in a lab on loopback, are told apart by address; 127.0.0.1
    is every machine's own, and that of one behind a forwarded port.
    """
    parts = address.split(".")
    if parts[0] != "127" or len(parts) != 4 or not all(part.isdigit() for part in parts):
        return ""
    if address == "127.0.0.1":
        return ""
    return "".join(f"{int(part):02X}" for part in reversed(parts))


class _Noting(Environment):
    """Notes which templates a text is made of, those that are included among them."""

    def get_template(self, name: Any, *more: Any, **named: Any) -> Template:
        template = super().get_template(name, *more, **named)
        _PARTS.get(set()).add(str(template.name))
        return template


_PARTS: ContextVar[set[str]] = ContextVar("parts")


@cache
def environment(folder: Path | None = None) -> Environment:
    env = _Noting(
        loader=FileSystemLoader(folder or data_folder("templates")),
        undefined=StrictUndefined,
        autoescape=False,  # shell and config files, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["q"] = quote
    env.filters["plain"] = plain
    env.filters["plain_words"] = plain_words
    env.filters["sha256"] = sha256
    env.filters["hex_address"] = hex_address
    return env


@cache
def html_environment() -> Environment:
    """For pages: every value is escaped, wherever it came from."""
    return Environment(
        loader=FileSystemLoader(data_folder("templates")),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_html(template: str, /, **values: Any) -> str:
    """The page `templates/TEMPLATE.html.j2`, without a character that does not show; raises
    InvalidInput for a broken template."""
    try:
        return printable(html_environment().get_template(f"{template}.html.j2").render(values))
    except TemplateError as error:
        raise InvalidInput(f"template {template}: {type(error).__name__}: {error}") from error


def has_template(name: str, folder: Path | None = None) -> bool:
    """Whether `templates/NAME.j2` exists."""
    return ((folder or data_folder("templates")) / f"{name}.j2").is_file()


def render(template: str, folder: Path | None = None, /, **values: Any) -> str:
    """The text of `templates/TEMPLATE.j2`; raises InvalidInput for a missing or broken template."""
    try:
        return environment(folder).get_template(f"{template}.j2").render(values)
    except TemplateError as error:
        raise InvalidInput(
            f"template {template}: {type(error).__name__}: {error}",
            hint="compare the name with the directories under templates/",
        ) from error


def render_script(template: str, folder: Path | None = None, /, **values: Any) -> Script:
    """A shell script from `templates/TEMPLATE.sh.j2`, named after its template."""
    parts: set[str] = set()
    token = _PARTS.set(parts)
    try:
        body = render(f"{template}.sh", folder, **values)
    finally:
        _PARTS.reset(token)
    return Script(template, body, tuple(sorted(part.removesuffix(".j2") for part in parts)))


@cache
def template_digest(part: str, folder: Path | None = None) -> str:
    """sha256 of the text of `templates/PART.j2`, in hex."""
    env = environment(folder)
    assert env.loader is not None
    source, _, _ = env.loader.get_source(env, f"{part}.j2")
    return hashlib.sha256(source.encode()).hexdigest()
