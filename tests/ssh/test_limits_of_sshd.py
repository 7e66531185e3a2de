"""Real sshds that allow little: other algorithms than paramiko has, one session, one login."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drctl.errors import Unreachable
from drctl.ssh import SshTransport, link, sshtransport
from drctl.ssh.limits import Countdown
from drctl.ssh.link import make_transport
from drctl.ssh.offers import SUGGESTED
from drctl.ssh.trust import scan_host_keys
from drctl.ssh.turns import Gate
from drctl.transport import Script
from tests.ssh.conftest import Site
from tests.ssh.nodes import HAVE_SSHD, SSHD, Host, SshdNode, running

pytestmark = [
    pytest.mark.skipif(not HAVE_SSHD, reason="no /usr/sbin/sshd on this machine"),
]
HELLO = Script("t", "echo hello")

Make = Callable[..., SshTransport]


@pytest.fixture
def kind() -> str:
    """The kind of server, for `site`."""
    return "sshd"


@pytest.fixture
def configured(site: Site) -> Make:
    """A transport to a host whose sshd has these lines too."""

    def make(*lines: str, key: Path = site.keys.host, **how: float) -> SshTransport:
        authorized = Path(f"{site.keys.client}.pub")
        node = SshdNode(os.environ["PATH"], authorized, key, more=lines)
        site.enter(running(node))
        site.trust(node, key)
        return site.transport(site.host("n1", node), **how)

    return make


OTHERS = {
    "Ciphers": "chacha20-poly1305@openssh.com",
    "MACs": "umac-64@openssh.com,umac-128-etm@openssh.com",
    "HostKeyAlgorithms": "ssh-rsa",
    "KexAlgorithms": "sntrup761x25519-sha512@openssh.com",
}


@pytest.mark.parametrize("keyword", sorted(OTHERS))
def test_no_algorithm_in_common_is_said_with_both_lists(
    configured: Make, site: Site, keyword: str
) -> None:
    key = site.keys.rsa if keyword == "HostKeyAlgorithms" else site.keys.host
    transport = configured(f"{keyword} {OTHERS[keyword]}", key=key)
    with pytest.raises(Unreachable) as caught:
        transport.run("n1", HELLO, deadline=30)
    offered = OTHERS[keyword].replace(",", ", ")
    assert f"{keyword}: it offers {offered}, drctl " in caught.value.message
    assert caught.value.message.count(": it offers ") == 1
    assert SUGGESTED[keyword].split(",")[0] in caught.value.message
    assert caught.value.hint and "OpenSSH" in caught.value.hint and "paramiko" in caught.value.hint
    assert f"sshd_config add {SUGGESTED[keyword]} to {keyword}" in caught.value.hint
    mended = configured(f"{keyword} {OTHERS[keyword]},{SUGGESTED[keyword]}", key=key)
    assert mended.run("n1", HELLO, deadline=30).stdout == "hello\n"


def test_trust_says_it_too(site: Site) -> None:
    more = ("Ciphers chacha20-poly1305@openssh.com",)
    authorized = Path(f"{site.keys.client}.pub")
    node = SshdNode(os.environ["PATH"], authorized, site.keys.host, more=more)
    site.enter(running(node))
    hosts = {"n1": site.host("n1", node)}
    with pytest.raises(Unreachable, match="Ciphers: it offers chacha20"):
        scan_host_keys(hosts, known_hosts=site.known_hosts, ssh_config=site.ssh_config)


def test_what_is_suggested_is_what_drctl_offers() -> None:
    near, far = socket.socketpair()
    with near, far:
        options = make_transport(near, 1).get_security_options()
        ours = {*options.kex, *options.key_types, *options.ciphers, *options.digests}
    for names in SUGGESTED.values():
        assert set(names.split(",")) <= ours


@pytest.mark.parametrize("most", [1, 3])
def test_sessions_take_turns(configured: Make, most: int, tmp_path: Path) -> None:
    """Many threads, files among what they do: every call succeeds, and some went side by side."""
    transport = configured(f"MaxSessions {most}")
    source = tmp_path / "source"
    source.write_bytes(os.urandom(300_000))

    def work(number: int) -> str:
        if number % 4 == 3:
            transport.upload("n1", source, f"{tmp_path}/there-{number}", deadline=90)
            transport.download(
                "n1", f"{tmp_path}/there-{number}", tmp_path / f"{number}", deadline=90
            )
            return (
                f"{number}\n"
                if (tmp_path / f"{number}").read_bytes() == source.read_bytes()
                else ""
            )
        return transport.run(
            "n1", Script("t", 'sleep 0.2; echo "$N"'), {"N": str(number)}, deadline=90
        ).stdout

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(work, range(12))) == [f"{n}\n" for n in range(12)]


def test_a_session_that_never_ends_is_named_by_the_deadline(configured: Make) -> None:
    transport = configured("MaxSessions 1")
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(transport.run, "n1", Script("t", "sleep 8; echo end"), deadline=60)
        time.sleep(2)
        with pytest.raises(Unreachable, match="refused one more session") as caught:
            transport.run("n1", HELLO, deadline=3)
        assert caught.value.hint and "MaxSessions" in caught.value.hint
        assert long.result().stdout == "end\n"
    assert transport.run("n1", HELLO, deadline=30).stdout == "hello\n"


def test_a_host_that_allows_no_session_is_not_asked_for_ever(
    configured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshtransport, "NO_SESSION", 1.0)
    began = time.monotonic()
    with pytest.raises(Unreachable, match="refused one more session"):
        configured("MaxSessions 0").run("n1", HELLO, deadline=60)
    assert time.monotonic() - began < 20


@pytest.fixture
def listening(site: Site, tmp_path: Path) -> Iterator[int]:
    """The port of an sshd that allows one login at a time, by all its connections together."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    config = tmp_path / "sshd_config"
    lines = [f"HostKey {site.keys.host}", f"AuthorizedKeysFile {site.keys.client}.pub"]
    lines += [f"Port {port}", "ListenAddress 127.0.0.1", "MaxStartups 1", "LoginGraceTime 100"]
    lines += ["UsePAM no", "StrictModes no", "PermitRootLogin yes", "PidFile none"]
    config.write_text("\n".join([*lines, ""]))
    with site.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{port} {Path(f'{site.keys.host}.pub').read_text()}")
    server = subprocess.Popen([SSHD, "-D", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def stranger(port: int) -> socket.socket:
    """Somebody who connects and never logs in."""
    held = socket.create_connection(("127.0.0.1", port))
    held.settimeout(30)
    assert held.recv(4) == b"SSH-"
    return held


def test_logins_to_one_server_do_not_crowd_it(site: Site, listening: int) -> None:
    """Ten hosts of the inventory on one server, and ten behind it as their jump host."""
    key = site.keys.client
    ten = [Host(f"n{n}", port=listening, key=key) for n in range(10)]
    behind = [Host(f"b{n}", port=listening, key=key, jump="jump") for n in range(10)]
    jump = Host("jump", address="localhost", port=listening, key=key)
    with site.known_hosts.open("a") as file:
        public = Path(f"{key.with_name('host')}.pub").read_text()
        file.write(f"[localhost]:{listening} {public}")
    time.sleep(1)  # the probe's connection is gone then
    transport = site.transport(*ten, *behind, jump)
    names = [host.name for host in (*ten, *behind)]
    with ThreadPoolExecutor(20) as pool:
        ran = list(pool.map(lambda n: transport.run(n, HELLO, deadline=120).stdout, names))
    assert ran == ["hello\n"] * 20


def test_a_gate_lets_one_in_and_shares_what_it_found() -> None:
    """Who waits for a login that finds nobody does not wait for the same once more."""
    gate, inside, tries = Gate(), threading.Semaphore(1), []

    def log_in(_: int) -> str:
        try:
            with gate.turn(Countdown(30)):
                tries.append(inside.acquire(blocking=False))
                time.sleep(1)
                inside.release()
                raise Unreachable("it is down", hint="start it")
        except Unreachable as e:
            return e.message

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(log_in, range(5))) == ["it is down"] * 5
    assert tries == [True]
    assert log_in(0) == "it is down"
    assert tries == [True, True]


def test_a_login_that_is_dropped_is_tried_again(site: Site, listening: int) -> None:
    transport = site.transport(Host("n1", port=listening, key=site.keys.client))
    time.sleep(1)
    with ThreadPoolExecutor(1) as pool, stranger(listening):
        waiting = pool.submit(transport.run, "n1", HELLO, deadline=60)
        time.sleep(3)
        assert not waiting.done()
        with pytest.raises(Unreachable, match="no connection within 2 s"):
            transport.run("n1", HELLO, deadline=2)
    assert waiting.result().stdout == "hello\n"


def test_when_nothing_helps_max_startups_is_named(
    site: Site, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "AGAIN", 2.0)
    transport = site.transport(Host("n1", port=listening, key=site.keys.client))
    time.sleep(1)
    with stranger(listening), pytest.raises(Unreachable, match="before SSH begins") as caught:
        transport.run("n1", HELLO, deadline=60)
    assert caught.value.hint and "MaxStartups" in caught.value.hint
