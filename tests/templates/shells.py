"""The shells that a node may have, and tools whose every call can be counted or made fatal."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drctl.engine.jobs import preamble

FATAL = ("mv", "sync", "rm", "mkdir")
UTIL_LINUX = ("flock", "setsid")  # a busybox may lack them; the tool asks for both beforehand
# Built-ins only: these run some thousand times.
_WRAPPER = """#!/bin/sh
count=0 fatal=
read -r count < '{calls}'
read -r fatal < '{fatal}'
count=$((count + 1))
echo $count > '{calls}'
die() {{ read -r pid < '{pid}'; kill -9 "$pid"; exit 137; }}
[ "$fatal" != "before $count" ] || die
{effect} || exit
[ "$fatal" != "after $count" ] || die
"""


@dataclass(frozen=True)
class Ran:
    """How a script ended; -9: it was killed."""

    status: int
    out: str
    err: str

    @property
    def fields(self) -> dict[str, str]:
        pairs = (line.partition("=") for line in self.out.splitlines())
        return {name: value for name, eq, value in pairs if eq}


@dataclass
class Shell:
    """`sh` of one kind with the tools that come with it, in a folder that is PATH's first.

    `sync` does nothing here but be counted: a real one waits for the whole machine's disks.
    """

    kind: str
    folder: Path
    path: str = field(init=False)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        self.calls, self.fatal = self.folder / "calls", self.folder / "fatal"
        self.pid = self.folder / "pid"
        self.path = f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
        if self.kind == "busybox":
            self._busybox()
        else:
            (self.bin / "sh").symlink_to(needed("dash"))
        for name in FATAL:
            self._wrap(name)
        self.die(None)

    def _busybox(self) -> None:
        busybox = needed("busybox")
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
        for applet in listed.stdout.split():
            (self.bin / applet).symlink_to(busybox)
        for tool in UTIL_LINUX:
            if not (self.bin / tool).exists():
                (self.bin / tool).symlink_to(needed(tool))
        self.path = str(self.bin)

    def _wrap(self, name: str) -> None:
        real = f"{needed('busybox')} {name}" if self.kind == "busybox" else needed(name)
        wrapper = self.bin / name
        wrapper.unlink(missing_ok=True)
        effect = ":" if name == "sync" else f'{real} "$@"'
        wrapper.write_text(
            _WRAPPER.format(calls=self.calls, pid=self.pid, fatal=self.fatal, effect=effect)
        )
        wrapper.chmod(0o755)

    @property
    def argv(self) -> list[str]:
        return [str(self.bin / "sh")]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": self.path, "HOME": str(self.folder), "LANG": "C"}

    def die(self, when: str | None) -> None:
        """Kill the next script "before N" or "after N", its N-th call of a FATAL tool."""
        self.calls.write_text("0\n")
        self.fatal.write_text(f"{when or 'never'}\n")

    def over(self, script: str, env: Mapping[str, str]) -> str:
        """What travels over SSH (see drctl/ssh/session.py)."""
        trap = "trap 'drctl_n=$?; exit \"$drctl_n\"' EXIT"
        return f"{preamble(env)}{{\n{trap}\n{script}\nexit\n}} </dev/null\n"

    def stdin(self, script: str, env: Mapping[str, str], timeout: float = 90) -> Ran:
        """Run a script as the SSH transport does: all of it on the shell's stdin."""
        return self._run([*self.argv, "-s"], self.over(script, env), timeout)

    def body(self, script: str, env: Mapping[str, str], timeout: float = 60) -> Ran:
        """Run a script as a job does: from a file."""
        file = self.folder / "body.sh"
        file.write_text(preamble(env) + script)
        keep = f"echo $$ > '{self.pid}'; exec sh '{file}'"
        return self._run([*self.argv, "-c", keep], "", timeout)

    def start(self, script: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Begin a script as the SSH transport does, and do not wait."""
        sent = self.folder / "sent.sh"
        sent.write_text(self.over(script, env))
        with sent.open() as stdin:
            return subprocess.Popen(
                [*self.argv, "-s"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
                start_new_session=True,
            )

    def _run(self, argv: list[str], text: str, timeout: float) -> Ran:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            cwd="/",
        )
        return Ran(done.returncode, done.stdout, done.stderr)


def needed(tool: str) -> str:
    """The path of a tool; skips the test where this machine has none."""
    found = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {tool} on this machine")
    return found
