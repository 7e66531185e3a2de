"""What a single value in an inventory may look like: allow-lists, in words and as JSON Schema.

Values end up in ssh's arguments, in shell variables and in etcd's flags. Nothing that begins with
a dash, or holds a character outside the list, gets that far (CVE-2023-51385 is what happens else).
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)\}")
_HOLE = r"\{(?:host|address)\}"


def expand(text: str, **values: str) -> str:
    """Fill `{host}`-like placeholders; any other brace stays what it is, `${x}` too."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def placeholders(text: str) -> list[str]:
    """The names that stand in braces."""
    return _PLACEHOLDER.findall(text)


@dataclass(frozen=True, eq=False)
class Rule:
    """For use in `Annotated`: checks that run in order, and the same in JSON Schema for editors."""

    checks: tuple[Callable[[str], str], ...]
    schema: JsonSchemaValue

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        for check in self.checks:
            schema = core_schema.no_info_after_validator_function(check, schema)
        return schema

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.schema)


def _pattern(pattern: str) -> JsonSchemaValue:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _knowing(*known: str) -> Callable[[str], str]:
    """A validator that refuses a placeholder nobody will fill."""

    def check(text: str) -> str:
        unknown = [name for name in placeholders(text) if name not in known]
        if unknown:
            allowed = " and ".join(f"{{{name}}}" for name in known) or "none"
            raise ValueError(f"unknown placeholder {{{unknown[0]}}}; known here: {allowed}")
        return text

    return check


def _matching(pattern: str, what: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if text.startswith("-"):
            raise ValueError(f"must not begin with '-': {text!r}")
        if not compiled.fullmatch(text):
            raise ValueError(f"{text[:60]!r} is not a valid {what}")
        return text

    return check


def _text(pattern: str, what: str) -> Rule:
    return Rule((_matching(pattern, what),), _pattern(pattern))


# --- names and addresses ------------------------------------------------------------------------

_LETTERS = "letters, digits, '.', '_' and '-'"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}"
_UNIT = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,254}"
_ADDRESS = r"[A-Za-z0-9_:][A-Za-z0-9._:-]{0,252}"

check_member_name = _matching(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", "member name")


def check_address(text: str) -> str:
    """A host name, an IPv4 or a bare IPv6 address."""
    _matching(_ADDRESS, f"host name or address (allowed: {_LETTERS})")(text)
    if ":" in text and not is_ipv6(text):
        raise ValueError(f"{text!r} is not an IPv6 address; the port goes under 'port'")
    if re.fullmatch(r"[0-9.]+", text) and not _is_ipv4(text):
        raise ValueError(f"{text!r} is not an IPv4 address")
    return text


def is_ipv6(text: str) -> bool:
    return _parses(ipaddress.IPv6Address, text)


def is_address(text: str) -> bool:
    """Whether this is an IP address, not a name."""
    return is_ipv6(text) or _is_ipv4(text)


def _is_ipv4(text: str) -> bool:
    return _parses(ipaddress.IPv4Address, text)


def _parses(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def split_jump(text: str) -> tuple[str | None, str, int | None]:
    """`[user@]address[:port]` -> (user, address, port). Raises ValueError in plain words."""
    user, _, rest = text.rpartition("@")
    match = re.fullmatch(r"\[([^]]*)\](?::([0-9]+))?|([^:]*):([0-9]+)", rest)
    address, port = (match[1] or match[3] or "", match[2] or match[4]) if match else (rest, None)
    if "@" in text:
        _matching(_USER, "user name")(user)
    check_address(address)
    if port and not 0 < int(port[:6]) < 65536:
        raise ValueError(f"{port[:6]} is not a port")
    return user or None, address, int(port) if port else None


def _check_jump(text: str) -> str:
    if "," in text:
        raise ValueError("only one jump host; for a chain, give that host its own 'jump'")
    split_jump(text)
    return text


Name = Annotated[str, _text(NAME, f"name (allowed: {_LETTERS}; at most 63)")]
User = Annotated[str, _text(_USER, f"user name (allowed: {_LETTERS})")]
Unit = Annotated[str, _text(_UNIT, f"unit name (allowed: {_LETTERS}, '@' and ':')")]
UserGroup = Annotated[str, _text(rf"{_USER}(?::{_USER})?", "owner; write it as user or user:group")]
Address = Annotated[str, Rule((check_address,), _pattern(_ADDRESS))]
Jump = Annotated[str, Rule((_check_jump,), _pattern(r"[A-Za-z0-9_:\[][A-Za-z0-9._:@\[\]-]*"))]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]

# --- paths --------------------------------------------------------------------------------------

_PATH_LETTERS = f"{_LETTERS}, '/', '+', '=' and '@'"
_LOCAL_PATH = r"[A-Za-z0-9._/~][A-Za-z0-9._/~@+=-]{0,1023}"


def check_absolute(path: str) -> str:
    """An absolute path on a node, in its shortest spelling."""
    if path and path[0] not in "-/{":
        raise ValueError(f"must be an absolute path on the node, not {path[:60]!r}")
    _matching(r"/[A-Za-z0-9._/@+=-]{0,1023}", f"path (allowed: {_PATH_LETTERS})")(path)
    if ".." in path.split("/"):
        raise ValueError(f"must not contain '..': {path[:60]!r}")
    return "/" + posixpath.normpath(path).lstrip("/")


def _check_node_path(path: str) -> str:
    """A path that may hold placeholders: judged as it looks once they are filled."""
    check_absolute(expand(path, host="h", address="a"))
    return "/" + posixpath.normpath(path).lstrip("/")


_BOTH = _knowing("host", "address")
_NODE_PATH = rf"/(?:[A-Za-z0-9._/@+=-]|{_HOLE})*"
NodePath = Annotated[str, Rule((_BOTH, _check_node_path), _pattern(_NODE_PATH))]


def _check_home(path: str) -> str:
    if path.startswith("~") and path[1:2] not in ("", "/"):
        raise ValueError(f"{path[:60]!r}: of '~', only your own home '~/' is supported")
    return path


_LOCAL = _matching(_LOCAL_PATH, f"path (allowed: {_PATH_LETTERS}, '~')")
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}"
ImageName = Annotated[str, _text(_IMAGE, "image name")]
LocalPath = Annotated[str, Rule((_LOCAL, _check_home), _pattern(_LOCAL_PATH))]


