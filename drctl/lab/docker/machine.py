"""A running machine of the lab: commands and files go in through the engine, never by SSH."""

from __future__ import annotations

import io
import shlex
import socket
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from drctl.errors import StepFailed
from drctl.lab.docker.engine import environment
from drctl.lab.docker.layout import DockerLab, Node
from drctl.lab.site import Ran
from drctl.lab.waiting import until

BOOT_SECONDS = 180.0
_END = "end of output"
_TIMED_OUT = 124  # what timeout(1) ends with
# The engine loses the output of a short command now and then: kept in a file, it can be asked for
# again.
_KEEPING_OUTPUT = (
    'timeout "$2" sh -c "$1" >"$0" 2>&1 </dev/null; status=$?;'
    f' cat "$0"; printf "{_END}"; exit $status'
)
# degraded: a unit that is fenced, or broken on purpose, may count as failed
_BOOTED = """\
until case $(systemctl is-system-running --wait 2>/dev/null) in
  running | degraded) true ;;
  *) false ;;
esac; do sleep 0.2; done
"""
_AGAIN = f'cat "$0" && printf "{_END}"'


@dataclass(frozen=True)
class File:
    """What a file in a machine holds; `mode` as chmod takes it."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Machine:
    """One machine of `lab`."""

    lab: DockerLab
    node: Node
    client: DockerClient

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def container(self) -> Container:
        """Its container; StepFailed when the engine has none."""
        try:
            return self.client.containers.get(self.container_name)
        except NotFound as error:
            raise StepFailed("the machine's container is gone", host=self.name) from error

    @property
    def container_name(self) -> str:
        return f"{self.lab.project}-{self.name}-1"

    def sh(self, script: str, *, check: bool = True, seconds: float = 60.0) -> Ran:
        """Run `script` as root. StepFailed for a status other than 0 unless `check` is off, and
        when it takes longer than `seconds`."""
        kept = f"/run/drctl-lab.{uuid.uuid4().hex}"
        status, output = self._exec(_KEEPING_OUTPUT, kept, script, str(seconds))
        for _ in range(20):
            if output.endswith(_END):
                break
            _, output = self._exec(_AGAIN, kept)
        ran = Ran(status, output.removesuffix(_END))
        if status == _TIMED_OUT:
            raise StepFailed(f"took longer than {seconds:.0f} s: {script}", host=self.name)
        if check and status != 0:
            shown = f"{script.strip()[:500]}\n{ran.output.strip()[-2000:]}"
            raise StepFailed(f"ended with status {status}: {shown}", host=self.name)
        return ran

    def put(self, files: Mapping[str, File]) -> None:
        """Write files, by absolute path, owned by root. The engine's own archive call would not
        see what is mounted in the machine."""
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for path, file in files.items():
                    info = tarfile.TarInfo(path.lstrip("/"))
                    info.size, info.mode = len(file.content), file.mode
                    archive.addfile(info, io.BytesIO(file.content))
            packed.seek(0)
            self._feed("tar -xp -C /", packed, 120)

    def feed(self, script: str, source: Path, *, seconds: float) -> None:
        """Run `script` as root with the file `source` on standard input; StepFailed for a status
        other than 0."""
        with source.open("rb") as stream:
            self._feed(script, stream, seconds)

    def _feed(self, script: str, source: IO[bytes], seconds: float) -> None:
        told = subprocess.run(
            ["docker", "exec", "-i", self.container_name, "sh", "-c", script],
            env=environment(self.lab),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
        if told.returncode:
            said = told.stdout.decode(errors="replace").strip()[-2000:]
            raise StepFailed(f"{script.strip()[:200]} failed: {said}", host=self.name)

    def state(self, unit: str) -> str:
        """`active`, `inactive`, `failed`, ... as systemd calls it."""
        return self.sh(f"systemctl is-active {shlex.quote(unit)}", check=False).output.strip()

    def wait_booted(self) -> None:
        """Return when systemd has started everything that it will start, and sshd answers."""
        self.sh(_BOOTED, seconds=BOOT_SECONDS)
        until(self._greets, BOOT_SECONDS, f"{self.name}: sshd")

    def power_off(self) -> None:
        """End every process at once. What was on tmpfs is lost."""
        self.container.kill()
        self.container.wait(timeout=60)

    def power_on(self) -> None:
        """Start it again and wait until SSH answers."""
        self.container.start()
        self.wait_booted()

    def runs(self) -> bool:
        """Whether it is switched on."""
        return self.container.status == "running"

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.node.ssh_port), timeout=5) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def _exec(self, *shell: str) -> tuple[int, str]:
        container = self.container
        try:
            status, output = container.exec_run(["sh", "-c", *shell])
        except APIError as error:
            tail = container.logs(tail=20).decode(errors="replace")
            said = f"cannot run commands there: {error.explanation}\n{tail}".strip()
            raise StepFailed(said, host=self.name) from error
        assert status is not None and isinstance(output, bytes)  # neither streamed nor detached
        return status, output.decode(errors="replace")
