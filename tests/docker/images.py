"""The nodes' image: a Debian with systemd and sshd, and one release of etcd."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from tests.docker.engine import unavailable

RECIPE = Path(__file__).parent / "image"
_ETCD = ("etcd", "etcdctl", "etcdutl")


def build(client: DockerClient, etcd_dir: Path, scratch: Path) -> str:
    """The tag of the image with the etcd of `etcd_dir`, built unless the engine has it.

    The tag is a digest of everything that goes in, so that a stale image is never used.
    """
    base = _base()
    parts = [RECIPE / "Dockerfile", RECIPE / "init", *(etcd_dir / tool for tool in _ETCD)]
    tag = f"drctl-test-systemd:{_digest(base, parts)}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        context = scratch / "context"
        context.mkdir()
        for part in parts:
            shutil.copyfile(part, context / part.name)
        client.images.build(path=str(context), tag=tag, buildargs={"BASE": base}, rm=True)
        shutil.rmtree(context)
    return tag


def _base() -> str:
    made = subprocess.run([RECIPE / "base.sh"], capture_output=True, text=True, timeout=600)
    if made.returncode:
        unavailable(made.stderr.strip())
    return made.stdout.strip()


def _digest(base: str, parts: list[Path]) -> str:
    seen = hashlib.sha256(base.encode())
    for part in parts:
        with part.open("rb") as stream:
            seen.update(hashlib.file_digest(stream, "sha256").digest())
    return seen.hexdigest()[:12]
