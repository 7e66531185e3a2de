"""Every value that was measured, and on which machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drctl import __version__
from tests.bench.machines import Snapshot
from tests.bench.running import ROOT, Series


@dataclass
class Results:
    """Figures by table, contender and name; in seconds, `peak` in bytes."""

    machine: dict[str, str]
    quick: bool
    load: float = field(default_factory=lambda: os.getloadavg()[0])  # of one minute, before
    snapshots: list[Snapshot] = field(default_factory=list)
    tables: dict[str, dict[str, dict[str, Series]]] = field(default_factory=dict)

    def add(self, table: str, contender: str, **figures: float) -> None:
        """One turn's figures."""
        row = self.tables.setdefault(table, {}).setdefault(contender, {})
        for name, value in figures.items():
            row.setdefault(name, Series()).values.append(value)

    def get(self, table: str, contender: str, figure: str) -> Series | None:
        """None where that was not measured."""
        return self.tables.get(table, {}).get(contender, {}).get(figure)

    def lacking(self, rounds: int) -> list[str]:
        """Whatever has fewer rounds."""
        return [
            f"{table}, {contender}"
            for table, rows in self.tables.items()
            for contender, figures in rows.items()
            if len(figures["seconds"].values) < rounds
        ]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "machine": self.machine,
            "quick": self.quick,
            "load": self.load,
            "snapshots": [
                {"label": one.label, "bytes": one.size, "zstd": one.compressed, "keys": one.keys}
                for one in self.snapshots
            ],
            "tables": {
                table: {
                    contender: {name: series.document() for name, series in figures.items()}
                    for contender, figures in rows.items()
                }
                for table, rows in self.tables.items()
            },
        }


def machine(programs: Path, etcd: Path | None) -> dict[str, str]:
    """The machine and the versions of what is compared."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    commit = _said(["git", "-C", ROOT, "log", "-1", "--format=, commit %h"])
    versions: dict[str, Sequence[str | Path]] = {
        "OpenSSH": ["ssh", "-V"],
        "zstd": ["zstd", "-V"],
        "Docker": ["docker", "version", "--format", "{{.Server.Version}}"],
        "etcd": [etcd / "etcd" if etcd else "etcd", "--version"],
        "ansible-core": [programs / "ansible-playbook", "--version"],
        "pyinfra": [programs / "pyinfra", "--version"],
    }
    return {
        "on": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "drctl": f"{__version__}{commit}",
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "?",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        **{name: _version(argv) for name, argv in versions.items()},
    }


def _version(argv: Sequence[str | Path]) -> str:
    """The first version that a program names, "?" where it cannot be run."""
    found = re.search(r"\d+\.\d+(\.\d+)*(p\d+)?", _said(argv))
    return found[0] if found else "?"


def _said(argv: Sequence[str | Path]) -> str:
    try:
        told = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return (told.stdout or told.stderr).strip()
