"""What is flushed to the disk: the filesystems in question, and not those of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drctl.render import render
from drctl.shipped import data_folder
from tests.templates.shells import Shell

KNOWS = 'case $1 in --help) echo "  -f, --file-system"; exit 0 ;; esac\n'
KNOWS_NOT = 'case $1 in --help) echo "Usage: sync"; exit 0 ;; -f) exit 1 ;; esac\n'
COMMENT = re.compile(r"{#[^}]*#}|^ *#.*$| # .*$", re.MULTILINE)
ANY = {
    "templates/node/flush.sh.j2",  # itself
    "templates/job/start.sh.j2",  # in a shell of its own: with -f first
    "templates/service/managers/command.sh.j2",  # whose fence is anywhere
    "templates/etcd/facts.sh.j2",  # names the tool
    "templates/node/receive.sh.j2",  # the one file
}


@pytest.mark.parametrize(
    ("sync", "status", "called"),
    [
        (KNOWS, 0, ["-f a b"]),
        (f'{KNOWS}[ "$1" != -f ] || exit 1\n', 1, ["-f a b", "--help"]),
        (KNOWS_NOT, 0, ["-f a b", "--help", ""]),
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
    script = f"cd {tmp_path} && mkdir a b\n{render('node/flush.sh')}\nflush a b\n"
    assert shell.body(script, {}).status == status
    assert log.read_text().splitlines() == called


def test_what_is_gone_is_flushed_where_it_was(shell: Shell, tmp_path: Path) -> None:
    """A folder that was removed: its removal is what is to be on the disk."""
    (tmp_path / "is here").mkdir()
    gone = tmp_path / "is here" / "was" / "once"
    log = tmp_path / "log"
    (shell.bin / "sync").unlink()
    (shell.bin / "sync").write_text(f'#!/bin/sh\nprintf "<%s>" "$@" >> {log}\n')
    (shell.bin / "sync").chmod(0o755)
    script = f"{render('node/flush.sh')}\nflush '{gone}' '{tmp_path}'\n"
    assert shell.body(script, {}).status == 0
    assert log.read_text() == f"<-f><{tmp_path}/is here><{tmp_path}>"


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
