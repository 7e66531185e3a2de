"""The README's picture: a real restore of a local cluster, as the terminal showed it.

    python -m tests.picture docs/restore.svg [ETCD]     (or: make picture; about a minute)

A lab is started, backed up and broken; then the two commands of the picture are typed into a shell
on a pseudo-terminal, the question is answered by typing, and every line stands in the picture with
the moment at which it came: the film runs as the restore ran. Where nothing moves (in print, or for
who wants no motion) it shows the end.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 112, 32  # of the window that the film shows
SECONDS = 300  # the longest that one command may take
QUIET = 1.5  # seconds without output: a question stands there
LAST = 8  # seconds for which the end is shown
DRCTL = Path(sys.executable).parent / "drctl"
PROMPT = "$ "

FORMAT = """\
<svg viewBox="0 0 {width} WINDOW_HEIGHT" xmlns="http://www.w3.org/2000/svg">
  <title>drctl restore: a real run against a local three-member cluster</title>
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
      font-size: {char_height}px;
      line-height: {line_height}px;
      white-space: pre;
    }}
    {styles}
    .film {{ transform: translateY(LAST_OFFSETpx); animation: film DURATIONs step-end infinite; }}
    .cover {{ transform: translateY(SHOWNpx); animation: cover DURATIONs step-end infinite; }}
    @keyframes film {{ FRAMES }}
    @keyframes cover {{ COVERED }}
    @media print, (prefers-reduced-motion: reduce) {{ .film, .cover {{ animation: none; }} }}
  </style>
  <defs>
    <clipPath id="window"><rect x="0" y="0" width="{terminal_width}" height="SHOWN" /></clipPath>
    {lines}
  </defs>
  <rect fill="#292929" width="{width}" height="WINDOW_HEIGHT" rx="8" />
  <g transform="translate(10, 12)" clip-path="url(#window)"><g class="film">
    {backgrounds}
    <g class="{unique_id}-matrix">{matrix}</g>
  </g><rect class="cover" fill="#292929" width="{terminal_width}" height="SHOWN" /></g>
</svg>
"""


class Screen:
    """What a terminal makes of the bytes that it gets: rows of text with their colours, each with
    the moment at which it was last written to. As much of a terminal as Rich and bash ask for."""

    _PIECE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[=>]|[\r\n\a]|[^\x1b\r\n\a]+")

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self.times: list[float] = [0.0]
        self._row = 0
        self._returned = False
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""

    @property
    def current(self) -> str:
        return Text.from_ansi(self.rows[self._row]).plain

    def feed(self, data: bytes, at: float) -> None:
        text = self._rest + self._decode(data)
        cut = text.rfind("\x1b")
        whole = cut < 0 or re.match(r"\x1b(\[[?0-9;]*[A-Za-z]|[=>])", text[cut:])
        self._rest = "" if whole else text[cut:]
        for found in self._PIECE.finditer(text if whole else text[:cut]):
            self._take(found[0], found[1] or "", found[2] or "", at)

    def _take(self, piece: str, number: str, letter: str, at: float) -> None:
        if piece == "\n":
            self._row, self._returned = self._row + 1, False
            if self._row == len(self.rows):
                self.rows.append("")
                self.times.append(at)
        elif piece == "\r":
            self._returned = True
        elif letter == "A":
            self._row = max(0, self._row - int(number or 1))
        elif letter == "K":
            self.rows[self._row], self.times[self._row], self._returned = "", at, False
        elif letter == "m" or not piece.startswith(("\x1b", "\a")):
            if self._returned and letter != "m":
                self.rows[self._row], self._returned = "", False
            self.rows[self._row] += piece
            self.times[self._row] = at


class Shell:
    """A shell on a pseudo-terminal, and what was shown there since it began."""

    def __init__(self, folder: Path, state_dir: Path) -> None:
        self.screen = Screen()
        self._begun = time.monotonic()
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            path = f"{DRCTL.parent}:{os.environ['PATH']}"
            told = {"PS1": PROMPT, "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            kept = {name: os.environ[name] for name in ("HOME",) if name in os.environ}
            os.execvpe(
                "bash",
                ["bash", "--norc", "--noprofile", "-i"],
                kept | told | {"DRCTL_STATE_DIR": str(state_dir)},
            )
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode() + b"\n")

    def until(self, met: Callable[[str], bool]) -> None:
        """Wait for the row of the cursor to be so, and for quiet. RuntimeError after SECONDS."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if select.select([self._fd], [], [], QUIET)[0]:
                self.screen.feed(os.read(self._fd, 65536), time.monotonic() - self._begun)
            elif met(self.screen.current):
                return
        raise RuntimeError("it did not come to that:\n" + "\n".join(self.screen.rows[-20:]))

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)


