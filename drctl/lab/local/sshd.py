"""An SSH server for machines without OpenSSH's, in a process of its own.

    python -m drctl.lab.local.sshd --config FILE

Like OpenSSH's it runs each command by `/bin/sh -c` in a session of its own, keeps stdout and
stderr apart and binary, holds the channel open while somebody still has them open, and leaves
commands running whose connection is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

_SHELL = "/bin/sh"
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Config:
    """The server's settings, as its file (templates/lab/asyncssh.json.j2) gives them."""

    address: str
    port: int
    host_key: str
    authorized_keys: str
    home: str
    environment: Mapping[str, str]


async def serve(config: Config) -> None:
    """Listen until the process is told to end."""
    await asyncssh.listen(
        config.address,
        config.port,
        server_host_keys=[config.host_key],
        authorized_client_keys=config.authorized_keys,
        process_factory=lambda process: _session(process, config),
        sftp_factory=True,
        encoding=None,
        line_editor=False,
        keepalive_interval=30,
        server_version="drctl_lab",
    )
    sys.stderr.write(f"drctl lab sshd: listening on {config.address}:{config.port}\n")
    sys.stderr.flush()
    await asyncio.get_running_loop().create_future()


async def _session(process: asyncssh.SSHServerProcess[bytes], config: Config) -> None:
    try:
        if process.term_type and process.command is None:
            status = await _interactive(process, config)
        else:
            status = await _command(process, config)
    except OSError as error:
        process.stderr.write(f"drctl lab sshd: {error}\n".encode())
        status = 255
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def _command(process: asyncssh.SSHServerProcess[bytes], config: Config) -> int:
    argv = [_SHELL, "-c", process.command] if process.command else [_SHELL]
    child = await _start(argv, config, PIPE)
    assert child.stdin and child.stdout and child.stderr
    given = asyncio.create_task(_feed(process.stdin, child.stdin))
    # Not asyncssh's redirect: it passes the end of stdout on at once, at which OpenSSH's client
    # closes the channel before the status has been sent.
    await asyncio.gather(_carry(child.stdout, process.stdout), _carry(child.stderr, process.stderr))
    status = await child.wait()
    given.cancel()
    return status


async def _feed(source: asyncssh.SSHReader[bytes], sink: asyncio.StreamWriter) -> None:
    """Client to command; the command sees the end of its input, also when the client is lost."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while block := await source.read(_BLOCK):
            sink.write(block)
            await sink.drain()
    sink.close()


async def _carry(source: asyncio.StreamReader, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Command to client; read on when the client is lost, so that the command can end."""
    lost = False
    while block := await source.read(_BLOCK):
        if not lost:
            try:
                sink.write(block)
                await sink.drain()
            except (OSError, asyncssh.Error):
                lost = True


async def _interactive(process: asyncssh.SSHServerProcess[bytes], config: Config) -> int:
    """A shell on a terminal: as session leader it gets the first terminal that it opens."""
    master, slave = os.openpty()
    script = f'exec {_SHELL} -i <"$0" >"$0" 2>&1'
    child = await _start([_SHELL, "-c", script, os.ttyname(slave)], config, None)
    # Held open till the shell has opened it too; without any opener the master reads an error.
    await process.redirect(stdin=os.dup(master), stdout=master, send_eof=False)
    status = await child.wait()
    os.close(slave)
    return status


async def _start(argv: Sequence[str], config: Config, stdio: int | None) -> Process:
    environment = {"HOME": config.home, "SHELL": _SHELL, **config.environment}
    return await asyncio.create_subprocess_exec(
        *argv,
        stdin=stdio,
        stdout=stdio,
        stderr=stdio,
        cwd=config.home,
        env=environment,
        start_new_session=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Read the configuration and serve."""
    parser = argparse.ArgumentParser(prog="drctl.lab.local.sshd")
    parser.add_argument("--config", type=Path, required=True)
    config = Config(**json.loads(parser.parse_args(argv).config.read_text()))
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