def _check_local_template(path: str) -> str:
    """A local path that may hold placeholders: judged as it looks once they are filled."""
    _LOCAL(expand(path, host="h", address="a"))
    return path


_LOCAL_HOLES = rf"(?:[A-Za-z0-9._/~@+=-]|{_HOLE})+"
LocalPathTemplate = Annotated[
    str, Rule((_BOTH, _check_local_template, _check_home), _pattern(_LOCAL_HOLES))
]

# --- etcd's URLs and names ----------------------------------------------------------------------

_URL = re.compile(r"(https?)://(\[[^]]*\]|[^:/\[\]@]+):([0-9]{1,5})")


def check_url(url: str) -> str:
    """`http(s)://host:port` and nothing after it: etcd refuses a path, even a bare slash."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"must begin with https:// (or http://), not {url[:60]!r}")
    match = _URL.fullmatch(url)
    if not match:
        raise ValueError(f"must be https://host:port with nothing after it, not {url[:80]!r}")
    if match[2].startswith("[") and not is_ipv6(match[2][1:-1]):
        raise ValueError(f"{match[2]!r} is not an IPv6 address")
    check_address(match[2].strip("[]"))
    if not 0 < int(match[3]) < 65536:
        raise ValueError(f"{match[3]} is not a port")
    return url


def expand_url(url: str, *, host: str, address: str) -> str:
    """Fill a URL's placeholders; an IPv6 address gets its brackets."""
    return expand(url, host=host, address=f"[{address}]" if is_ipv6(address) else address)


def _check_url_template(url: str) -> str:
    check_url(expand(url, host="h", address="a"))
    return url


def _check_name_template(name: str) -> str:
    check_member_name(expand(name, host="h", address="a", number="1"))
    return name


_URL_PATTERN = r"https?://[^\s/@]+:[0-9]{1,5}"
_MEMBER_NAME = rf"(?:[A-Za-z0-9._:-]|{_HOLE}|\{{number\}})+"
_NAMES = _knowing("host", "address", "number")
Url = Annotated[str, Rule((_BOTH, _check_url_template), _pattern(_URL_PATTERN))]
MemberName = Annotated[str, Rule((_NAMES, _check_name_template), _pattern(_MEMBER_NAME))]

# --- etcd's flags -------------------------------------------------------------------------------

# What a unit's ExecStart takes as it is: no blank, no quote, no '%', '$' or backslash.
_FLAG_VALUE = r"[A-Za-z0-9._:/,@+=*\[\]-]{1,1000}"


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


FlagName = Annotated[
    str, _text(r"[a-z][a-z0-9-]{1,60}", "etcd flag; write it without the leading dashes")
]
FlagValue = Annotated[
    str,
    BeforeValidator(_plain),
    Rule(
        (_matching(_FLAG_VALUE, "value for a flag (no blanks, quotes, '%' or '$')"),),
        {"type": ["string", "integer", "boolean"]},
    ),
]

# --- shell lines and lists ----------------------------------------------------------------------


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_SHELL = {"type": "string", "minLength": 1}
CommandLine = Annotated[str, Rule((_not_blank, _knowing("unit", "host")), _SHELL)]
ReadyLine = Annotated[str, Rule((_not_blank, _BOTH), _SHELL)]


class OneOrMany:
    """For a list whose brackets may be left out around a single text."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: (value,) if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


class OrEmpty:
    """For a section whose key may stand there with nothing after it."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: {} if value is None else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "null"}]}
