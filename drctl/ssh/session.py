"""One script on one channel: what is sent, how the output is drained, what the end means."""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import SSHException

from drctl.errors import AuthRefused, ConnectionLost, DrctlError, InvalidInput, StepFailed
from drctl.ssh.limits import Countdown
from drctl.transport import CommandResult, Script

MAX_OUTPUT = 8 * 2**20  # bytes of stdout and stderr together
# Paramiko may acknowledge output after it has answered the other side's CLOSE; a strict server
# (asyncssh) then drops the whole connection. With this window the first acknowledgement is due
# after 100 MB. Output is drained as it comes, so it is not memory.
RUN_WINDOW = 2**30
AT_ONCE = 64  # chunks read before the countdown is looked at: a node may never stop talking
LINGER = 2.0  # seconds to wait for more output of a script that has ended, if a child holds it open

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READ_ONLY = {"PPID", "UID", "EUID", "SHELLOPTS", "BASHOPTS"}  # in dash or bash
_NO_SUDO = re.compile(r"\bsudo: (command )?not found$")

LOST = (OSError, EOFError, SSHException)
"""What paramiko raises when a connection breaks."""


def new_marker() -> str:
    """What a started script says first. Unpredictable, so that no login banner can say it."""
    return f"drctl-started-{secrets.token_hex(8)}"


def wrapped(script: Script, env: Mapping[str, str], marker: str) -> bytes:
    """What goes to the standard input of `sh -s`.

    The shell parses the braces as a whole before it runs any of it: a cut connection runs nothing
    rather than half a script, and no child can read the rest of the script as its input.
    """
    lines = [f"{_variable(name)}={_quoted(name, value)}" for name, value in env.items()]
    begin = f"printf '%s\\n' {marker}"  # on both streams: a login may have printed to either
    lines += ["{", begin, f"{begin} >&2", script.body, "} </dev/null", "exit $?", ""]
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


class _Bell(threading.Event):
    """Rings when a channel has something to read; paramiko's own clear() would lose a ring that
    comes from the other stream, so only `reset` silences it."""

    def clear(self) -> None:
        pass

    def reset(self) -> None:
        super().clear()


