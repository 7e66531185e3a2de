"""An SSH server without root: `python asyncssh_node.py PATH_OF_COMMANDS AUTHORIZED KEY...`.

Prints its port, then serves until it is killed. Runs what it is told to, as the user it runs as.
"""

import asyncio
import os
import signal
import sys

import asyncssh


async def handle(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    env = {**os.environ, "PATH": sys.argv[1]}
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", process.command or "", stdin=pipe, stdout=pipe, stderr=pipe, env=env
    )
    await process.redirect(child.stdin, child.stdout, child.stderr)
    status = await child.wait()
    await process.stdout.drain()
    await process.stderr.drain()
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


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
