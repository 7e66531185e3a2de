"""One node among three that lies: it answers what it likes, wherever something is read from it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from drctl.transport import CommandResult, Script
from tests.support.bench import Bench, Ended

LIAR = "m1"
DEED = "drctl-canary-deed"
"""What no shell anywhere may come to run, and no other host to hear."""

HOSTILE = {
    "substitution": f"$(touch {DEED})",
    "backticks": f"`touch {DEED}`",
    "semicolon": f"1; touch {DEED}; #",
    "quotes": f"'; touch {DEED}; '\"; touch {DEED}; \"",
    "newline": f"1\ntouch {DEED}",
    "parent": f"../../../{DEED}",
    "option": f"--{DEED}",
    "control": f"\x1b]0;{DEED}\x07\x9b2J\x08\u202e{DEED}",
    "nul": f"1\0{DEED}",
    "number": "9" * 5000 + DEED,
    "only digits": "9" * 5000,
    "negative": "-9223372036854775809",
    "megabyte": DEED * (2**20 // len(DEED)),
    "nested": "[" * 100_000,
    "nothing": "",
}


class Lies:
    """Replaces what the liar says. `said` counts the answers that were changed."""

    def __init__(self, bench: Bench, tell: Callable[[str, str], str]) -> None:
        self._bench = bench
        self._tell = tell
        self.said = 0
        self.heard: list[tuple[str, Script, Mapping[str, str]]] = []
        self._run = bench.rig.run
        bench.monkeypatch.setattr(bench.rig, "run", self._listen)

    def end(self) -> None:
        """That node is mended."""
        self._bench.monkeypatch.setattr(self._bench.rig, "run", self._run)

    def _listen(
        self, host: str, script: Script, env: Mapping[str, str] | None = None, *, deadline: float
    ) -> CommandResult:
        self.heard.append((host, script, dict(env or {})))
        result = self._run(host, script, env, deadline=deadline)
        if host != LIAR:
            return result
        lie = self._tell(script.name, result.stdout)
        self.said += lie != result.stdout
        return CommandResult(result.status, lie, result.stderr)

    def check(self, ended: Ended, folder: Path) -> None:
        """Nothing of it ran, nobody else heard it, and the operator's terminal is as it was."""
        assert ended.exit != 1, ended.err[-2000:]
        for text in (ended.out, ended.err):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        for host, script, env in self.heard:
            assert DEED not in script.body, f"{script.name} on {host}"
            if host != LIAR:
                assert not [n for n, v in env.items() if DEED in v], f"{script.name} on {host}"
            elif DEED in (body := env.get("DRCTL_BODY", "")):
                _runs_nothing(body, folder)
        assert not list(folder.rglob(DEED))


def _runs_nothing(body: str, folder: Path) -> None:
    """The assignments before a job's script are only that."""
    lexer = shlex.shlex(body, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    preamble = []
    for word in lexer:
        if not re.match(r"DRCTL_[A-Z0-9_]+=", word):
            break
        preamble.append(word)
    assert any(DEED in word for word in preamble), "it stands outside the assignments"
    end = body.index("\n", body.rindex(preamble[-1].partition("=")[0]))
    ran = subprocess.run(
        ["sh", "-c", body[:end]], cwd=folder, env={"PATH": ""}, capture_output=True, check=False
    )
    assert ran.stderr == b""


def every_field(lie: str, only: str = "") -> Callable[[str, str], str]:
    """Put `lie` for the value of each `name=value` line (of `only` that one)."""

    def tell(_script: str, text: str) -> str:
        return "".join(
            f"{name}={lie}\n" if eq and only in ("", name) else f"{name}{eq}{value}\n"
            for name, eq, value in (line.partition("=") for line in text.splitlines())
        )

    return tell


def in_documents(lie: object, where: str = "") -> Callable[[str, str], str]:
    """Put `lie` for each leaf of the JSON that the liar keeps (of the file `where`)."""

    def tell(_script: str, text: str) -> str:
        lines = []
        for line in text.splitlines():
            name, colon, rest = line.partition(":")
            if name.endswith((".json", "/started")) and where in name and rest.startswith("{"):
                rest = json.dumps(_replaced(json.loads(rest), lie))
            lines.append(name + colon + rest)
        return "\n".join(lines) + "\n"

    return tell


def _replaced(document: object, lie: object) -> object:
    if isinstance(document, dict):
        return {name: _replaced(value, lie) for name, value in document.items()}
    if isinstance(document, list):
        return [_replaced(value, lie) for value in document]
    return lie