class Output:
    """Both output streams of a channel, drained together and bounded."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._bell = _Bell()
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)
        self.out, self.err = bytearray(), bytearray()
        self.total = 0

    def drain(self, countdown: Countdown) -> None:
        """Read until the command has ended and said everything, or the countdown runs out.

        A child that keeps the output open after the end does not hold us up for long.
        """
        quiet_since = time.monotonic()
        while countdown.left() > 0:
            self._bell.wait(countdown.left(0.25))
            self._bell.reset()
            # Looked at before reading: what was said before the end is in the buffers then.
            over = self._channel.eof_received or self._channel.closed
            ended = self._channel.status_event.is_set()
            if self._read():
                quiet_since = time.monotonic()
            elif over or (ended and time.monotonic() - quiet_since > LINGER):
                break
        self._channel.status_event.wait(countdown.left())

    def heard(self, word: bytes, *, keep: bool = False) -> bool:
        """Whether `word` was said by now; what came before it is forgotten then."""
        self._read()
        if keep:
            return word in self.out
        _, found, after = self.out.partition(word)
        if found:
            self.out = after
        return bool(found)

    def await_word(self, word: bytes, countdown: Countdown, *, keep: bool = False) -> bool:
        """Read until `word` was said; False where the command or the countdown ended before.
        Where `keep`, what came before it, and itself, are not forgotten."""
        while countdown.left() > 0:
            over = self._channel.eof_received or self._channel.closed
            if self.heard(word, keep=keep):
                return True
            if over and not self._bell.is_set():
                break
            self._bell.wait(countdown.left(0.25))
            self._bell.reset()
        return False

    def _read(self) -> int:
        before, channel = self.total, self._channel
        for _ in range(AT_ONCE):
            if channel.recv_ready():
                self._keep(self.out, channel.recv(2**16))
            if channel.recv_stderr_ready():
                self._keep(self.err, channel.recv_stderr(2**16))
            elif not channel.recv_ready():
                break
        else:  # there may be more, and nobody rings for it again
            self._bell.set()
        return self.total - before

    def _keep(self, where: bytearray, data: bytes) -> None:
        room = MAX_OUTPUT - len(self.out) - len(self.err)
        where += data[:room]  # the rest is read and dropped: the command must be able to end
        self.total += len(data)


def start(channel: paramiko.Channel, command: str) -> Output:
    """Start `command`; AuthRefused if the host does not allow that."""
    try:
        channel.exec_command(command)
    except SSHException as e:
        if not _transport_alive(channel):
            raise
        raise AuthRefused("logged in, but the host refuses to run commands") from e
    return Output(channel)


def execute(channel: paramiko.Channel, command: str, stdin: bytes, countdown: Countdown) -> Output:
    """Start `command`, give it `stdin`, and return when it has ended or the countdown has."""
    output = start(channel, command)
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except OSError:
        # The other side closed the channel before it had read everything. With an exit status
        # that is an answer (sudo said no), without one the connection broke.
        if channel.exit_status < 0:
            raise
    output.drain(countdown)
    return output


def _transport_alive(channel: paramiko.Channel) -> bool:
    return channel.transport is not None and channel.transport.is_active()


def status_of(channel: paramiko.Channel) -> int:
    """The exit status; ConnectionLost where none came."""
    if channel.status_event.is_set() and channel.exit_status >= 0:
        return channel.exit_status
    if _transport_alive(channel) and channel.closed:
        raise ConnectionLost("the command ended without an exit status, as if killed")
    raise ConnectionLost("the connection broke before an answer came")


@dataclass(frozen=True)
class Outcome:
    """The end of `sh -s`, to be judged by whether the script announced itself."""

    script: Script
    become: str
    marker: str
    status: int
    output: Output

    def result(self, seconds: float) -> CommandResult:
        """The script's result, or the reason why it never began."""
        mark = f"{self.marker}\n".encode()
        noise, began, errors = self.output.err.partition(mark)
        stderr = bytes(errors if began else noise).decode("utf-8", "replace")
        before, started, stdout = self.output.out.partition(mark)
        if not started:
            if "syntax error" in stderr.lower() and self.status != 0:
                return CommandResult(self.status, "", stderr, seconds)
            said = stderr + bytes(before).decode("utf-8", "replace")
            raise refusal(self.become, said, self.status)
        if self.output.total > MAX_OUTPUT:
            raise StepFailed(
                f"{self.script.name} ended with status {self.status}, but wrote "
                f"{self.output.total} bytes (limit {MAX_OUTPUT})"
            )
        return CommandResult(self.status, stdout.decode("utf-8", "replace"), stderr, seconds)


def refusal(become: str, said: str, status: int) -> DrctlError:
    """The error for a shell that did not start what it was given: nothing was run."""
    words = tail(said)
    if become == "sudo" and is_sudo_refusal(said):
        return AuthRefused(
            f"sudo refused: {words}",
            hint="allow this user NOPASSWD in sudoers, or set `become: none` in the inventory",
        )
    return AuthRefused(
        f"the login shell did not run the script (status {status}): {words or 'no output'}",
        hint="check this user's login shell, and ForceCommand in sshd_config",
    )


def is_sudo_refusal(said: str) -> bool:
    """Whether sudo, and nothing else, spoke (it speaks the node's language)."""
    lines = [line for line in said.splitlines() if line.strip()]
    return bool(lines) and all(
        line.startswith("sudo:") or "sudoers" in line or _NO_SUDO.search(line) for line in lines
    )


def tail(text: str, most: int = 400) -> str:
    """The end of what a remote command said, on one line, without control characters."""
    flat = " | ".join(line.strip() for line in text.splitlines() if line.strip())
    return "".join(c for c in flat if c.isprintable())[-most:]
