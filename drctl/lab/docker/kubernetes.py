"""Which Kubernetes a lab runs: a folder of programs that is given, or one built and kept.

It is built once per machine from Debian's source package, in a container, so that neither root
nor a compiler is needed here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drctl.errors import DrctlError, InvalidInput, StepFailed
from drctl.lab.docker import workshop
from drctl.lab.labs import Say
from drctl.render import render

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
WITH_KUBELET = (*CONTROL_PLANE, "kubelet", "kubeadm")
BUILT = (*WITH_KUBELET, "kubectl")
OLDEST = (1, 20)

BUILD_SECONDS = 3600.0
# With Go's own tree on the engine's layered file system, installing it takes longer than compiling.
_VOLUMES = ("/build", "/usr/lib/go-1.19", "/usr/share/go-1.19")
_SUMS = "SHA256SUMS"
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Release:
    """A folder with Kubernetes' programs, all of one version."""

    directory: Path
    version: tuple[int, int, int]

    @property
    def text(self) -> str:
        """`v1.20.2`, as kubeadm's configuration wants it."""
        return "v" + ".".join(map(str, self.version))


def given(directory: Path, programs: Sequence[str] = CONTROL_PLANE) -> Release:
    """The Kubernetes of `directory`; InvalidInput unless `programs` are there, run on this machine
    and are of one version that a lab can drive."""
    directory = directory.expanduser().absolute()
    missing = [name for name in programs if not os.access(directory / name, os.X_OK)]
    if missing:
        raise InvalidInput(
            f"{directory}: missing {', '.join(missing)}",
            hint="name the directory of a release's server binaries, or use `--kubernetes build`",
        )
    versions = {name: _version(directory / name) for name in programs}
    first, *others = set(versions.values())
    if others:
        told = ", ".join(f"{name} {'.'.join(map(str, v))}" for name, v in versions.items())
        raise InvalidInput(
            f"{directory} mixes versions: {told}", hint="use one release's directory"
        )
    if first < OLDEST:
        raise InvalidInput(
            f"{directory} holds Kubernetes {'.'.join(map(str, first))}",
            hint=f"a lab needs {'.'.join(map(str, OLDEST))} or newer",
        )
    return Release(directory, first)


def built(image: Callable[[], str], say: Say) -> Release:
    """The Kubernetes built for this machine; builds it (5 to 10 minutes of two cores) when the
    cache has none.

    `image` names a Debian bookworm image with package sources; it is asked for only when needed.
    Of several processes one builds, and the others wait for it. StepFailed when it cannot be
    built; nothing is left behind then, nor when this process is killed.
    """
    folder = cached()
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(folder.with_suffix(".lock"), say):
                if not folder.exists():
                    _build(image(), folder, say)
        except OSError as error:
            raise StepFailed(
                f"cannot keep Kubernetes in {folder.parent}: {error}",
                hint="set DRCTL_CACHE_DIR to another directory",
            ) from error
    return given(folder, BUILT[:-1])


def recipe() -> str:
    """The script that builds it; its digest is the key of the cache."""
    return render("lab/docker/kubernetes/build.sh", programs=BUILT)


def cache_directory() -> Path:
    """$DRCTL_CACHE_DIR, else $XDG_CACHE_HOME/drctl, else ~/.cache/drctl."""
    own = os.environ.get("DRCTL_CACHE_DIR")
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drctl"


def cached() -> Path:
    """Where the result of today's recipe is kept; it is whole if it exists."""
    return cache_directory() / f"kubernetes-{hashlib.sha256(recipe().encode()).hexdigest()[:12]}"


def _build(image: str, folder: Path, say: Say) -> None:
    say(f"building Kubernetes, once for this machine (5 to 10 minutes), into {folder}")
    began = time.monotonic()
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a build that was killed
        shutil.rmtree(left)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        workshop.make(
            image,
            recipe(),
            made,
            say=say,
            volumes=_VOLUMES,
            seconds=BUILD_SECONDS,
            label=str(folder),
        )
        _check_sums(made)
        made.chmod(0o755)  # others may use a shared cache
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    say(f"Kubernetes built in {time.monotonic() - began:.0f} s")


def _check_sums(folder: Path) -> None:
    for line in (folder / _SUMS).read_text().splitlines():
        digest, name = line.split()
        with (folder / name).open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise StepFailed(f"{name} was damaged while copied out of the container")


@contextlib.contextmanager
def _alone(lock: Path, say: Say) -> Iterator[None]:
    """Hold the lock file; StepFailed when another process holds it for longer than a build."""
    deadline = time.monotonic() + BUILD_SECONDS
    with lock.open("w") as stream:
        told = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say("another process is building Kubernetes: waiting for it")
                told = True
            if time.monotonic() > deadline:
                raise StepFailed(
                    f"{lock} is still held", hint=f"find out which process: fuser -v {lock}"
                )
            time.sleep(_PAUSE_SECONDS)
        yield


def _version(program: Path) -> tuple[int, int, int]:
    """What the program says of itself; InvalidInput when it cannot be run or read."""
    options = ["version", "-o", "short"] if program.name == "kubeadm" else ["--version"]
    try:
        told = subprocess.run([program, *options], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(
            f"{program} does not run on this machine: {error}",
            hint="a lab needs Linux binaries for this machine's CPU",
        ) from error
    found = re.search(r"\bv(\d+)\.(\d+)\.(\d+)", told.stdout)
    if not found:
        said = (told.stdout + told.stderr).strip()[:200]
        raise InvalidInput(f"{program} does not report its version: {said!r}")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def main() -> int:
    """Make the cache ready and print the folder: `python -m drctl.lab.docker.kubernetes IMAGE`."""
    (image,) = sys.argv[1:]
    try:
        ready = built(lambda: image, _to_stderr)
    except DrctlError as error:
        _to_stderr(str(error))
        return error.exit_code
    sys.stdout.write(f"{ready.directory}\n")
    return 0


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
