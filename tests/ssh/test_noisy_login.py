"""A login that prints before it does what it is told: a profile, a session recorder. Small commands
worked, and an upload took the first line for the node's word that it has no room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drctl.errors import StepFailed
from drctl.ssh import SshTransport
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import HAVE_SSHD, SshdNode, running

pytestmark = [
    pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine"),
    pytest.mark.parametrize("kind", ["sshd"], indirect=True),
    pytest.mark.parametrize("noise", [1, 9_000, 300_000]),
]
CONTENT = os.urandom(3_000_001)


@pytest.fixture
def noisy(site: Site, noise: int, tmp_path: Path) -> SshTransport:
    """`noise` bytes on both streams before the command, and some words behind it."""
    text = f"yes Welcome. | head -c {noise}"
    login = tmp_path / "login"
    login.write_text(
        f'#!/bin/sh\n{text}; {text} >&2\nsh -c "$SSH_ORIGINAL_COMMAND"\nn=$?\n'
        'echo "recorded; drctl-stop"\nexit $n\n'
    )
    login.chmod(0o755)
    authorized, key = Path(f"{site.keys.client}.pub"), site.keys.host
    path = f"{site.sudo}:{os.environ['PATH']}"
    node = SshdNode(path, authorized, key, more=(f"ForceCommand {login}",))
    site.enter(running(node))
    site.trust(node)
    return site.transport(site.host("n1", node))


def test_what_a_login_prints_is_nobodys_answer(noisy: SshTransport, tmp_path: Path) -> None:
    ran = noisy.run("n1", Script("t", "echo out; echo err >&2; exit 3"), deadline=60)
    assert (ran.status, ran.stderr) == (3, "err\n")
    assert ran.stdout.startswith("out\n")
    source, there, back = tmp_path / "source", tmp_path / "in" / "there", tmp_path / "back"
    source.write_bytes(CONTENT)
    noisy.upload("n1", source, str(there), deadline=60)
    assert there.read_bytes() == CONTENT
    noisy.download("n1", str(there), back, deadline=60)
    assert back.read_bytes() == CONTENT


def test_what_goes_wrong_is_still_said(noisy: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StepFailed, match="neither a directory nor a file"):
        noisy.upload("n1", tmp_path / "file", f"{tmp_path}/file/x", deadline=60)
    with pytest.raises(StepFailed, match="No such file"):
        noisy.download("n1", f"{tmp_path}/none", tmp_path / "back", deadline=60)
