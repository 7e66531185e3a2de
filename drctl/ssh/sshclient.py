"""The OpenSSH client of this machine, asked what it would do (`ssh -G`)."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from drctl.errors import InvalidInput

OLDEST = (8, 8)  # the first that can be told to ask no resolver
DEADLINE = 15.0  # seconds for one answer: a `Match exec` may hang

# With these CanonicalizeHostname finds no domain to try, and follows no CNAME.
_NO_RESOLVER = (
    *("-o", "CanonicalDomains=none"),
    *("-o", "CanonicalizePermittedCNAMEs=none"),
    *("-o", "CanonicalizeFallbackLocal=yes"),
)


def find_client() -> Path | None:
    """The `ssh` on PATH, if it runs, is OpenSSH and new enough, and knows who we are."""
    program = shutil.which("ssh")
    if program is None or not _has_account():
        return None
    try:
        told = subprocess.run(
            [program, "-V"], stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(rb"OpenSSH_(\d+)\.(\d+)", told.stderr)
    new_enough = found is not None and (int(found[1]), int(found[2])) >= OLDEST
    return Path(program) if new_enough else None


def _has_account() -> bool:
    """Without an entry in the user database (some containers) ssh does not start."""
    try:
        return bool(pwd.getpwuid(os.getuid()))
    except KeyError:
        return False


class SshClient:
    """Reads ssh_config by asking `ssh -G`, which also runs what a `Match exec` names, as every
    login with ssh does."""

    def __init__(self, program: Path, path: Path | None) -> None:
        """`path` replaces the user's and the system's file."""
        self._argv = [str(program), "-G", "-T", *_NO_RESOLVER]
        self._argv += ["-F", str(path)] if path else []

    def read(self, alias: str, user: str | None, port: int | None) -> dict[str, list[str]]:
        """See `drctl.ssh.sshconfig.Reader`; InvalidInput with ssh's own words if it refuses."""
        given = [*(("-l", user) if user else ()), *(("-p", str(port)) if port else ())]
        told = _run([*self._argv, *given, "--", alias], alias)
        answers: dict[str, list[str]] = {}
        for line in told.splitlines():
            keyword, _, value = line.partition(" ")
            answers.setdefault(keyword.lower(), []).append(value)
        return answers


def _run(argv: list[str], alias: str) -> str:
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=True,  # so that what a `Match exec` started ends with it
    ) as process:
        try:
            out, err = process.communicate(timeout=DEADLINE)
        except BaseException as e:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(e, subprocess.TimeoutExpired):
                raise
            raise InvalidInput(
                f"`ssh -G {alias}` did not finish within {DEADLINE:g} s",
                hint="try it by hand; a `Match exec` in ssh_config may hang",
            ) from None
    if process.returncode != 0:
        raise InvalidInput(
            f"ssh rejects the ssh_config for {alias}: {_words(err)}",
            hint=f"try: ssh -G {alias}",
        )
    return out


def _words(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text[:1000])
    return " ".join(printable.split()) or "no output"
