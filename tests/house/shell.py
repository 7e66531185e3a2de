"""Which expressions of a shell template reach a shell unquoted: read from Jinja's own tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import nodes

from drctl.render import environment

PLAIN_FILTERS = {"int", "hex_address", "sha256", "plain", "plain_words"}
"""What these let through a shell takes for no more than letters, wherever it stands."""

DECLARED = {"value", "seen"}
"""Each stands for a shell variable, `${DRCTL_…}`: one word only within double quotes."""

OPERATORS_SHELL = {
    "service.ready[host.name]",
    'service.ready.get(host.name) or ":"',
    "service.commands.fill(unit=unit, host=host.name)[verb]",
}
"""Commands that the operator wrote in the inventory, to be run as they are."""


@dataclass(frozen=True)
class Raw:
    """An expression that nothing makes a word of."""

    template: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.template}:{self.line}: {{{{ {self.text} }}}}"


_OUTPUT = re.compile(r"\{\{-?\s*(?P<text>.*?)\s*-?\}\}", re.DOTALL)
_NO_SHELL = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)


def raw_expressions(name: str, source: str) -> Iterator[Raw]:
    """The expressions of the template that are neither quoted nor declared nor literals of its
    own, in the order in which they stand."""
    literals = _literals(source)
    shell = _NO_SHELL.sub(lambda found: "\n" * found[0].count("\n"), source)
    for found in _OUTPUT.finditer(shell):
        text, before = found["text"], shell[: found.start()]
        if text in OPERATORS_SHELL:
            continue
        expression = _parsed(text)
        within = quoting(_OUTPUT.sub("x", before))
        good = _is_plain(expression, literals)
        good |= _is_quoted(expression) and within == ""
        good |= _is_declared(expression) and within == '"'
        if not good:
            yield Raw(name, before.count("\n") + 1, text)


def quoting(shell: str) -> str:
    """The quotes in which whatever follows `shell` would stand: `"`, `'`, or "" for none."""
    stack, at = [""], 0
    while at < len(shell):
        here, two = shell[at], shell[at : at + 2]
        if stack[-1] == "'":
            if here == "'":
                stack.pop()
        elif here == "\\":
            at += 1
        elif two == "$(":
            stack.append("")
            at += 1
        elif here == '"':
            if stack[-1] == '"':
                stack.pop()
            else:
                stack.append('"')
        elif stack[-1] == "":
            if here == "'":
                stack.append("'")
            elif here == "#" and (at == 0 or shell[at - 1] in " \t\n"):
                at = _end_of_line(shell, at)
            elif here == ")" and len(stack) > 1:
                stack.pop()
        at += 1
    return stack[-1]


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _parsed(text: str) -> nodes.Expr:
    output = environment().parse("{{ " + text + " }}").body[0]
    assert isinstance(output, nodes.Output)
    return output.nodes[0]


def _is_plain(expression: nodes.Expr, literals: set[str]) -> bool:
    """Letters and digits, wherever it stands."""
    if isinstance(expression, nodes.Const):
        return True
    if isinstance(expression, nodes.Name):
        return expression.name in literals
    return isinstance(expression, nodes.Filter) and expression.name in PLAIN_FILTERS


def _is_quoted(expression: nodes.Expr) -> bool:
    return isinstance(expression, nodes.Filter) and expression.name == "q"


def _is_declared(expression: nodes.Expr) -> bool:
    return (
        isinstance(expression, nodes.Call)
        and isinstance(expression.node, nodes.Name)
        and expression.node.name in DECLARED
    )


def _literals(source: str) -> set[str]:
    """Names that the template itself sets to, or loops over, texts of its own."""
    tree = environment().parse(source)
    names = set()
    for loop in tree.find_all(nodes.For):
        if isinstance(loop.iter, nodes.Tuple) and all(
            isinstance(item, nodes.Const) for item in loop.iter.items
        ):
            names |= {node.name for node in loop.target.find_all(nodes.Name)}
            names |= {loop.target.name} if isinstance(loop.target, nodes.Name) else set()
    for setting in tree.find_all(nodes.Assign):
        if isinstance(setting.node, nodes.Const) and isinstance(setting.target, nodes.Name):
            names.add(setting.target.name)
    return names


def shell_templates(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, source) of every shell template under `folder`."""
    for path in sorted(folder.rglob("*.sh.j2")):
        yield str(path.relative_to(folder)), path.read_text(encoding="utf-8")
