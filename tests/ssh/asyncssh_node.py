"""An SSH server without root: `python asyncssh_node.py PATH_OF_COMMANDS AUTHORIZED KEY...`.

Prints its port, then serves until it is killed. Runs what it is told to, as the user it runs as.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

import asyncssh


async def handle(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    with contextlib.suppress(OSError, asyncssh.Error):  # the client has gone
        await serve(process)


async def serve(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    pipe = asyncio.subprocess.PIPE
    command = f"exec {process.command}"  # a signal that ends it shall be seen
    env = {**os.environ, "PATH": sys.argv[1]}
    child = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, stdin=pipe, stdout=pipe, stderr=pipe, env=env
    )
    feeding = asyncio.create_task(pump(process.stdin, child.stdin))
    await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
    status = await child.wait()
    feeding.cancel()
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def pump(source: Any, sink: Any) -> None:
    """Copy until the end; go on reading where nobody takes it any more."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            with contextlib.suppress(OSError):
                sink.write(data)
                await sink.drain()
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


class Server(asyncssh.SSHServer):
    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True


async def main() -> None:
    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=sys.argv[3:],
        authorized_client_keys=sys.argv[2],
        process_factory=handle,
        encoding=None,
    )
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
