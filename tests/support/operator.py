"""An operator at a laptop: the product's command line, in a process that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KILLED = -9
SECONDS = 300


@dataclass(frozen=True)
class Operator:
    """One person with an inventory and a state directory."""

    inventory: Path
    state: Path

    def start(
        self,
        *arguments: str,
        die: str = "",
        moments: Path | None = None,
        at: str = "",
        do: str = "",
    ) -> Any:
        environment = os.environ | {
            "DRCTL_STATE_DIR": str(self.state),
            "DRCTL_TEST_DIE": die,
            "DRCTL_TEST_MOMENTS": str(moments or ""),
            "DRCTL_TEST_AT": at,
            "DRCTL_TEST_DO": do,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.mortal", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def types(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, **how)
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def restore(self, snapshot: Path, *more: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.types("restore", "--snapshot", str(snapshot), *self.on, "--yes", *more, **how)

    def resume(self, *more: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.types("restore", "--resume", *self.on, "--yes", *more, **how)

    def rollback(self, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.types("rollback", *self.on, "--yes", **how)

    def backup(self, folder: Path) -> Path:
        made = self.types("backup", *self.on, "--to", str(folder), "--output", "json")
        assert made.returncode == 0, made.stderr
        return Path(json.loads(made.stdout)["path"])

    def last_run(self) -> dict[str, Any]:
        shown = self.types("runs", "show", *self.on, "--output", "json")
        assert shown.returncode == 0, shown.stderr
        document: dict[str, Any] = json.loads(shown.stdout)
        return document

    def status(self) -> dict[str, Any]:
        shown = self.types("status", *self.on, "--output", "json")
        assert shown.returncode in (0, 9), shown.stderr  # 9: not all of it is well
        document: dict[str, Any] = json.loads(shown.stdout)
        return document

    @property
    def on(self) -> tuple[str, str]:
        return "--inventory", str(self.inventory)
