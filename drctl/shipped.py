"""Where the runbooks and templates are that come with this drctl."""

from __future__ import annotations

from pathlib import Path


def data_folder(name: str) -> Path:
    """The shipped folder or file `name`: inside the wheel if installed, else in the checkout."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.exists() else package.parent / name
