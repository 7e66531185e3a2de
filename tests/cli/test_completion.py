"""Completion, typed into real shells: what a TAB offers, and that it touches nothing."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drctl.cli import cli
from drctl.cli.complete import completing
from tests.house import ROOT

pytestmark = pytest.mark.slow

RUN = "20261126T031500-abcd"
OLDER = "20261125T031500-efgh"
BIN = Path(sys.executable).parent
SECONDS = 30

LOADED = {
    "bash": 'eval "$(_DRCTL_COMPLETE=bash_source drctl)"',
    "zsh": 'autoload -U compinit; compinit -D -u; eval "$(_DRCTL_COMPLETE=zsh_source drctl)"',
    "fish": "_DRCTL_COMPLETE=fish_source drctl | source",
}
"""As in the README; compinit is what a zsh of everybody's has in its .zshrc."""

BARE = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an inventory, and a state directory that knows two runs of its cluster and one
    of another."""
    shutil.copy(ROOT / "inventory.example.yaml", tmp_path / "prod.yaml")
    for cluster, run in (("prod", OLDER), ("prod", RUN), ("other", "20261124T031500-other")):
        folder = tmp_path / "state" / cluster / run
        folder.mkdir(parents=True)
        (folder / "journal.sqlite").touch()
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    path = f"{BIN}:{os.environ['PATH']}"
    home = {"HOME": str(place), "XDG_CONFIG_HOME": str(place), "XDG_DATA_HOME": str(place)}
    known = {"PATH": path, "DRCTL_STATE_DIR": str(place / "state"), "TERM": "xterm", **home}
    return known | {"LANG": "C.UTF-8", "PS1": "> "}


Tab = Callable[..., list[str]]


@pytest.fixture
def tab(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tab:
    """What drctl answers to a shell's script; the last of the words is half typed."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("DRCTL_STATE_DIR", str(place / "state"))

    def press(*words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("COMP_WORDS", " ".join(["drctl", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_DRCTL_COMPLETE", f"{shell}_complete")
        assert completing(cli)
        told = capsys.readouterr()
        assert told.err == ""
        return told.out.splitlines()

    return press


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("roll",), ["plain,rollback"]),
        (("rollback", "--los"), ["plain,--lose-writes"]),
        (("rollback", "20261126"), [f"plain,{RUN}"]),
        (
            ("runs", "show", "2026"),
            [f"plain,{RUN}", f"plain,{OLDER}", "plain,20261124T031500-other"],
        ),
        (("runs", "show", "-i", "prod.yaml", "2026"), [f"plain,{RUN}", f"plain,{OLDER}"]),
        (("runs", "show", "--state-dir", "elsewhere", "2026"), []),
        (("restore", "--resume", "20261125"), [f"plain,{OLDER}"]),
        (("restore", "--inventory", "pro"), ["file,pro"]),
        (("restore", "--snapshot", ""), ["file,"]),
        (("restore", "--runbook", "restore-s"), ["file,restore-s", "plain,restore-staged"]),
        (("runbook", "show", "restore-s"), ["file,restore-s", "plain,restore-staged"]),
        (("restore", "-i", "prod.yaml", "--abandon", "etcd-2"), ["plain,etcd-2"]),
        (("restore", "--abandon", "etcd-2"), []),
        (("restore", "-i", "missing.yaml", "--abandon", "etcd-2"), []),
        (("drill", "run", "controller-k"), ["file,controller-k", "plain,controller-killed"]),
        (("drill", "run", "--driver", ""), ["plain,local", "plain,docker"]),
        (("lab", "break", "node-k"), ["plain,node-killed"]),
        (("drill", "report", ""), []),
        (("no-such-command", "x"), []),
    ],
    ids=" ".join,
)
def test_what_is_offered(tab: Tab, typed: tuple[str, ...], expected: list[str]) -> None:
    assert [line for line in tab(*typed) if line] == expected


def test_a_word_comes_with_what_is_known_about_it(tab: Tab) -> None:
    assert tab("rollback", "20261124", shell="zsh") == ["plain", "20261124T031500-other", "other"]


WATCHED = """
import sys
from drctl.cli import main
def look(event, given):
    flags = given[2] if event == "open" else 0
    writes = event == "open" and isinstance(flags, int) and flags & 3
    if writes or event.startswith(("socket.", "subprocess.", "os.mkdir", "os.posix_spawn")):
        print("TOUCHED", event, given, flush=True)
sys.addaudithook(look)
main()
"""


@pytest.mark.parametrize(
    "typed", ["rollback 2", "restore -i prod.yaml --abandon e", "drill report ", "lab break q"]
)
def test_a_tab_connects_to_nothing_and_writes_nothing(place: Path, typed: str) -> None:
    asked = {"COMP_WORDS": f"drctl {typed}", "COMP_CWORD": str(len(typed.split(" ")))}
    told = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED],
        cwd=place,
        env=environment(place)
        | asked
        | {"_DRCTL_COMPLETE": "bash_complete", "DRCTL_STATE_DIR": str(place / "none")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "TOUCHED" not in told.stdout
    assert not (place / "none").exists()


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not shutil.which(name):
        reason = f"{name} is not installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return name


@pytest.fixture
def terminal(shell: str, place: Path) -> Iterator[Terminal]:
    opened = Terminal(BARE[shell], environment(place), place)
    yield opened
    opened.close()


class Terminal:
    """An interactive shell on a pseudo-terminal of its own."""

    def __init__(self, argv: tuple[str, ...], env: dict[str, str], cwd: Path) -> None:
        self.shown = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], list(argv), env)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def shows(self, text: str) -> bool:
        """Whether `text` comes to stand there; what came before it is forgotten."""
        end = time.monotonic() + SECONDS
        while text not in self.shown and time.monotonic() < end:
            if select.select([self._fd], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._fd, 65536).decode(errors="replace")
                except OSError:  # the shell has ended
                    break
        found = text in self.shown
        self.shown = self.shown.partition(text)[2]
        return found

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def test_a_tab_completes_in_a_real_shell(shell: str, terminal: Terminal) -> None:
    terminal.type(f"{LOADED[shell]}; echo ready-''set\n")  # its echo is not what was typed
    assert terminal.shows("ready-set"), terminal.shown
    for typed, completed in (
        ("drctl rollb\t", "ack"),
        ("-i pro\t", "prod.yaml"),
        ("20261125\t", OLDER.removeprefix("20261125")),
    ):
        terminal.type(typed)
        assert terminal.shows(completed), (typed, terminal.shown)


def test_the_readme_says_how_each_shell_is_set_up() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, line in LOADED.items():
        assert re.sub(r"^autoload .*?; compinit .*?; ", "", line) in text, name
