"""The lab's images. A tag is a digest of everything that goes in: a stale image is never used."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from docker import DockerClient
from docker.errors import BuildError, DockerException, ImageNotFound

from drctl.errors import InvalidInput, Refused, StepFailed
from drctl.lab import binaries
from drctl.lab.docker.kubernetes import cache_directory
from drctl.lab.docker.workshop import SAFELY
from drctl.lab.labs import Say
from drctl.shipped import data_folder

OLDEST_ETCD = (3, 5, 16)  # the first 3.5 without known faults in what a restore relies on
ETCD_SUITE = "trixie"
_BASE_SECONDS = 900
_LOG_LINES = 20


def cache() -> Path:
    """The folder outside any checkout for what is made once per machine."""
    folder = cache_directory()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time makes the thing called `name`; the others wait and find it made."""
    with (cache() / f"{name.replace('/', '-')}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base(say: Say) -> str:
    """The tag of the base image, made locally (root, mmdebstrap) or from a registry's Debian."""
    recipe = _template("base.sh")
    with locked("base-image"):
        told = subprocess.run(
            ["sh", recipe],
            capture_output=True,
            text=True,
            timeout=_BASE_SECONDS,
        )
    if told.returncode:
        raise Refused(
            f"no base image for the lab: {told.stderr.strip()[-2000:]}",
            hint=f"as root, where mmdebstrap is installed: `sh {recipe}`; then try again",
        )
    tag = told.stdout.strip()
    say(f"base image {tag}")
    return tag


def machine(client: DockerClient, base_tag: str, say: Say) -> str:
    """The tag of a blank machine's image: systemd, sshd, containerd, and nothing of etcd."""
    files = {name: _template(name) for name in ("init", "containerd.toml")}
    return built(client, "drctl-lab-machine", "machine.Dockerfile", base_tag, files, say)


def node(client: DockerClient, machine_tag: str, programs: Mapping[str, Path], say: Say) -> str:
    """The tag of a machine that has `programs` (name -> file) in /usr/local/bin."""
    files = {f"bin/{name}": path for name, path in programs.items()}
    return built(client, "drctl-lab-node", "node.Dockerfile", machine_tag, files, say)


def etcd_tools(client: DockerClient, given: Path | None, base_tag: str, say: Say) -> Path:
    """A folder with etcd, etcdctl and etcdutl: the given one, else one found on this machine that
    is new enough, else fetched from a newer Debian and kept in the cache."""
    if given is not None:
        chosen = binaries.find(given)
        if binaries.version(chosen / "etcd") < binaries.OLDEST:
            raise InvalidInput(
                f"{chosen / 'etcd'} does not run here, or is older than 3.5",
                hint="drop --etcd, and drctl fetches one",
            )
        return chosen
    with contextlib.suppress(InvalidInput):  # none at all
        found = binaries.find(None)
        if binaries.version(found / "etcd") >= OLDEST_ETCD:
            return found
    kept = cache() / f"etcd-{ETCD_SUITE}"
    with locked("etcd"):
        if binaries.version(kept / "etcd") < OLDEST_ETCD:
            say(f"fetching etcd from Debian {ETCD_SUITE}, once")
            _fetch_etcd(client, base_tag, kept, say)
    return kept


def _fetch_etcd(client: DockerClient, base_tag: str, kept: Path, say: Say) -> None:
    tag = built(
        client, "drctl-lab-etcd", "etcd.Dockerfile", base_tag, {}, say, {"SUITE": ETCD_SUITE}
    )
    container = client.containers.create(tag, "true")
    try:
        blocks, _ = container.get_archive("/etcd")
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
                archive.extractall(scratch, **SAFELY)
            shutil.rmtree(kept, ignore_errors=True)
            (Path(scratch) / "etcd").rename(kept)
    finally:
        container.remove(force=True, v=True)
        client.images.remove(tag, force=True)
    if binaries.version(kept / "etcd") < OLDEST_ETCD:
        raise StepFailed(
            f"Debian {ETCD_SUITE}'s etcd does not run on this machine",
            hint="name a directory with etcd, etcdctl and etcdutl: --etcd DIR",
        )


def built(
    client: DockerClient,
    repository: str,
    recipe: str,
    parent: str,
    files: Mapping[str, Path],
    say: Say,
    arguments: Mapping[str, str] | None = None,
) -> str:
    """The tag of the image that `recipe` makes of `parent` and `files` (name -> file)."""
    context = {"Dockerfile": _template(recipe), **files}
    tag = f"{repository}:{_digest(parent, context)}"
    with locked(repository):
        try:
            client.images.get(tag)
        except ImageNotFound:
            say(f"building {tag}, once")
            _build(client, tag, context, {"BASE": parent, **(arguments or {})})
    return tag


def _build(
    client: DockerClient, tag: str, context: Mapping[str, Path], arguments: dict[str, str]
) -> None:
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, path in context.items():
                archive.add(path, name, filter=_executable)
        packed.seek(0)
        try:
            client.images.build(
                fileobj=packed,
                custom_context=True,
                tag=tag,
                buildargs=arguments,
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            lines = [str(part.get("stream", "")).rstrip() for part in error.build_log]
            tail = "\n".join([line for line in lines if line][-_LOG_LINES:])
            raise StepFailed(f"building {tag} failed: {error}\n{tail}") from error
        except DockerException as error:
            raise StepFailed(f"building {tag} failed: {error}") from error


def _executable(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode, info.uid, info.gid, info.uname, info.gname = 0o755, 0, 0, "", ""
    return info


def _digest(parent: str, context: Mapping[str, Path]) -> str:
    def of_file(path: Path) -> bytes:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()

    seen = hashlib.sha256(parent.encode())
    with ThreadPoolExecutor(2) as pool:  # half a gigabyte of Kubernetes takes a second or two
        for name, digest in zip(context, pool.map(of_file, context.values()), strict=True):
            seen.update(name.encode() + digest)
    return seen.hexdigest()[:12]


def _template(name: str) -> Path:
    return data_folder("templates") / "lab/docker" / name
