"""Every value that was measured, and on which machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
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
    pip = [programs / "python", "-m", "pip", "list", "--format=freeze"]
    listed = dict(line.split("==") for line in _first(pip, every=True).splitlines() if "==" in line)
    commit = _first(["git", "-C", ROOT, "log", "-1", "--format=commit %h"])
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "drctl": f"{__version__} {commit}".strip(),
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "?",
        "load before": f"{os.getloadavg()[0]:.1f} (1 minute)",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "OpenSSH": _first(["ssh", "-V"]),
        "zstd": _first(["zstd", "-V"]),
        "Docker": _first(["docker", "version", "--format", "{{.Server.Version}}"]),
        "etcd": _first([etcd / "etcd" if etcd else "etcd", "--version"]) or "the lab's own",
        "Ansible": f"ansible-core {listed.get('ansible-core', '?')}",
        "pyinfra": listed.get("pyinfra", "?"),
    }


def _first(argv: list[Any], *, every: bool = False) -> str:
    """The first line (or all) of what a program says; empty where it cannot be run."""
    try:
        told = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    said = (told.stdout or told.stderr).strip()
    return said if every else said.partition("\n")[0]