def filmed(*etcd: str) -> Screen:
    """A lab, its backup, its loss and its restore; returns what the terminal showed."""
    with _folder() as folder:
        state_dir, inventory = folder / "state", "lab/inventory.yaml"
        _drctl(
            folder, "lab", "up", "--dir", "lab", *(f"--etcd={Path(one).resolve()}" for one in etcd)
        )
        try:
            _drctl(folder, "backup", "--inventory", inventory, "--to", "backups")
            (backup,) = folder.glob("backups/*.db")
            cluster = backup.name.rsplit("-", 2)[0]
            shell = Shell(folder, state_dir)
            try:
                shell.until(lambda row: row == PROMPT)
                shell.type("drctl lab break majority-data-lost --dir lab")
                shell.until(lambda row: row == PROMPT)
                shell.type(
                    f"drctl restore --snapshot backups/{backup.name} --inventory {inventory}"
                )
                shell.until(lambda row: cluster in row)
                shell.type(cluster)
                shell.until(lambda row: row == PROMPT)
            finally:
                shell.close()
            _drctl(folder, "status", "--inventory", inventory)
        finally:
            _drctl(folder, "lab", "down", "--dir", "lab")
    return shell.screen


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder with a short name, removed at the end: its paths stand in the picture."""
    made = Path(tempfile.mkdtemp(prefix="dr-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def _drctl(folder: Path, *arguments: str) -> None:
    subprocess.run([DRCTL, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def drawn(screen: Screen) -> str:
    """The film as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    times: list[float] = []
    for row, at in zip(screen.rows, screen.times, strict=True):
        text = Text.from_ansi(row)
        for start in range(0, max(1, len(text.plain)), COLUMNS):  # as a terminal breaks a line
            console.print(text[start : start + COLUMNS], highlight=False)
            times.append(at)
    times = [at - times[0] for at in times]
    step = 20 * 1.22  # Rich's height of a line, in pixels
    duration = times[-1] + LAST
    moments = [100 * max(times[: number + 1]) / duration for number in range(len(times))]
    frames = {  # rows fill the window from above, then it moves down along them
        "film": [min(0, ROWS - number - 1) for number in range(len(times))],
        "cover": [min(ROWS, number + 1) for number in range(len(times))],
    }
    words = {
        "WINDOW_HEIGHT": f"{ROWS * step + 28:.0f}",
        "SHOWN": f"{ROWS * step:.1f}",
        "LAST_OFFSET": f"{min(0, ROWS - len(times)) * step:.1f}",
        "DURATION": f"{duration:.1f}",
        "FRAMES": _keyframes(moments, frames["film"], step),
        "COVERED": _keyframes(moments, frames["cover"], step),
    }
    svg = console.export_svg(code_format=FORMAT, unique_id="run")
    for word, value in words.items():
        svg = svg.replace(word, value)
    return svg


def _keyframes(moments: list[float], rows: list[int], step: float) -> str:
    """At each of `moments` (percent of the film) it is moved down by so many rows."""
    return " ".join(
        f"{moment:.2f}% {{ transform: translateY({row * step:.1f}px); }}"
        for moment, row in zip(moments, rows, strict=True)
    )


if __name__ == "__main__":
    target, *etcd_dir = sys.argv[1:]
    Path(target).write_text(drawn(filmed(*etcd_dir)), encoding="utf-8")
    print(f"written: {target}, {Path(target).stat().st_size // 1024} kB")
