"""On the embedded lab with OpenSSH: every login prints on both streams, before each command and
behind it, and loses the status, as a session recorder does; one host allows one session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from drctl.errors import StepFailed
from drctl.lab import layout
from drctl.lab.layout import Lab
from drctl.lab.local import driver
from drctl.lab.waiting import until
from tests.lab.test_restore import prove_restored, write_later
from tests.support.labs import content, quiet, ssh
from tests.support.operator import KILLED, Operator

pytestmark = pytest.mark.lab

RECORDER = """#!/bin/sh
echo "Welcome. This session is recorded: $SSH_ORIGINAL_COMMAND"
yes 'state=after' | head -n 40 | tee /dev/stderr
sh -c "$SSH_ORIGINAL_COMMAND"
yes 'state=unknown' | head -n 40 | tee /dev/stderr
echo "recorded" >&2
"""


def record(lab: Lab) -> None:
    """Every login goes through the recorder from now on; the first host allows one session."""
    recorder = lab.directory / "recorder"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    for host in lab.hosts:
        config = host.etc / "sshd_config"
        more = f"ForceCommand {recorder}\n"
        text = config.read_text().replace("MaxStartups 100", "MaxStartups 2")
        if host is lab.hosts[0]:
            text = text.replace("MaxSessions 100", "MaxSessions 1")
        config.write_text(text + more)
        os.kill(int((host.run_dir / "sshd.pid").read_text()), signal.SIGHUP)
        until(partial(_recorded, lab, host.name), 30, f"{host.name}: its recorder")


def _recorded(lab: Lab, name: str) -> bool:
    ran = ssh(lab, name, "echo mine; exit 3")
    return b"recorded" in ran.stdout and b"mine" in ran.stdout and ran.returncode == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, etcd_dir: Path) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("noisy") / "lab"
    try:
        driver.up(
            directory, etcd=etcd_dir, keys=100, value_size=64, say=quiet, ssh_server="openssh"
        )
    except StepFailed as error:
        if "no OpenSSH server" not in str(error):
            raise
        pytest.skip("no OpenSSH server here")
    made = layout.require(directory)
    record(made)
    yield made
    driver.down(directory, quiet)


def test_backup_restore_rollback_and_resume(lab: Lab, tmp_path: Path) -> None:
    operator = Operator(lab.inventory, tmp_path / "state")
    snapshot = operator.backup(tmp_path / "backup")
    saved = content(lab)
    write_later(lab)
    later = content(lab)
    assert later != saved

    restored = operator.restore(snapshot, "--replace-healthy")
    assert restored.returncode == 0, restored.stderr
    prove_restored(lab, operator, saved)

    back = operator.rollback()
    assert back.returncode == 0, back.stderr
    assert content(lab) == later

    killed = operator.restore(snapshot, "--replace-healthy", die="intent rebuild")
    assert killed.returncode == KILLED, killed.stderr
    resumed = operator.resume()
    assert resumed.returncode == 0, resumed.stderr
    prove_restored(lab, operator, saved)
