"""What is flushed to the disk: the filesystems in question, and not those of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drctl.render import data_folder, render
from tests.templates.shells import Shell

KNOWS = 'case $1 in --help) echo "  -f, --file-system"; exit 0 ;; esac\n'
KNOWS_NOT = 'case $1 in --help) echo "Usage: sync"; exit 0 ;; -f) exit 1 ;; esac\n'
COMMENT = re.compile(r"{#[^}]*#}|^ *#.*$| # .*$", re.MULTILINE)
ANY = {
    "templates/node/flush.sh.j2",  # itself
    "templates/job/start.sh.j2",  # in a shell of its own: with -f first
    "templates/service/managers/command.sh.j2",  # whose fence is anywhere
    "templates/etcd/facts.sh.j2",  # names the tool
}


@pytest.mark.parametrize(
    ("sync", "status", "called"),
    [
        (KNOWS, 0, ["-f /a /b"]),
        (f'{KNOWS}[ "$1" != -f ] || exit 1\n', 1, ["-f /a /b", "--help", "-f /a /b"]),
        (KNOWS_NOT, 0, ["-f /a /b", "--help", ""]),
    ],
    ids=["flushed", "failed", "old"],
)
def test_only_what_is_named_is_flushed_and_a_failure_is_told(
    shell: Shell, tmp_path: Path, sync: str, status: int, called: list[str]
) -> None:
    log = tmp_path / "log"
    tool = shell.bin / "sync"
    tool.unlink()
    tool.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{sync}')
    tool.chmod(0o755)
    assert shell.body(render("node/flush.sh") + "\nflush /a /b\n", {}).status == status
    assert log.read_text().splitlines() == called


def test_no_template_flushes_everything() -> None:
    """A global sync waits for the disk of an etcd that serves, and hangs on a dead mount."""
    folder = data_folder("templates")
    found = {
        f"templates/{path.relative_to(folder)}"
        for path in folder.rglob("*.sh.j2")
        if re.search(r"\bsync\b", COMMENT.sub("", path.read_text()))
        and "lab" not in path.relative_to(folder).parts
    }
    assert found == ANY
