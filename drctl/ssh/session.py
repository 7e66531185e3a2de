"""One script on one channel: how the node's shell is greeted, what is sent, what the end means."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import SSHException

from drctl.errors import AuthRefused, ConnectionLost, DrctlError, InvalidInput, StepFailed
from drctl.ssh.limits import Countdown
from drctl.ssh.output import MAX_OUTPUT, Marks, Output, tail
from drctl.transport import CommandResult, Script

# Paramiko may acknowledge output after it has answered the other side's CLOSE; a strict server
# (asyncssh) then drops the whole connection. With this window the first acknowledgement is due
# after 100 MB. Output is drained as it comes, so it is not memory.
RUN_WINDOW = 2**30

# What is on the command line: one line without "!" or nested quotes, which a csh as login shell
# takes too. Nothing else is sent before the shell has said that it is ready: until then a login
# may read, and would eat it.
_GREETING = 'printf "%s-ready\\n" "$1"; printf "%s-ready\\n" "$1" >&2; exec sh -s'

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READ_ONLY = {"PPID", "UID", "EUID", "SHELLOPTS", "BASHOPTS"}  # in dash or bash
_NO_SUDO = re.compile(r"\bsudo: (command )?not found$")

LOST = (OSError, EOFError, SSHException)
"""What paramiko raises when a connection breaks."""


def new_marks() -> Marks:
    """Marks for one call. Unpredictable: no login, file or neighbour can say them."""
    return Marks(secrets.token_hex(8), secrets.token_hex(8))


def wrapped(
    script: Script,
    env: Mapping[str, str],
    marks: Marks,
    *,
    arguments: Sequence[str] = (),
    feeds: bool = False,
) -> bytes:
    """What goes to the standard input of `sh -s`; with `feeds` the script reads what comes behind.

    The shell parses the braces as a whole before it runs any of it: a cut connection runs nothing
    rather than half a script, and no child can read the rest of the script as its input. The
    script says with which status it ended: a login's shell or recorder may end with another.
    """
    say = f"printf '%s-%s\\n' {marks.script} begun"  # on both streams: a login prints to either
    end = f'printf "%s-ended %s\\n" {marks.script} "$drctl_n"'
    trap = f"trap 'drctl_n=$?; {end}; {end} >&2; exit \"$drctl_n\"' EXIT"
    lines = [f"{_variable(name)}={_quoted(name, value)}" for name, value in env.items()]
    lines += [shlex.join(["set", "--", *arguments])] if arguments else []
    close = "}" if feeds else "} </dev/null"
    lines += ["{", trap, say, f"{say} >&2", script.body, "exit", close, ""]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _variable(name: str) -> str:
    if _NAME.fullmatch(name) and name not in _READ_ONLY:
        return name
    raise InvalidInput(f"{name!r} is not a valid shell variable name")


def _quoted(name: str, value: str) -> str:
    if "\0" in value:
        raise InvalidInput(
            f"the value of {name} contains a NUL character, which a shell cannot take"
        )
    return shlex.quote(value)


def argv(become: str, *words: str) -> str:
    """The remote command line, with sudo where the host says so. Never asks for a password."""
    return shlex.join(["sudo", "-n", "--", *words] if become == "sudo" else list(words))


@dataclass(frozen=True)
class Call:
    """A script that is to run on a channel, as root where the host says `become: sudo`."""

    channel: paramiko.Channel
    become: str
    countdown: Countdown

    def begin(self, stdin: bytes, marks: Marks, *more: str, close: bool) -> Output:
        """Greet the shell, and give it `stdin` once it is ready. `more` are words that the script
        says on stdout before what counts; with `close` nothing comes behind `stdin`.

        Raises AuthRefused where no shell gets ready, LOST or ConnectionLost where the connection
        broke. The script may refuse to begin or end at once: its status tells.
        """
        output = self._start(marks, *more)
        if not output.await_mark(1, self.countdown):
            output.drain(self.countdown)
            raise refusal(self.become, output.said(), status_of(self.channel))
        with self._cut_short():
            self.channel.sendall(stdin)
        if close:
            self.close()
        return output

    def close(self) -> None:
        """Nothing more will be sent."""
        with self._cut_short():
            self.channel.shutdown_write()

    def _start(self, marks: Marks, *more: str) -> Output:
        command = argv(self.become, "sh", "-c", _GREETING, "sh", marks.ready)
        try:
            self.channel.exec_command(command)
        except SSHException as e:
            if not _transport_alive(self.channel):
                raise
            raise AuthRefused("logged in, but the host refuses to run commands") from e
        return Output(self.channel, marks, *more)

    @contextmanager
    def _cut_short(self) -> Iterator[None]:
        """The other side may close the channel before it has read everything. With an exit status
        that is an answer, without one the connection broke."""
        try:
            yield
        except OSError:
            if self.channel.exit_status < 0:
                raise

    def finish(self, output: Output, name: str) -> int:
        """Hear the script out: its own status. AuthRefused where it never began, ConnectionLost
        where nothing says how it ended."""
        output.drain(self.countdown)
        if output.status is not None:
            return output.status
        status = status_of(self.channel)
        if output.out.passed >= 2:  # it had begun, and was killed before it could say its status
            raise ConnectionLost(f"{name} did not say how it ended (status {status}), as if killed")
        if status and "syntax error" in output.said().lower():
            return status
        raise refusal(self.become, output.said(), status)


def execute(call: Call, name: str, stdin: bytes, marks: Marks) -> CommandResult:
    """Run the `wrapped` script `name`; returns when it has ended, or the countdown has."""
    output = call.begin(stdin, marks, close=True)
    status = call.finish(output, name)
    if output.lost:
        raise StepFailed(
            f"{name} ended with status {status}, but wrote {output.lost} bytes too many "
            f"(limit {MAX_OUTPUT})"
        )
    stdout, stderr = (bytes(s.text).decode("utf-8", "replace") for s in (output.out, output.err))
    return CommandResult(status, stdout, stderr)


def _transport_alive(channel: paramiko.Channel) -> bool:
    return channel.transport is not None and channel.transport.is_active()


def status_of(channel: paramiko.Channel) -> int:
    """The exit status; ConnectionLost where none came."""
    if channel.status_event.is_set() and channel.exit_status >= 0:
        return channel.exit_status
    if _transport_alive(channel) and channel.closed:
        raise ConnectionLost("the command ended without an exit status, as if killed")
    raise ConnectionLost("the connection broke before an answer came")


def refusal(become: str, said: str, status: int) -> DrctlError:
    """The error for a shell that did not start what it was given: nothing was run."""
    if become == "sudo" and (refused := _sudo_refusal(said)):
        return AuthRefused(
            f"sudo refused: {tail(refused)}",
            hint="allow this user NOPASSWD in sudoers, or set `become: none` in the inventory",
        )
    return AuthRefused(
        f"the login shell did not run the script (status {status}): {tail(said) or 'no output'}",
        hint="check this user's login shell, and ForceCommand in sshd_config",
    )


def _sudo_refusal(said: str) -> str:
    """What sudo said (it speaks the node's language), without what the login printed around it."""
    return "\n".join(
        line
        for line in said.splitlines()
        if line.startswith("sudo:") or "sudoers" in line or _NO_SUDO.search(line)
    )
