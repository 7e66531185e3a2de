"""A small file of every byte there is, sent before a snapshot by the way in which that will go."""

from __future__ import annotations

import hashlib
from functools import cache

from drctl.shipped import data_folder


@cache
def sample() -> dict[str, str]:
    """Its path on this machine and its sha256."""
    path = data_folder("templates") / "try" / "sample"
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
