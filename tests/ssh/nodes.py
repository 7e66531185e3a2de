"""Real SSH servers on loopback, and a relay in front of them that can be cut or frozen."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SSHD = "/usr/sbin/sshd"
HAVE_SSHD = Path(SSHD).exists()


@dataclass(frozen=True)
class Host:
    """The part of an inventory's host that SSH needs."""

    name: str
    address: str = "127.0.0.1"
    port: int | None = None
    user: str | None = field(default_factory=getpass.getuser)
    key: Path | None = None
    jump: str | None = None
    become: str = "none"


class Node(Protocol):
    port: int

    def stop(self) -> None: ...


class AsyncsshNode:
    """asyncssh in a process of its own."""

    def __init__(self, path: str, authorized: Path, *host_keys: Path) -> None:
        script = Path(__file__).with_name("asyncssh_node.py")
        args = [sys.executable, *map(str, (script, path, authorized, *host_keys))]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


class SshdNode:
    """OpenSSH's sshd without root, one `sshd -i` for each connection to a port of ours."""

    def __init__(
        self, path: str, authorized: Path, *host_keys: Path, more: Sequence[str] = ()
    ) -> None:
        self._config = host_keys[0].parent / f"sshd_config.{id(self)}"
        lines = [f"HostKey {key}" for key in host_keys]
        lines += [f"AuthorizedKeysFile {authorized}", f"SetEnv PATH={path}"]
        lines += ["UsePAM no", "StrictModes no", "PermitRootLogin yes", "PidFile none"]
        self._config.write_text("\n".join([*lines, *more, ""]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                args = [SSHD, "-i", "-f", str(self._config)]
                null = subprocess.DEVNULL
                self.processes.append(
                    subprocess.Popen(
                        args, stdin=connection.fileno(), stdout=connection.fileno(), stderr=null
                    )
                )

    def signal(self, number: int) -> None:
        """Signal every process of the server's, but not the commands that they started."""
        for process in self.processes:
            for pid in [process.pid, *_children(process.pid)]:
                if _is_sshd(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # stopped before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [n for child in map(int, text.split()) for n in (child, *_children(child))]


def _is_sshd(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/exe").readlink()).startswith(SSHD)
    return False


class Relay:
    """Passes bytes on to a port, until it is told to cut or to freeze its connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self._sockets: list[socket.socket] = []
        self._flow = threading.Event()
        self._flow.set()
        self._flows = [self._flow]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            far = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [near, far]
            flow = self._flow
            for pair in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pass, args=(*pair, flow))
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, flow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                flow.wait()
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """From now on nothing passes on the connections that there are; new ones work."""
        self._flow.clear()
        self._flow = threading.Event()
        self._flow.set()
        self._flows.append(self._flow)

    def cut(self) -> None:
        """Reset every connection that there is now: the caller may be back while this goes on."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for flow in self._flows:
            flow.set()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()


def make_key(path: Path, kind: str = "ed25519") -> Path:
    import asyncssh

    names = {"ed25519": "ssh-ed25519", "rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp256"}
    key = asyncssh.generate_private_key(names[kind])
    key.write_private_key(str(path))
    key.write_public_key(f"{path}.pub")
    path.chmod(0o600)
    return path


def public(path: Path) -> str:
    """`type base64` of the key whose private half is at `path`."""
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def fake_sudo(folder: Path) -> Path:
    """A folder with a `sudo` that obeys, or refuses where a file `refuse` stands beside it."""
    folder.mkdir()
    sudo = folder / "sudo"
    sudo.write_text(
        "#!/bin/sh\n"
        f"[ -e {folder}/refuse ] && {{ echo 'sudo: a password is required' >&2; exit 1; }}\n"
        '[ "$1 $2" = "-n --" ] || exit 99\n'
        "shift 2\n"
        'SUDO_FAKE=1 exec "$@"\n'
    )
    sudo.chmod(0o755)
    return folder


@contextlib.contextmanager
def running(node: Node) -> Iterator[Node]:
    try:
        yield node
    finally:
        node.stop()
