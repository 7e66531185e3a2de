"""Conventions that are tests: the shape of the house, its files, the static checks, the wheel."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""
