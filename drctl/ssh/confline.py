"""One line of ssh_config: its words, the criteria of a Match, and the value of a setting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from drctl.errors import InvalidInput
from drctl.ssh import names

_DELIMITED = re.compile(r'[ \t]*(?:([^\s"=]*)"([^"]*)"[ \t]*|([^\s"=]+)[ \t]*=?[ \t]*)')


class Mistake(Exception):
    """What is wrong with a line."""


def words(text: str) -> list[str]:
    """The arguments of a line: quotes of both kinds, some escapes, a comment at its end."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, at = _word(text, at)
        found.append(word)
    return found


def _word(text: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(text):
        char, after = text[at], text[at + 1 : at + 2]
        if char == "\\" and after and (after in "'\"\\" or (after == " " and not quote)):
            word += after
            at += 1
        elif not quote and char in " \t":
            break
        elif not quote and char in "\"'":
            quote = char
        elif char == quote:
            quote = ""
        else:
            word += char
        at += 1
    if quote:
        raise Mistake("invalid quotes")
    return word, at


def criteria(text: str) -> Iterator[tuple[bool, str, str]]:
    """The criteria of a Match: whether it is negated, its name, and its argument if it has one."""
    rest = _delimited(text)
    for word in rest:
        criterion = word.removeprefix("!").lower()
        argument = ""
        if criterion == "all":
            if next(rest, None) is not None:
                raise Mistake("'all' cannot be combined with other Match attributes")
        elif criterion not in ("canonical", "final"):
            argument = next(rest, "")
            if not argument:
                raise Mistake(f"missing Match criteria for {criterion}")
        yield word.startswith("!"), criterion, argument


def _delimited(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _DELIMITED.match(text, at)
        if found is None:
            raise Mistake("bad Match condition")
        word = found[3] if found[3] is not None else found[1] + found[2]
        if word.startswith("#") and found[3] is not None:
            return
        yield word
        at = found.end()


def value_of(keyword: str, arguments: list[str], rest: str) -> str | None:
    """The value that a line gives to a setting that drctl follows; None for all others."""
    read = _SETTINGS.get(keyword)
    return read(arguments, rest) if read else None


def _single(arguments: list[str], rest: str) -> str:
    del rest
    if len(arguments) != 1 or not arguments[0]:
        raise Mistake("one argument expected")
    return arguments[0]


def _several(arguments: list[str], rest: str) -> str:
    del rest
    if not arguments or not all(arguments):
        raise Mistake("an argument is missing")
    if len(arguments) > 1 and "none" in (word.lower() for word in arguments):
        raise Mistake('"none" must appear alone')
    return " ".join(arguments)


def _one_of(**values: str) -> Callable[[list[str], str], str]:
    def read(arguments: list[str], rest: str) -> str:
        value = values.get(_single(arguments, rest).lower().replace("-", "_"))
        if value is None:
            raise Mistake(f"unsupported option {arguments[0]!r}")
        return value

    return read


def _port(arguments: list[str], rest: str) -> str:
    try:
        return str(names.port(_single(arguments, rest)))
    except InvalidInput as e:
        raise Mistake(e.message) from e


def _number(arguments: list[str], rest: str) -> str:
    value = _single(arguments, rest)
    if not (value.isascii() and value.isdigit()):
        raise Mistake(f"{value!r} is not a number")
    return value


def _command(arguments: list[str], rest: str) -> str:
    del arguments
    return rest.lstrip(" \t=")


def _jump(arguments: list[str], rest: str) -> str:
    text = _command(arguments, rest)
    if text.lower() == "none":
        return "none"
    text = text.partition("#")[0].rstrip()
    try:
        names.jumps(text)
    except InvalidInput as e:
        raise Mistake(e.message) from e
    return text


_SETTINGS: dict[str, Callable[[list[str], str], str]] = {
    "hostname": _single,
    "port": _port,
    "user": _single,
    "identityfile": _single,
    "identityagent": _single,
    "hostkeyalias": _single,
    "identitiesonly": _one_of(yes="yes", true="yes", no="no", false="no"),
    "userknownhostsfile": _several,
    "globalknownhostsfile": _several,
    "revokedhostkeys": _single,
    "stricthostkeychecking": _one_of(
        yes="true",
        true="true",
        no="false",
        false="false",
        off="false",
        ask="ask",
        accept_new="accept-new",
    ),
    "proxyjump": _jump,
    "proxycommand": _command,
    "canonicalizehostname": _one_of(yes="yes", true="yes", no="no", false="no", always="always"),
    "canonicalizemaxdots": _number,
}
