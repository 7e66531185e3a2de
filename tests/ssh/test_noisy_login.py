"""A login that prints around what it is told to do: a profile, a session recorder. Small commands
worked, and an upload took the first line for the node's word that it has no room."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drctl.errors import AuthRefused, ConnectionLost, StepFailed
from drctl.ssh import SshTransport
from drctl.ssh.output import NOISE
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import HAVE_SSHD, SshdNode, running

pytestmark = [
    pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine"),
    pytest.mark.parametrize("kind", ["sshd"], indirect=True),
]
CONTENT = os.urandom(3_000_001)
RUN = 'sh -c "$SSH_ORIGINAL_COMMAND"'

Login = Callable[..., SshTransport]


@pytest.fixture
def login(site: Site, tmp_path: Path) -> Login:
    """A transport to a host on which every login is the given lines of shell."""

    def make(*lines: str, become: str = "none") -> SshTransport:
        program = tmp_path / "login"
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        authorized, key = Path(f"{site.keys.client}.pub"), site.keys.host
        path = f"{site.sudo}:{os.environ['PATH']}"
        node = SshdNode(path, authorized, key, more=(f"ForceCommand {program}",))
        site.enter(running(node))
        site.trust(node)
        return site.transport(site.host("n1", node, become=become))

    return make


def all_of_it_works(transport: SshTransport, folder: Path) -> None:
    ran = transport.run("n1", Script("t", "echo out; echo err >&2; exit 3"), deadline=60)
    assert (ran.status, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
    source, there, back = folder / "source", folder / "in" / "there", folder / "back"
    source.write_bytes(CONTENT)
    transport.upload("n1", source, str(there), deadline=60)
    assert there.read_bytes() == CONTENT
    transport.download("n1", str(there), back, deadline=60)
    assert back.read_bytes() == CONTENT


@pytest.mark.parametrize("noise", [1, 9_000, 300_000])
def test_what_a_login_prints_is_nobodys_answer(login: Login, noise: int, tmp_path: Path) -> None:
    """On both streams, before the command and behind it; and it loses the command's status."""
    text = f"yes Welcome. | head -c {noise}"
    both = f"{text}; {text} >&2"
    all_of_it_works(login(both, RUN, 'echo "recorded; drctl-stop"', both, "exit 0"), tmp_path)


def test_a_login_that_shows_and_traces_the_command_says_no_mark(
    login: Login, tmp_path: Path
) -> None:
    shown = 'printf "%s\\n" "$SSH_ORIGINAL_COMMAND"'
    traced = 'sh -xvc "$SSH_ORIGINAL_COMMAND"'
    transport = login(
        shown, f"{shown} >&2", f"SHELLOPTS=xtrace:verbose; export SHELLOPTS; {traced}"
    )
    ran = transport.run("n1", Script("t", "echo out; exit 3"), deadline=60)
    assert (ran.status, ran.stdout) == (3, "out\n")


def test_a_login_that_reads_gets_nothing_of_ours(login: Login, tmp_path: Path) -> None:
    """A recorder takes what comes on the input until it hands over; an upload had sent its script,
    and a command all of it."""
    shown = 'printf "%s\\n" "$SSH_ORIGINAL_COMMAND"'  # a mark in it would let it have all
    all_of_it_works(login(shown, f"timeout 1 cat >> {tmp_path}/eaten", RUN), tmp_path)
    assert (tmp_path / "eaten").read_bytes() == b""


def test_a_login_that_never_stops_behind_the_command(login: Login, tmp_path: Path) -> None:
    all_of_it_works(login(RUN, "exec yes bye"), tmp_path)


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_login_that_prints_for_ever_is_named(login: Login, stream: str, tmp_path: Path) -> None:
    transport = login(f"exec yes 'Your \033[31mlicence' >&{stream}")
    (tmp_path / "f").touch()
    began = time.monotonic()
    for call in (
        lambda: transport.run("n1", Script("t", f"touch {tmp_path}/ran"), deadline=60),
        lambda: transport.upload("n1", tmp_path / "f", f"{tmp_path}/ran", deadline=60),
        lambda: transport.download("n1", f"{tmp_path}/f", tmp_path / "ran", deadline=60),
    ):
        with pytest.raises(AuthRefused, match=r"went on printing.*Your \[31mlicence") as caught:
            call()
        assert len(caught.value.message) < 300
        assert caught.value.hint and "ForceCommand" in caught.value.hint
    assert time.monotonic() - began < 50
    assert not (tmp_path / "ran").exists()


def test_a_login_that_waits_is_named_by_the_deadline(login: Login, tmp_path: Path) -> None:
    transport = login("echo 'press any key'", "exec sleep 60")
    with pytest.raises(AuthRefused, match="press any key"):
        transport.run("n1", Script("t", f"touch {tmp_path}/ran"), deadline=4)


def test_a_login_that_runs_nothing_has_done_nothing(login: Login, tmp_path: Path) -> None:
    transport = login("echo 'this account is not available'")
    (tmp_path / "f").touch()
    with pytest.raises(AuthRefused, match=r"did not run the script.*not available"):
        transport.run("n1", Script("t", "true"), deadline=30)
    with pytest.raises(AuthRefused, match="did not run the script"):
        transport.upload("n1", tmp_path / "f", f"{tmp_path}/x", deadline=30)


def test_what_goes_wrong_is_still_said(login: Login, site: Site, tmp_path: Path) -> None:
    transport = login(
        "echo Welcome; echo Welcome >&2", RUN, "echo bye; echo bye >&2", become="sudo"
    )
    (tmp_path / "file").touch()
    with pytest.raises(StepFailed, match=r"written: [^W]*neither a directory nor a file.[^W]*$"):
        transport.upload("n1", tmp_path / "file", f"{tmp_path}/file/x", deadline=60)
    with pytest.raises(StepFailed, match="No such file"):
        transport.download("n1", f"{tmp_path}/none", tmp_path / "back", deadline=60)
    with pytest.raises(ConnectionLost, match="as if killed"):
        transport.run("n1", Script("t", "kill -9 $$"), deadline=30)
    (site.sudo / "refuse").touch()
    with pytest.raises(AuthRefused, match=r"^n1: sudo refused: sudo: a password is required$"):
        transport.run("n1", Script("t", "true"), deadline=30)


def test_a_limit_that_is_no_memory(login: Login) -> None:
    """A login may say less than the limit, whatever a profile prints, and no more."""
    assert login(f"yes | head -c {NOISE - 9}", RUN).run("n1", Script("t", ""), deadline=60).ok
