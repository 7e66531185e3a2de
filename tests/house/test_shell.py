"""No template puts a value into shell that could be more than a word."""

from __future__ import annotations

import pytest

from tests.house import ROOT
from tests.house.shell import raw_expressions, shell_templates

GIVEN_BY_THE_INCLUDER = {
    "tool": "etcd/tool/",
    "at": "etcd/state/",
}
"""Set to a literal by the template that includes these; -> where they may be used."""


HOW = (
    "quote it outside of quotes: {{ x | q }}; a value('x') or seen('x') stands within double ones:"
)


def test_every_expression_of_the_shipped_shell_is_quoted_or_declared() -> None:
    raw = [
        str(found)
        for name, source in shell_templates(ROOT / "templates")
        for found in raw_expressions(name, source)
        if not name.startswith(GIVEN_BY_THE_INCLUDER.get(found.text, "\0"))
    ]
    assert raw == [], "\n".join([HOW, *raw])


def test_it_looks_at_all_of_them() -> None:
    names = [name for name, _ in shell_templates(ROOT / "templates")]
    assert len(names) > 80
    assert "etcd/written.sh.j2" in names


@pytest.mark.parametrize(
    "source",
    [
        "a={{ proven_revision }}",
        "a={{ member.name }}",
        "a={{ value('token') }}",  # a shell variable that splits into words
        'echo "x" {{ seen("was") }}',
        "{% for v in members %}{{ v }}{% endfor %}",
        "a={{ member.name | trim }}",
        "a={{ (member.name | q) ~ host.name }}",
        'a="{{ member.name | q }}"',  # the quotes that it gets do not count within these
        "awk '$1 == {{ member.name | q }}'",
        'a="$(echo "{{ member.name | q }}")"',
        "{% set tool = host.name %}{{ tool }}",
    ],
)
def test_what_is_raw_is_found(source: str) -> None:
    assert list(raw_expressions("mine", source))


@pytest.mark.parametrize(
    "source",
    [
        "a={{ member.name | q }}",
        'a="$(dirname {{ member.cert | q }})"/x',
        "# it's\na={{ member.name | q }}",
        "a=\"{{ value('token') }}\"",
        "a={{ proven_revision | int }}",
        "{% for verb in ('start', 'stop') %}cmd_{{ verb }}() { :; }{% endfor %}",
        "{# {{ member.name }} #}",
        "{{ service.ready[host.name] }}",
    ],
)
def test_what_is_a_word_is_not(source: str) -> None:
    assert not list(raw_expressions("mine", source))
